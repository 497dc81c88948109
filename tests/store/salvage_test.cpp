#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "raw.hpp"
#include "sqlite/failure.hpp"
#include "support.hpp"
#include "support/child_process.hpp"

using namespace agentsight;
using namespace agentsight::test;
using outbox::Settlement;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t page = 4096;
constexpr const char* callers = "5f1c8a10";  ///< how callers' ids begin

void overwrite(const fs::path& path, std::size_t at, const std::string& bytes) {
    std::fstream file{path, std::ios::binary | std::ios::in | std::ios::out};
    file.seekp(static_cast<std::streamoff>(at));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string noise(TestRandom& random, std::size_t size) {
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i) {
        bytes += static_cast<char>(random.next());
    }
    return bytes;
}

std::string content(const fs::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

std::vector<fs::path> moved_aside(const fs::path& folder) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator{folder}) {
        const std::string name = entry.path().filename().string();
        if (name.find(".damaged-") != std::string::npos && !name.ends_with("-wal") &&
            !name.ends_with("-shm")) {
            found.push_back(entry.path());
        }
    }
    return found;
}

/// An outbox with records in every state, closed cleanly.
struct Original {
    explicit Original(int records) {
        for (int i = 0; i < records; ++i) {
            auto made = submission("c" + std::to_string(i % 50),
                                   "comment " + std::to_string(i) + std::string(200, 'x'));
            if (i % 100 == 7) {
                made.feedback.comment += std::string(12'000, 'l');  // overflow pages
            }
            if (i % 10 == 3) {
                char id[37];
                std::snprintf(id, sizeof id, "%s-0000-4000-8000-%012d", callers, i);
                made = with_id(made, id);
            }
            comments[box.submit(made)] = made.feedback.comment;
        }
        box.become_drainer();
        for (int round = 0; round < records / 100; ++round) {
            for (const auto& record : box.claim(20)) {
                const auto to = record.key % 17 == 0   ? Settlement::To::dead
                                : record.key % 13 == 0 ? Settlement::To::left
                                : record.key % 7 == 0  ? Settlement::To::waiting
                                                       : Settlement::To::delivered;
                if (to == Settlement::To::delivered) {
                    box.deliver(record.key);
                    delivered.insert(record.id.text());
                } else {
                    box.settle_to(record.key, to);
                }
            }
        }
        box.store.reset();
        bytes = content(box.options.path);
    }

    static outbox::StoreOptions unsynced() {
        outbox::StoreOptions options;
        options.durability = Durability::relaxed;
        return options;
    }

    Outboxed box{unsynced()};
    std::map<std::string, std::string> comments;
    std::set<std::string> delivered;
    std::string bytes;
};

/// A copy of it, to be damaged.
struct Copy {
    explicit Copy(const Original& original) {
        box.store.reset();
        fs::remove(box.options.path);
        std::ofstream{box.options.path, std::ios::binary} << original.bytes;
        fs::permissions(box.options.path, fs::perms::owner_read | fs::perms::owner_write);
        // Every identity and count the clean stop left is in the file alone.
        for (const char* suffix : {"-wal", "-shm"}) {
            fs::remove(box.options.path.string() + suffix);
        }
    }
    Outboxed box{Original::unsynced()};
};

template <class EventType>
std::size_t count_of(const std::vector<Event>& events) {
    return static_cast<std::size_t>(
        std::count_if(events.begin(), events.end(),
                      [](const Event& event) { return std::holds_alternative<EventType>(event); }));
}

struct Damage {
    std::size_t at;
    std::string bytes;
};

Damage draw_damage(TestRandom& random, std::size_t file_size) {
    const std::size_t at = random.below(file_size);
    const std::size_t size = 1 + random.below(random.one_in(3) ? 9'000 : 300);
    return {at, random.one_in(4) ? std::string(size, '\0') : noise(random, size)};
}

/// Opens what was overwritten, submits, and drains it all, as an application would; how often it
/// was salvaged. Of the records a quarter is looked at, another one for each `trial`.
std::size_t live_through(const Original& original, const Damage& damage, int trial) {
    Copy copy{original};
    Outboxed& box = copy.box;
    const std::size_t at = damage.at;
    const std::size_t size = damage.bytes.size();
    CAPTURE(at);
    CAPTURE(size);
    overwrite(box.options.path, at, damage.bytes);
    const std::size_t pages = (at + size - 1) / page - at / page + 1;

    box.open();
    box.submit("new", "after the damage");
    box.become_drainer();
    std::set<std::string> sent;
    // An application's life: everything is drained.
    for (int round = 0; round < 300; ++round) {
        std::vector<outbox::ClaimedRecord> records = box.claim(64);
        for (const auto& record : records) {
            sent.insert(record.id.text());
        }
        // These are looked for on the server before anything is sent again.
        const auto unknown = box->due_unknowns(64, true);
        records.insert(records.end(), unknown.begin(), unknown.end());
        if (records.empty()) {
            break;
        }
        outbox::DrainRequest request = box.request(0);
        for (const auto& record : records) {
            Settlement settlement;
            settlement.key = record.key;
            settlement.to = Settlement::To::delivered;
            settlement.origin = origin;
            settlement.server_id = "later" + std::to_string(record.key);
            request.settlements.push_back(settlement);
        }
        box->drain(request);
    }
    const std::size_t salvaged = count_of<event::Salvaged>(box.events);
    // What stood on damaged pages may be gone; an overflow page is one record's.
    const std::size_t may_be_lost = pages * 20;
    std::map<std::string, std::string> there;
    for (const Record& record : box->list({}, 2'000)) {
        there[record.id] = record.comment;
    }
    std::size_t missing = 0;
    std::size_t wrong = 0;
    int index = 0;
    for (const auto& [id, comment] : original.comments) {
        const auto found = there.find(id);
        missing += found == there.end() ? 1 : 0;
        wrong += found != there.end() && found->second != comment ? 1 : 0;
        // By its id a quarter of them each time. A caller's id stands in a table of its own: one
        // that is not found there is not a record that is lost.
        const bool own = !id.starts_with(callers);
        if (found != there.end() && own && index++ % 4 == trial % 4) {
            CHECK(box->get(id).comment == found->second);
        }
    }
    CHECK(missing + wrong <= may_be_lost);
    std::size_t sent_again = 0;
    for (const std::string& id : original.delivered) {
        sent_again += sent.count(id);
    }
    CHECK(sent_again == 0);
    if (salvaged > 0) {
        REQUIRE(moved_aside(box.folder.path()).size() == salvaged);
        const std::vector<std::string> findings = box->verify();
        const std::string finding = findings.empty() ? "" : findings.front();
        CAPTURE(finding);
        CHECK(findings.empty());
    }
    return salvaged;
}

}  // namespace

TEST_CASE("S29: whatever is overwritten, the outbox starts, keeps the file, and goes on") {
    const Original original{1'000};
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    std::size_t salvages = 0;
    for (int trial = 0; trial < 200; ++trial) {
        CAPTURE(trial);
        salvages += live_through(original, draw_damage(random, original.bytes.size()), trial);
    }
    MESSAGE("salvaged ", salvages, " of 200");
}

// Each kind of damage by itself, made on purpose: the one above meets them by chance.

TEST_CASE("S29: a ledger that is not as it was written is not believed") {
    const Original original{100};
    for (const char* const count : {"delivered", "dropped", "discarded", "fresh_cursor"}) {
        CAPTURE(count);
        Copy copy{original};
        RawDatabase{copy.box.options.path}.run(std::string{"UPDATE ledger SET "} + count + " = " +
                                               count + " + 3");
        copy.box.open();
        copy.box.submit("new", "after the damage");
        CHECK(count_of<event::Salvaged>(copy.box.events) == 1);
        CHECK(copy.box->status().accepted == 101);
        CHECK(copy.box->verify().empty());
    }
}

TEST_CASE("S29: the last record's key is not believed, or the outbox would be full for ever") {
    const Original original{100};
    Copy copy{original};
    RawDatabase{copy.box.options.path}.run(
        "UPDATE record SET key = 1000000000000 WHERE key = (SELECT max(key) FROM record)");
    copy.box.open();
    copy.box.submit("new", "after the damage");
    CHECK(count_of<event::Salvaged>(copy.box.events) == 1);
    CHECK(copy.box->status().accepted <= 101);
}

TEST_CASE("S29 S31: an index that calls a delivered record due has nothing sent again") {
    const Original original{100};
    REQUIRE_FALSE(original.delivered.empty());
    Copy copy{original};
    {
        // Another tree takes the index's place, in which what is delivered (8) is due (3).
        RawDatabase database{copy.box.options.path};
        database.run("CREATE INDEX other ON record(lane - 5, key * 0) WHERE lane = 8");
        sqlite3_db_config(database.handle(), SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr);
        database.run(
            "PRAGMA writable_schema = ON;"
            "UPDATE sqlite_schema SET rootpage ="
            " (SELECT rootpage FROM sqlite_schema WHERE name = 'other') WHERE name = 'work';"
            "DELETE FROM sqlite_schema WHERE name = 'other'");
    }
    copy.box.open();
    copy.box.become_drainer();
    for (int round = 0; round < 20; ++round) {
        for (const auto& record : copy.box.claim(64)) {
            CHECK_FALSE(original.delivered.contains(record.id.text()));
        }
    }
    CHECK(count_of<event::Salvaged>(copy.box.events) == 1);
}

TEST_CASE("S29: one garbled id does not hide the records on the other side of the search") {
    const Original original{100};
    for (const char* const id : {"zeroblob(16)", "x'ffffffffffffffffffffffffffffffff'"}) {
        CAPTURE(id);
        Copy copy{original};
        // The search begins in the middle.
        RawDatabase{copy.box.options.path}.run(std::string{"UPDATE record SET id = "} + id +
                                               " WHERE key = 50");
        copy.box.open();
        std::size_t missing = 0;
        for (const auto& [name, comment] : original.comments) {
            try {
                const Record record = copy.box->get(name);
                CHECK(record.comment == comment);
            } catch (const Error& error) {
                REQUIRE(error.code() == errc::not_found);
                ++missing;
            }
        }
        CHECK(missing <= 1);  // its own
    }
}

TEST_CASE("S29: a caller's id that names another record is damage, not a conflict") {
    const Original original{100};
    Copy copy{original};
    RawDatabase{copy.box.options.path}.run(
        "UPDATE caller_id SET key = 1 WHERE key = (SELECT max(key) FROM caller_id)");
    copy.box.open();
    const std::string id = std::prev(original.comments.end())->first;
    REQUIRE(id.starts_with(callers));
    const auto again = copy.box->submit(with_id(submission("other", "other"), id));
    CHECK(again.error == errc::id_conflict);  // with its own record, found again by the salvage
    CHECK(count_of<event::Salvaged>(copy.box.events) == 1);
    CHECK(copy.box->get(id).comment == std::prev(original.comments.end())->second);
}

TEST_CASE("S29: a text behind a garbled page number is damage, read or moved unread") {
    // The second's text is never read before it is moved behind the first.
    for (const char* const conversation : {"another", "c"}) {
        CAPTURE(conversation);
        Outboxed box{Original::unsynced()};
        box.submit("c", "first");
        box.submit(conversation, std::string(12'000, 'l'));
        box.store.reset();
        const std::size_t letters = content(box.options.path).find(std::string(page - 4, 'l'));
        REQUIRE(letters != std::string::npos);
        REQUIRE(letters % page == 4);  // before them stands the number of the next page
        overwrite(box.options.path, letters - 4, "\x7f\xff\xff\xf0");
        for (const char* suffix : {"-wal", "-shm"}) {
            fs::remove(box.options.path.string() + suffix);
        }
        box.open();
        box.become_drainer();
        const auto claimed = box.claim(64);
        REQUIRE(claimed.size() == 1);
        CHECK(claimed[0].feedback.comment == "first");
        CHECK(count_of<event::Salvaged>(box.events) == 1);
        box.submit("new", "after the damage");
        CHECK(box->verify().empty());
    }
}

TEST_CASE("S29: a file format that there is not is damage") {
    const Original original{100};
    Copy copy{original};
    overwrite(copy.box.options.path, 44, std::string{"\0\0\0\5", 4});
    copy.box.open();
    copy.box.submit("new", "after the damage");
    CHECK(count_of<event::Salvaged>(copy.box.events) == 1);
    CHECK(copy.box->status().accepted == 101);
}

TEST_CASE("S29: a length beyond SQLite's limit is damage") {
    CHECK(sqlite::Failure{SQLITE_TOOBIG, 0, ""}.trouble() == sqlite::Trouble::damaged);
}

TEST_CASE("S29: a hold of a reason that there is not holds nothing") {
    const Original original{100};
    Copy copy{original};
    RawDatabase{copy.box.options.path}.run(
        "INSERT INTO hold(reason, since, until, step, status, detail) VALUES(99, 0, NULL, 0, 0, "
        "'')");
    copy.box.open();
    copy.box.become_drainer();
    CHECK_FALSE(copy.box->status().hold);
    CHECK_FALSE(copy.box.claim(64).empty());
}

TEST_CASE("S29: a schema whose text no longer parses is damage, wherever it was hit") {
    const Original original{100};
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    const std::size_t text = original.bytes.find("CREATE TABLE record(");
    REQUIRE(text < page);
    for (int trial = 0; trial < 60; ++trial) {
        Copy copy{original};
        // Characters that SQL has no use for: the row of the schema still reads, its text not.
        const std::size_t at = text + random.below(page - text);
        const std::string bytes(1 + random.below(4), trial % 2 == 0 ? '\x01' : '\x7f');
        CAPTURE(at);
        overwrite(copy.box.options.path, std::min(at, page - bytes.size()), bytes);
        copy.box.open();
        copy.box.submit("new", "after the damage");
        REQUIRE(count_of<event::Salvaged>(copy.box.events) == 1);
        CHECK(std::get<event::Salvaged>(copy.box.events[0]).rescued == 100);
        CHECK(moved_aside(copy.box.folder.path()).size() == 1);
    }
}

TEST_CASE("the damaged file is kept whole, byte for byte") {
    const Original original{100};
    Copy copy{original};
    overwrite(copy.box.options.path, 0, std::string(page, '\xff'));
    const std::string damaged = content(copy.box.options.path);
    copy.box.open();
    const auto aside = moved_aside(copy.box.folder.path());
    REQUIRE(aside.size() == 1);
    CHECK(content(aside[0]) == damaged);
    CHECK((fs::status(aside[0]).permissions() & fs::perms::mask) ==
          (fs::perms::owner_read | fs::perms::owner_write));
    copy.box.submit();
    REQUIRE(count_of<event::Salvaged>(copy.box.events) == 1);
    const auto& salvaged = std::get<event::Salvaged>(copy.box.events[0]);
    CHECK(salvaged.rescued == 100);
    CHECK(salvaged.moved_to == aside[0].string());
}

TEST_CASE("S31: what is rescued is unknown, delivered stays delivered, counts add up") {
    const Original original{200};
    Copy copy{original};
    overwrite(copy.box.options.path, 0, std::string(page, '\xff'));
    Outboxed& box = copy.box;
    box.open();
    const Status status = box->status();
    CHECK(status.accepted == 200);
    CHECK(status.waiting == 0);
    CHECK(status.delivered == original.delivered.size());
    CHECK(status.dropped == 0);
    CHECK(status.unknown + status.dead + status.delivered == 200);
    box.become_drainer();
    CHECK(box.claim(10).empty());
    const auto unknown = box->due_unknowns(1'000);
    CHECK_FALSE(unknown.empty());
    for (const auto& record : unknown) {
        CHECK(original.delivered.count(record.id.text()) == 0);
        CHECK(record.origin == origin);
        CHECK(record.attempt_began.boot_id != 0);
        CHECK_FALSE(record.attempt_ended);
        CHECK(original.comments.at(record.id.text()) == record.feedback.comment);
    }
    const std::string id = box.submit("c1", "next");
    CHECK(box->get(id).comment == "next");
    CHECK(box->status().accepted == 201);
    CHECK(box->verify().empty());
}

TEST_CASE("where nothing was ever claimed, nothing is in doubt after a salvage") {
    Outboxed box;
    for (int i = 0; i < 30; ++i) {
        box.submit("c" + std::to_string(i % 3), std::to_string(i));
    }
    box.store.reset();
    overwrite(box.options.path, 0, std::string(50, 'x'));
    box.open();
    CHECK(box->status().waiting == 30);
    box.become_drainer();
    CHECK(box.claim(10).size() == 3);
    CHECK(box->verify().empty());
}

TEST_CASE("rows that only the WAL holds are rescued too") {
    const Original original{300};
    Copy copy{original};
    Outboxed& box = copy.box;
    const fs::path wal{box.options.path.string() + "-wal"};
    // So few that no page is added: the first one, which tells, stays in the database alone.
    constexpr int count = 3;
    const auto comment_of = [](int i) { return "in the log alone: " + std::to_string(i) + "."; };
    auto child = ChildProcess::run([&](ParentLink& parent) {
        box.open();
        for (int i = 0; i < count; ++i) {
            box.submit("c" + std::to_string(i), comment_of(i));
        }
        parent.tell();
        parent.await();
        return 0;
    });
    REQUIRE(child.await() == '.');
    child.kill();
    const std::string log = content(wal);
    for (int i = 0; i < count; ++i) {
        REQUIRE(log.find(comment_of(i)) != std::string::npos);
    }
    REQUIRE(content(box.options.path) == original.bytes);

    const std::string damaged(original.bytes.size(), '\xee');
    overwrite(box.options.path, 0, damaged);
    box.open();
    box.submit("new", "after the damage");
    REQUIRE(count_of<event::Salvaged>(box.events) == 1);
    const auto& salvaged = std::get<event::Salvaged>(box.events[0]);
    CHECK(salvaged.rescued >= count);
    CHECK(salvaged.rescued < 300);  // the others stood in the database alone
    CHECK(content(salvaged.moved_to) == damaged);
    CHECK(content(salvaged.moved_to + "-wal") == log);
    std::multiset<std::string> comments;
    for (const Record& record : box->list({}, 1'000)) {
        comments.insert(record.comment);
    }
    for (int i = 0; i < count; ++i) {
        CHECK(comments.count(comment_of(i)) == 1);
    }
    CHECK(box->status().accepted >= 300 + count + 1);
    CHECK(box->verify().empty());
}

TEST_CASE("a salvage that was cut short goes on with the next open") {
    const Original original{100};
    for (int stage = 0; stage < 4; ++stage) {
        CAPTURE(stage);
        Copy copy{original};
        const fs::path path = copy.box.options.path;
        overwrite(path, 0, std::string(page, '\xff'));
        const fs::path aside{path.string() + ".damaged-20260101"};
        // As a crash after each step leaves it.
        std::ofstream{path.string() + "-salvage"}
            << (stage == 0 ? std::string{} : aside.filename().string() + "\n");
        fs::permissions(path.string() + "-salvage", fs::perms::owner_read | fs::perms::owner_write);
        if (stage >= 2) {
            fs::rename(path, aside);
        }
        if (stage >= 3) {
            std::ofstream{path};
            fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
        }
        {
            outbox::StoreOptions options = copy.box.options;
            options.mode = OutboxMode::read_write;
            const auto code = code_of([&] {
                outbox::Store{options, copy.box.clock, copy.box.random};
            });
            CHECK((code == errc::damaged || code == errc::no_such_file));
        }
        copy.box.open();
        CHECK(copy.box->status().accepted == 100);
        CHECK(moved_aside(copy.box.folder.path()).size() == 1);
        CHECK_FALSE(fs::exists(path.string() + "-salvage"));
        CHECK(copy.box->verify().empty());
    }
}

TEST_CASE("other processes go on with the fresh outbox") {
    const Original original{300};
    Copy copy{original};
    Outboxed& box = copy.box;
    box.open();
    outbox::StoreOptions same = box.options;
    Outboxed other{same};
    other.submit("c1", "before");
    // Every page but the first: whoever reads next finds out.
    const std::size_t size = fs::file_size(box.options.path);
    overwrite(box.options.path, page, std::string(size - page, '\xee'));
    box.store.reset();  // its pages were in memory
    box.open();
    box.submit("c1", "one");
    other.submit("c1", "two");
    CHECK(other->status().accepted == box->status().accepted);
    box.become_drainer();
    box.claim(5);
    CHECK(count_of<event::Salvaged>(box.events) + count_of<event::Salvaged>(other.events) == 1);
    CHECK(box->verify().empty());
}

TEST_CASE("a file that is not a database and has no companions is not taken for ours") {
    Outboxed box;
    box.store.reset();
    const fs::path picture = box.folder / "picture.jpg";
    std::ofstream{picture} << std::string(10'000, 'j');
    fs::permissions(picture, fs::perms::owner_read | fs::perms::owner_write);
    outbox::StoreOptions options;
    options.path = picture;
    CHECK(code_of([&] { outbox::Store{options, box.clock, box.random}; }) == errc::foreign_file);
    CHECK(content(picture) == std::string(10'000, 'j'));
}
