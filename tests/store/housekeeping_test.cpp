// Space, privacy and damage on demand: purge, compact, salvage, verify.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include "raw.hpp"
#include "support.hpp"

using namespace agentsight;
using namespace agentsight::test;
using outbox::Settlement;
namespace fs = std::filesystem;

namespace {

std::string content(const fs::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

/// The files of the folder whose bytes hold this text.
std::vector<std::string> files_with(const fs::path& folder, const std::string& text) {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator{folder}) {
        if (entry.is_regular_file() && content(entry.path()).find(text) != std::string::npos) {
            found.push_back(entry.path().filename().string());
        }
    }
    return found;
}

std::vector<std::int64_t> deliver_all(Outboxed& box) {
    std::vector<std::int64_t> keys;
    for (;;) {
        const auto claimed = box.claim(32);
        if (claimed.empty()) {
            return keys;
        }
        outbox::DrainRequest request = box.request(0);
        for (const auto& record : claimed) {
            Settlement settlement;
            settlement.key = record.key;
            settlement.to = Settlement::To::delivered;
            settlement.server_id = "s" + std::to_string(record.key);
            settlement.origin = origin;
            request.settlements.push_back(settlement);
            keys.push_back(record.key);
        }
        box->drain(std::move(request));
    }
}

outbox::StoreOptions relaxed() {
    outbox::StoreOptions options;
    options.durability = Durability::relaxed;
    return options;
}

/// As another process does it, beside whoever has the outbox open.
Salvage salvage(const fs::path& path, bool even_if_sound = false) {
    outbox::require_something_to_salvage(path);
    TestClock clock;
    TestRandom random{11};
    outbox::StoreOptions options = relaxed();
    options.path = path;
    return outbox::Store{options, clock, random}.salvage(even_if_sound);
}

std::uint64_t bytes_of(const Outboxed& box) {
    std::error_code ignored;
    const auto wal = fs::file_size(box.options.path.string() + "-wal", ignored);
    return fs::file_size(box.options.path) + (ignored ? 0 : wal);
}

}  // namespace

TEST_CASE("S27: a purge removes settled records, and their text from every file") {
    Outboxed box{relaxed()};
    box.become_drainer();
    std::vector<std::string> settled;
    for (int i = 0; i < 200; ++i) {
        const std::string tail = i % 20 == 0 ? std::string(9'000, 'l') : std::string();
        settled.push_back(box.submit("conversation-secret", "comment-secret" + tail));
    }
    deliver_all(box);
    const std::string discarded = box.submit("conversation-secret", "comment-secret");
    box->discard(discarded, false);
    const std::string dead = box.submit("c2", "comment-kept");
    box.clock.advance(3'600'000);
    const core::UtcMs before = box.clock.now().utc_ms;
    const std::string late = box.submit("c3", "comment-late");
    box.settle_to(box.claim(1).at(0).key, Settlement::To::dead);
    deliver_all(box);
    const Status status = box->status();

    CHECK(box->purge(before) == 201);

    CHECK(files_with(box.folder.path(), "-secret").empty());
    CHECK(!files_with(box.folder.path(), "comment-kept").empty());
    CHECK(!files_with(box.folder.path(), "comment-late").empty());
    CHECK(code_of([&] { box->get(settled.front()); }) == errc::not_found);
    CHECK(code_of([&] { box->get(discarded); }) == errc::not_found);
    CHECK(box->get(dead).state == RecordState::dead);
    CHECK(box->get(late).comment == "comment-late");
    const Status after = box->status();
    CHECK(after.delivered == status.delivered);
    CHECK(after.discarded == status.discarded);
    CHECK(after.accepted == status.accepted);
    CHECK(box->verify().empty());
    CHECK(box->purge(before) == 0);
    CHECK(box->purge(box.clock.now().utc_ms + 1) == 1);
}

TEST_CASE("S27: a purge whose text somebody still reads says so, and holds nobody up") {
    outbox::StoreOptions options = relaxed();
    options.busy_timeout = std::chrono::milliseconds{60};
    Outboxed box{options};
    box.become_drainer();
    box.submit("c1", "comment-secret");
    deliver_all(box);
    {
        RawDatabase reader{box.options.path};
        reader.run("BEGIN");
        reader.integer("SELECT count(*) FROM record");
        CHECK(code_of([&] { box->purge(box.clock.now().utc_ms + 1); }) == errc::busy);
        box.submit("c2");  // the lock was not kept
        reader.run("ROLLBACK");
    }
    box->purge(box.clock.now().utc_ms + 1);
    CHECK(files_with(box.folder.path(), "comment-secret").empty());
}

TEST_CASE("discarded text is gone from every file once the outbox is idle") {
    Outboxed box{relaxed()};
    const std::string id = box.submit("c1", "comment-secret");
    box->discard(id, false);
    box->tidy();
    CHECK(files_with(box.folder.path(), "comment-secret").empty());
}

TEST_CASE("S28: a drained outbox of 20 MB gives its space back, while others submit") {
    outbox::StoreOptions options = relaxed();
    options.keep_delivered = 0;
    Outboxed box{options};
    box.become_drainer();
    for (int i = 0; i < 5'000; i += 50) {
        std::vector<outbox::Submission> many;
        for (int k = 0; k < 50; ++k) {
            many.push_back(submission("c" + std::to_string(i + k), std::string(4'000, 'x')));
        }
        box->submit_many(many);
    }
    deliver_all(box);
    CHECK(bytes_of(box) > 20'000'000);

    Outboxed other{box.options};
    std::atomic<bool> stop{false};
    std::atomic<int> submitted{0};
    std::thread submitter{[&] {
        while (!stop || submitted == 0) {
            other.submit("other", "meanwhile");
            ++submitted;
        }
    }};
    const Compacted done = box->compact();
    stop = true;
    submitter.join();

    CHECK(done.bytes_before > 20'000'000);
    deliver_all(box);
    const Compacted again = box->compact();
    CHECK(again.bytes_after == bytes_of(box));
    CHECK(again.bytes_after < 256 * 1024);
    CHECK(box->status().delivered == 5'000 + static_cast<std::uint64_t>(submitted));
    CHECK(box->verify().empty());
}

TEST_CASE("salvage on demand leaves a sound outbox as it is, unless told otherwise") {
    Outboxed box{relaxed()};
    const std::string first = box.submit("c1", "one");
    box.become_drainer();
    deliver_all(box);
    const std::string second = box.submit("c2", "two");
    box.store.reset();
    const std::string bytes = content(box.options.path);

    const Salvage untouched = salvage(box.options.path);
    CHECK(untouched.moved_to.empty());
    CHECK(content(box.options.path) == bytes);

    const Salvage forced = salvage(box.options.path, true);
    CHECK(forced.rescued == 2);
    CHECK(forced.lost == 0);
    CHECK(content(forced.moved_to) == bytes);
    box.open();
    CHECK(box->get(first).state == RecordState::delivered);
    CHECK(box->get(second).state == RecordState::unknown);
    CHECK(box->get(second).comment == "two");
    CHECK(box->verify().empty());
}

TEST_CASE("salvage on demand makes no outbox, and takes no other's file") {
    TemporaryFolder folder;
    CHECK(code_of([&] { salvage(folder / "none.db"); }) == errc::no_such_file);
    CHECK(!fs::exists(folder / "none.db"));
    {
        RawDatabase other{folder / "other.db"};
        other.run("CREATE TABLE t(x)");
    }
    const std::string bytes = content(folder / "other.db");
    CHECK(code_of([&] { salvage(folder / "other.db"); }) == errc::foreign_file);
    CHECK(content(folder / "other.db") == bytes);
}

TEST_CASE("an application goes on with the fresh outbox after a salvage beside it") {
    Outboxed box{relaxed()};
    const std::string before = box.submit("c1", "one");
    box.become_drainer();
    const auto claimed = box.claim(1);

    const Salvage done = salvage(box.options.path, true);
    const std::string moved = content(done.moved_to);
    const std::string wal = content(done.moved_to.string() + "-wal");

    const std::string after = box.submit("c2", "two");
    CHECK(box->get(before).state == RecordState::unknown);
    CHECK(box->get(after).state == RecordState::waiting);
    box.deliver(claimed.at(0).key);
    CHECK(box->get(before).state == RecordState::delivered);
    CHECK(content(done.moved_to) == moved);
    CHECK(content(done.moved_to.string() + "-wal") == wal);
    CHECK(box->verify().empty());
}

TEST_CASE("verify names what contradicts itself") {
    Outboxed box{relaxed()};
    box.submit("c1", "one");
    CHECK(box->verify().empty());
    {
        RawDatabase raw{box.options.path};
        raw.run("UPDATE ledger SET delivered = 5");
    }
    CHECK(!box->verify().empty());
    // What contradicts itself is salvaged on demand.
    CHECK(!salvage(box.options.path).moved_to.empty());
    CHECK(box->verify().empty());
}

TEST_CASE("verify finds nothing wrong while others write, and lets the WAL begin anew") {
    Outboxed box{relaxed()};
    std::vector<outbox::Submission> many(256, submission("c", std::string(1'000, 'x')));
    for (int i = 0; i < 160; ++i) {
        box->submit_many(many, many.size());
    }
    outbox::StoreOptions options = relaxed();
    options.path = box.options.path;
    TestClock clock;
    TestRandom random{11};
    outbox::Store other{options, clock, random};
    std::atomic<bool> stopping{false};
    std::uintmax_t largest_wal = 0;
    std::thread writer{[&] {
        for (int i = 0; !stopping; ++i) {
            box.submit("d" + std::to_string(i % 100), std::string(1'000, 'y'));
            largest_wal = std::max(largest_wal, fs::file_size(box.options.path.string() + "-wal"));
        }
    }};
    const std::vector<std::string> findings = other.verify();
    stopping = true;
    writer.join();
    CHECK(findings == std::vector<std::string>{});
    CHECK(largest_wal < (std::uintmax_t{16} << 20));
}

TEST_CASE("verify says whether it gave up the check of the pages, and looks at all else") {
    Outboxed box{relaxed()};
    std::vector<outbox::Submission> many(256, submission("c", std::string(1'000, 'x')));
    for (int i = 0; i < 80; ++i) {
        box->submit_many(many, many.size());
    }
    CHECK(box->verify_report().file_checked);
    RawDatabase{box.options.path}.run("UPDATE ledger SET delivered = 5");
    std::atomic<bool> stopping{false};
    std::thread writer{[&] {
        RawDatabase raw{box.options.path};
        raw.run("PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF; CREATE TABLE noise(x)");
        while (!stopping) {
            raw.run("INSERT INTO noise VALUES(randomblob(1000000))");
        }
    }};
    VerifyReport report;
    constexpr int enough = 100;
    for (int i = 0; i < enough && report.file_checked; ++i) {
        report = box->verify_report();
    }
    stopping = true;
    writer.join();
    CHECK_FALSE(report.file_checked);
    CHECK_FALSE(report.problems.empty());
}

TEST_CASE("verify finds nothing wrong while records are delivered, purged and dropped") {
    outbox::StoreOptions options = relaxed();
    options.keep_delivered = 300;
    Outboxed box{options};
    box.become_drainer();
    std::vector<outbox::Submission> many;
    for (int i = 0; i < 256; ++i) {
        many.push_back(submission("c" + std::to_string(i)));
    }
    for (int i = 0; i < 20; ++i) {
        box->submit_many(many, many.size());
    }
    std::atomic<bool> done{false};
    std::thread drainer{[&] {
        deliver_all(box);
        done = true;
    }};
    std::vector<std::string> findings;
    while (!done && findings.empty()) {
        findings = box->verify();
    }
    drainer.join();
    CHECK(findings == std::vector<std::string>{});
    CHECK(box->verify().empty());
}

TEST_CASE("verify names a record that is missing, and one that is too many") {
    Outboxed box{relaxed()};
    box.submit("c1", "one");
    box.submit("c2", "two");
    box.submit("c3", "three");
    {
        RawDatabase raw{box.options.path};
        raw.run("DELETE FROM record WHERE key = 2");
    }
    CHECK(box->verify() ==
          std::vector<std::string>{"the ledger says accepted 3, the records say 2"});
}
