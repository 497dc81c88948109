#include "os/word.hpp"

#include <doctest/doctest.h>

#include <thread>

using namespace agentsight;

TEST_CASE("a word is waited for until it changes, and each change is seen") {
    os::Word ping;
    os::Word pong;
    constexpr int rounds = 2'000;
    std::thread other{[&] {
        for (int i = 0; i < rounds; ++i) {
            CHECK(ping.wait_while(i) == i + 1);
            pong.tell(i + 1);
        }
    }};
    for (int i = 0; i < rounds; ++i) {
        ping.tell(i + 1);
        CHECK(pong.wait_while(i) == i + 1);
    }
    other.join();
    CHECK(ping.load() == rounds);
    CHECK(ping.wait_while(0) == rounds);  // changed long ago: at once
}
