#include <doctest/doctest.h>

#include "helpers.hpp"
#include "support/child_process.hpp"
#include "support/temporary_folder.hpp"
#include "support/test_clock.hpp"
#include "support/test_random.hpp"

using namespace agentsight;
using namespace agentsight::test;

TEST_CASE("a temporary folder is private and gone afterwards, whatever was done in it") {
    std::filesystem::path path;
    {
        const TemporaryFolder folder;
        path = folder.path();
        CHECK(mode_of(path) == 0700);
        std::filesystem::create_directories(folder / "a" / "b");
        write_file(folder / "a" / "b" / "file", "x");
        std::filesystem::permissions(folder / "a", std::filesystem::perms::none);
        std::filesystem::permissions(folder.path(), std::filesystem::perms::none);
    }
    CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a child's end is told: code, signal, exception, missing program") {
    CHECK(ChildProcess::run([](ParentLink&) { return 7; }).wait() == Ending{.code = 7});
    CHECK(ChildProcess::execute("/nowhere", {}).wait() == Ending{.code = 127});
    CHECK(ChildProcess::execute("/bin/echo", {"a", "b"}).output() == "a b\n");
    auto waiting = ChildProcess::run([](ParentLink& parent) { return parent.await(); });
    CHECK(waiting.kill() == Ending{.signal = SIGKILL});
    auto speaking = ChildProcess::run([](ParentLink& parent) { return parent.await(); });
    speaking.say('\x05');
    CHECK(speaking.wait() == Ending{.code = 5});
}

TEST_CASE("a test clock moves only when told") {
    TestClock clock;
    const core::Moment start = clock.now();
    clock.advance(250);
    clock.jump_utc(-1'000);
    CHECK(clock.now().utc_ms == start.utc_ms - 750);
    CHECK(clock.now().boot_ms == start.boot_ms + 250);
    clock.reboot(60'000, 5);
    CHECK(clock.now().utc_ms == start.utc_ms + 59'250);
    CHECK(clock.now().boot_ms == 5);
    CHECK(clock.now().boot_id != start.boot_id);
}

TEST_CASE("a seed replays its numbers") {
    TestRandom one{42};
    TestRandom two{42};
    TestRandom other{43};
    CHECK(one.next() == two.next());
    CHECK(one.next() != other.next());
    CHECK(one.below(0) == 0);
    for (int i = 0; i < 1'000; ++i) {
        CHECK(one.below(10) < 10);
    }
}
