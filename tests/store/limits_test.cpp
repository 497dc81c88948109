// Disks that are full, quotas, limits of the system: an error, and the outbox goes on.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "raw.hpp"
#include "support.hpp"
#include "support/child_process.hpp"
#include "support/times.hpp"

using namespace agentsight;
using namespace agentsight::test;
namespace fs = std::filesystem;

namespace {

/// 0 where it all went as it should; else the line that did not.
#define REQUIRE_HERE(condition) \
    if (!(condition))           \
    return __LINE__ % 250 + 1

int fill_to_the_limit() {
    ::signal(SIGXFSZ, SIG_IGN);
    Outboxed box;
    box.become_drainer();
    for (int i = 0; i < 20; ++i) {
        box.submit("c" + std::to_string(i), std::string(2'000, 'x'));
    }
    const auto claimed = box.claim(4);
    rlimit limit{.rlim_cur = 256 * 1024, .rlim_max = RLIM_INFINITY};
    REQUIRE_HERE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    int accepted = 20;
    std::error_code refused;
    for (int i = 0; i < 1'000 && !refused; ++i) {
        refused = box->submit(submission("d" + std::to_string(i), std::string(2'000, 'y'))).error;
        accepted += refused ? 0 : 1;
    }
    REQUIRE_HERE(refused == errc::disk_full);
    REQUIRE_HERE(box->status().accepted == static_cast<std::uint64_t>(accepted));
    limit.rlim_cur = RLIM_INFINITY;
    REQUIRE_HERE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    for (const auto& record : claimed) {
        box.deliver(record.key);
    }
    box.clock.advance(2'000);
    box.submit("after");
    REQUIRE_HERE(box->status().delivered == claimed.size());
    REQUIRE_HERE(box->verify().empty());
    return 0;
}

/// Its files are gone, and there is no space to make them again, or to keep it beside another's.
int lose_the_files_on_a_full_disk(bool another_stands_there) {
    ::signal(SIGXFSZ, SIG_IGN);
    Outboxed box;
    constexpr int many = 400;
    for (int i = 0; i < many; ++i) {
        box.submit("c" + std::to_string(i), std::string(2'000, 'x'));
    }
    for (const char* const suffix : {"", "-wal", "-shm"}) {
        fs::remove(box.options.path.string() + suffix);
    }
    if (another_stands_there) {
        TestRandom random{8};
        outbox::Store{box.options, box.clock, random}.submit(submission("c", "theirs"));
    }
    rlimit limit{.rlim_cur = 256 * 1024, .rlim_max = RLIM_INFINITY};
    REQUIRE_HERE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    for (int i = 0; i < 3; ++i) {
        REQUIRE_HERE(box->submit(submission("c", "refused")).error);
    }
    limit.rlim_cur = RLIM_INFINITY;
    REQUIRE_HERE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
    box.submit("after");
    fs::path whole = box.options.path;
    for (const auto& entry : fs::directory_iterator{box.folder.path()}) {
        const std::string name = entry.path().filename().string();
        if (name.find(".damaged-") != std::string::npos && name.find("-wal") == std::string::npos &&
            name.find("-shm") == std::string::npos && fs::file_size(entry.path()) > 800'000) {
            whole = entry.path();
        }
    }
    REQUIRE_HERE((whole != box.options.path) == another_stands_there);
    REQUIRE_HERE(box->count({}) == (another_stands_there ? 2 : many + 1));
    outbox::StoreOptions options;
    options.path = whole;
    Outboxed kept{options};
    REQUIRE_HERE(kept->count({}) == (another_stands_there ? many : many + 1));
    REQUIRE_HERE(kept->verify().empty());
    return 0;
}

}  // namespace

TEST_CASE("S18: what a full disk does not let be made again is kept open, and made once it may") {
    for (const bool another : {false, true}) {
        CAPTURE(another);
        ChildProcess child =
            ChildProcess::run([&](ParentLink&) { return lose_the_files_on_a_full_disk(another); });
        CHECK(child.wait() == Ending{.code = 0});
    }
}

TEST_CASE("S8 S10: a limit of the file's size is a full disk, and submits work again without it") {
    ChildProcess child = ChildProcess::run([](ParentLink&) { return fill_to_the_limit(); });
    CHECK(child.wait() == Ending{.code = 0});
}

TEST_CASE("S12 S13: a WAL that a long reader let grow is emptied when the outbox is idle") {
    outbox::StoreOptions options;
    options.durability = Durability::relaxed;
    Outboxed box{options};
    box.submit();
    const auto wal = [&] { return fs::file_size(box.options.path.string() + "-wal"); };
    {
        RawDatabase reader{box.options.path};
        reader.run("BEGIN");
        reader.integer("SELECT count(*) FROM record");
        for (int i = 0; i < times(1'000); ++i) {
            box.submit("c", std::string(2'000, 'x'));
        }
        CHECK(wal() > 4'000'000);
        reader.run("ROLLBACK");
    }
    box->tidy();
    CHECK(wal() == 0);
    for (int i = 0; i < 1'000; ++i) {
        box.submit("c", std::string(2'000, 'x'));
    }
    CHECK(wal() < 2'000'000);
}

TEST_CASE("S4: two that write beside two that checkpoint: sound, and the WAL bounded") {
    outbox::StoreOptions options;
    options.durability = Durability::relaxed;
    Outboxed box{options};
    TestRandom random{3};
    outbox::Store other{box.options, box.clock, random};
    const std::string text(2'000, 'x');
    const int each = times(150);
    std::atomic<int> writing{2};
    std::array<std::uintmax_t, 2> largest{};
    {
        std::vector<std::jthread> threads;
        for (const std::size_t i : {0, 1}) {
            outbox::Store& store = i == 0 ? *box.store : other;
            threads.emplace_back([&] {
                for (int n = 0; n < each; ++n) {
                    CHECK_FALSE(store.submit(submission("c", text)).error);
                }
                --writing;
            });
            threads.emplace_back([&, i] {
                while (writing > 0) {
                    store.tidy();
                    largest[i] =
                        std::max(largest[i], fs::file_size(box.options.path.string() + "-wal"));
                }
            });
        }
    }
    CHECK(box->status().accepted == static_cast<std::uint64_t>(2 * each));
    CHECK(box->verify().empty());
    CHECK(std::max(largest[0], largest[1]) < 8'000'000);
}

TEST_CASE("S12: somebody is told once of a log that a reader lets grow, and again the next time") {
    outbox::StoreOptions options;
    options.durability = Durability::relaxed;
    Outboxed box{options};
    const std::string large(200'000, 'x');
    int submits = 0;
    for (std::size_t told = 1; told < 3; ++told) {
        RawDatabase reader{box.options.path};
        reader.run("BEGIN");
        reader.integer("SELECT count(*) FROM record");
        CHECK(box.events.size() == told - 1);
        for (int i = 0; i < 100; ++i, ++submits) {  // 20 MB
            box.submit("c", large);
        }
        REQUIRE(box.events.size() == told);
        CHECK(std::holds_alternative<event::Alarm>(box.events.back()));
        reader.run("ROLLBACK");
        box->tidy();
        box.submit();
        CHECK(fs::file_size(box.options.path.string() + "-wal") < 1'000'000);
    }
    CHECK(box->status().accepted == static_cast<std::uint64_t>(submits) + 2);
}

TEST_CASE("S12: the WAL is used again and again, not grown") {
    outbox::StoreOptions options;
    options.durability = Durability::relaxed;
    Outboxed box{options};
    for (int i = 0; i < 1'000; ++i) {
        box.submit("c", std::string(2'000, 'x'));
    }
    CHECK(fs::file_size(box.options.path.string() + "-wal") < 2'000'000);
}

TEST_CASE("S14: every write transaction takes its lock at once") {
    Outboxed box;
    box.submit();
    RawDatabase other{box.options.path};
    other.run("BEGIN");
    other.integer("SELECT count(*) FROM record");  // a snapshot that grows old
    box.submit();
    box.become_drainer();
    CHECK(box.claim(2).size() == 1);
    other.run("ROLLBACK");
}
