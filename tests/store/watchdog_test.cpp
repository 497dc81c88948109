// What a cleaner, a backup or another program does to the files of a live outbox.
#include <doctest/doctest.h>

#include <set>

#include "raw.hpp"
#include "support.hpp"
#include "support/child_process.hpp"

using namespace agentsight;
using namespace agentsight::test;
namespace fs = std::filesystem;

namespace {

std::set<std::string> ids_in(outbox::Store& store) {
    std::set<std::string> ids;
    for (const Record& record : store.list({}, 1'000)) {
        ids.insert(record.id);
    }
    return ids;
}

/// Some in the database, some in the WAL alone, some while a reader is open.
std::set<std::string> fill(Outboxed& box) {
    std::set<std::string> ids;
    for (int i = 0; i < 40; ++i) {
        ids.insert(box.submit("c" + std::to_string(i), std::string(300, 'x')));
        if (i == 20) {
            box->tidy();
        }
    }
    box->status();
    return ids;
}

/// Goes on after the blow, and so does whoever opens it next.
void check_goes_on(Outboxed& box, std::set<std::string> ids) {
    ids.insert(box.submit("after", "the blow"));
    CHECK(ids_in(*box.store) == ids);
    box.become_drainer();
    CHECK(box.claim(3).size() == 3);
    ids.insert(box.submit("later"));
    CHECK(box->verify().empty());
    box.reopen();
    CHECK(ids_in(*box.store) == ids);
    CHECK(box->verify().empty());
}

bool alarmed(const Outboxed& box) {
    for (const Event& event : box.events) {
        if (std::holds_alternative<event::Alarm>(event)) {
            return true;
        }
    }
    return false;
}

}  // namespace

TEST_CASE("S16: a WAL that somebody unlinked is noticed, and all it held is kept") {
    Outboxed box;
    const auto ids = fill(box);
    fs::remove(box.options.path.string() + "-wal");
    check_goes_on(box, ids);
    CHECK(alarmed(box));
}

TEST_CASE("S17: a -shm that somebody unlinked is noticed, and nothing is lost") {
    Outboxed box;
    const auto ids = fill(box);
    fs::remove(box.options.path.string() + "-shm");
    check_goes_on(box, ids);
    CHECK(alarmed(box));
}

TEST_CASE("S16 S17: WAL and -shm unlinked together") {
    Outboxed box;
    const auto ids = fill(box);
    fs::remove(box.options.path.string() + "-wal");
    fs::remove(box.options.path.string() + "-shm");
    check_goes_on(box, ids);
}

TEST_CASE("S18: an outbox whose every file is removed is made again, whole") {
    Outboxed box;
    auto ids = fill(box);
    for (const char* suffix : {"", "-wal", "-shm", "-lock", "-ballast"}) {
        fs::remove(box.options.path.string() + suffix);
    }
    check_goes_on(box, ids);
    CHECK(alarmed(box));
}

TEST_CASE("S18: a database that is renamed or removed alone is made again, whole") {
    for (const bool renamed : {false, true}) {
        CAPTURE(renamed);
        Outboxed box;
        const auto ids = fill(box);
        if (renamed) {
            fs::rename(box.options.path, box.folder / "elsewhere.db");
        } else {
            fs::remove(box.options.path);
        }
        check_goes_on(box, ids);
    }
}

TEST_CASE("S18: the same where somebody reads first, forks, or the process ends in order") {
    for (const bool all_of_it : {false, true}) {
        CAPTURE(all_of_it);
        Outboxed box;
        const auto ids = fill(box);
        for (const char* suffix : {"", "-wal", "-shm"}) {
            if (all_of_it || *suffix == '\0') {
                fs::remove(box.options.path.string() + suffix);
            }
        }
        SUBCASE("the counts") {
            CHECK(box->status().accepted == ids.size());
        }
        SUBCASE("a list") {
            CHECK(ids_in(*box.store) == ids);
        }
        SUBCASE("one record") {
            CHECK_NOTHROW(box->state_of(*ids.begin()));
        }
        SUBCASE("an end in order") {
            box.reopen();
        }
        SUBCASE("a fork") {
            CHECK(ChildProcess::run([](ParentLink&) { return 0; }).wait() == Ending{.code = 0});
        }
        check_goes_on(box, ids);
    }
}

TEST_CASE("S18: an outbox replaced by a new one is kept beside it") {
    Outboxed box;
    const auto ids = fill(box);
    for (const char* suffix : {"", "-wal", "-shm"}) {
        fs::remove(box.options.path.string() + suffix);
    }
    TestRandom random{8};
    outbox::Store other{box.options, box.clock, random};
    const std::string theirs = other.submit(submission("c", "theirs")).id.text();
    const std::string ours = box.submit("c", "ours");
    CHECK(ids_in(*box.store) == std::set{theirs, ours});
    fs::path aside;
    for (const auto& entry : fs::directory_iterator{box.folder.path()}) {
        if (entry.path().filename().string().find(".damaged-") != std::string::npos) {
            aside = entry.path();
        }
    }
    REQUIRE(!aside.empty());
    outbox::StoreOptions options;
    options.path = aside;
    Outboxed kept{options};
    CHECK(ids_in(*kept.store) == ids);
    CHECK(alarmed(box));
}
