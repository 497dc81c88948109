#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "os/lock_file.hpp"
#include "raw.hpp"
#include "support.hpp"
#include "support/next_schema.hpp"

using namespace agentsight;
using namespace agentsight::test;
namespace fs = std::filesystem;

namespace {

/// All that makes a schema, as SQLite keeps it.
std::string schema_of(const fs::path& file) {
    return RawDatabase{file}.text(
        "SELECT group_concat(type || ' ' || name || ' ' || sql, ';') FROM"
        " (SELECT * FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name)");
}

std::int64_t version_of(const fs::path& file) {
    return RawDatabase{file}.integer("PRAGMA user_version");
}

/// An outbox on the next version of the library.
outbox::StoreOptions later(const fs::path& path) {
    outbox::StoreOptions options;
    options.path = path;
    options.schema = next_schema();
    return options;
}

}  // namespace

// fixtures/schema-N.sql: what version N of the schema wrote, with records in every state, made with
// the tool and dumped. One a version, added before its release and never changed afterwards.
TEST_CASE("an outbox of the first schema, as it was written, is read, verified and drained") {
    TemporaryFolder folder;
    outbox::StoreOptions options;
    options.path = folder / "feedback.db";
    {
        std::ifstream script{fs::path{FIXTURES} / "schema-1.sql"};
        RawDatabase{options.path}.run({std::istreambuf_iterator<char>{script}, {}});
    }
    fs::permissions(options.path, fs::perms::owner_read | fs::perms::owner_write);
    REQUIRE(version_of(options.path) == 1);
    Outboxed box{options};
    CHECK(box.events.empty());  // nothing of it was salvaged
    CHECK(box->verify() == std::vector<std::string>{});
    std::map<RecordState, int> states;
    for (const Record& record : box->list({}, 100)) {
        ++states[record.state];
        const bool erased = record.state == RecordState::discarded;
        CHECK(record.comment.empty() == (erased || record.sentiment == Sentiment::neutral));
    }
    CHECK(states == std::map<RecordState, int>{{RecordState::delivered, 3},
                                               {RecordState::dead, 1},
                                               {RecordState::unknown, 3},
                                               {RecordState::discarded, 1}});
    CHECK(box->get("0198b5a0-0001-7d11-8f00-000000000001").comment == "waiting");
    const Status status = box->status();
    CHECK(status.schema == version_of(options.path));
    REQUIRE(status.hold);
    CHECK(status.hold->reason == HoldReason::person);
    box->release();
    box.submit("fresh", "new");
    box.become_drainer();
    REQUIRE(box.claim(10).size() == 1);
    box.deliver(9);
    CHECK(box->status().delivered == 4);
    CHECK(box->verify() == std::vector<std::string>{});
}

TEST_CASE("an upgrade leaves what a fresh outbox of that version has, and every record") {
    Outboxed old;
    const std::string id = old.submit("c", "kept");
    old.become_drainer();
    old.claim(1);
    old.store.reset();
    Outboxed box{later(old.options.path)};
    const Outboxed fresh{later(old.folder / "fresh.db")};
    CHECK(version_of(old.options.path) == newest(next_schema()));
    CHECK(schema_of(old.options.path) == schema_of(fresh.options.path));
    CHECK(RawDatabase{old.options.path}.integer("SELECT count(*) FROM later") == 1);
    CHECK(box->get(id).comment == "kept");
    CHECK(box->get(id).state == RecordState::claimed);
    CHECK(box->status().schema == newest(next_schema()));
    CHECK(box->verify() == std::vector<std::string>{});
    CHECK(box.events.empty());
}

TEST_CASE("while an older version has the outbox open, a newer one works under the older schema") {
    Outboxed old;
    old.submit("c", "before");
    const fs::path path = old.options.path;
    {
        Outboxed box{later(path)};
        CHECK(box->status().schema == 1);
        box.submit("c", "under the old schema");
        old.submit("c", "as before");
        box.become_drainer();
        CHECK(box.claim(5).size() == 1);  // of one conversation, in order
        box.deliver(1);
        box.reopen();  // the older one is still there
        CHECK(box->status().schema == 1);
        old.store.reset();
        box.submit("c", "still");
        CHECK(version_of(path) == 1);  // never in the middle
        box.reopen();
        CHECK(version_of(path) == 2);
        CHECK(box->status().accepted == 4);
        CHECK(code_of([&] { old.open(); }) == errc::newer_schema);
        box.submit("c", "after");
    }
    old.options.mode = OutboxMode::read_only;
    CHECK(code_of([&] { old.open(); }) == errc::newer_schema);
    CHECK(Outboxed { later(path) } -> verify() == std::vector<std::string>{});
}

TEST_CASE("an older outbox is read where nothing may be written, and stays as it is") {
    Outboxed old;
    const std::string id = old.submit();
    old.store.reset();
    outbox::StoreOptions options = later(old.options.path);
    options.mode = OutboxMode::read_only;
    Outboxed box{options};
    CHECK(box->get(id).state == RecordState::waiting);
    CHECK(box->status().schema == 1);
    CHECK(version_of(old.options.path) == 1);
}

TEST_CASE("who comes while another migrates waits for it") {
    Outboxed old;
    old.submit();
    old.store.reset();
    os::LockFile migrating{old.options.path.string() + "-lock"};
    REQUIRE(migrating.lock(os::LockFile::Range::presence, os::LockFile::Mode::exclusive,
                           std::chrono::milliseconds{0}));
    outbox::StoreOptions options = later(old.options.path);
    options.busy_timeout = std::chrono::milliseconds{20};
    CHECK(code_of([&] { Outboxed box{options}; }) == errc::busy);
    CHECK(version_of(old.options.path) == 1);
    migrating.unlock(os::LockFile::Range::presence);
    CHECK_FALSE(code_of([&] { Outboxed box{options}; }));
    CHECK(version_of(old.options.path) == 2);
}

TEST_CASE("an upgrade that fails leaves the outbox as it was") {
    Outboxed old;
    const std::string id = old.submit();
    old.store.reset();
    const std::string before = schema_of(old.options.path);
    std::vector<outbox::SchemaVersion> versions(next_schema().begin(), next_schema().end());
    SUBCASE("it makes other tables than it should") {
        versions.back().upgrade = "CREATE TABLE later(key INTEGER) STRICT;";
    }
    SUBCASE("it cannot be run to its end") {
        versions.back().upgrade = "CREATE TABLE later(key INTEGER) STRICT; SELECT nonsense;";
    }
    outbox::StoreOptions options = later(old.options.path);
    options.schema = versions;
    CHECK(code_of([&] { Outboxed box{options}; }));
    CHECK(schema_of(old.options.path) == before);
    CHECK(version_of(old.options.path) == 1);
    old.open();
    CHECK(old->get(id).state == RecordState::waiting);
    CHECK(old.events.empty());
}
