#include "os/clock.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <set>

#include "support/child_process.hpp"

using namespace agentsight;
using namespace agentsight::test;

TEST_CASE("the clock shows the wall clock's time, and boot time goes on") {
    const os::SystemClock clock;
    const auto wall = std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
    const core::Moment one = clock.now();
    const core::Moment two = clock.now();
    CHECK(one.utc_ms >= wall);
    CHECK(one.utc_ms < wall + 60'000);
    CHECK(one.boot_ms > 0);
    CHECK(two.boot_ms >= one.boot_ms);
}

TEST_CASE("all clocks of one boot have the same boot id, in every process") {
    const std::uint64_t id = os::SystemClock{}.now().boot_id;
    CHECK(id != 0);
    auto child = ChildProcess::run(
        [&](ParentLink&) { return os::SystemClock{}.now().boot_id == id ? 0 : 1; });
    CHECK(child.wait() == Ending{.code = 0});
}

TEST_CASE("T7: two processes that are copies of each other draw different numbers") {
    os::SystemRandom random;
    std::set<std::uint64_t> drawn;
    for (int i = 0; i < 1'000; ++i) {
        drawn.insert(random.next());
    }
    CHECK(drawn.size() == 1'000);

    auto child = ChildProcess::run([&](ParentLink& parent) {
        const std::uint64_t number = random.next();
        for (int byte = 0; byte < 8; ++byte) {
            parent.tell(static_cast<char>((number >> (8 * byte)) & 0xFF));
        }
        return 0;
    });
    const std::uint64_t ours = random.next();
    const std::string text = child.output();
    REQUIRE(text.size() == 8);
    std::uint64_t theirs = 0;
    for (std::size_t byte = 8; byte-- > 0;) {
        theirs = (theirs << 8) | static_cast<unsigned char>(text[byte]);
    }
    CHECK(ours != theirs);
}
