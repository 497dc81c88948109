#include "os/boot_timer.hpp"

#include <doctest/doctest.h>
#include <poll.h>

#include <fstream>
#include <sstream>
#include <string>

using namespace agentsight;
using namespace std::chrono_literals;

namespace {

bool rings(const os::BootTimer& timer, std::chrono::milliseconds within) {
    pollfd entry{.fd = timer.descriptor(), .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, static_cast<int>(within.count())) == 1;
}

}  // namespace

TEST_CASE("H34: the boot timer rings once, and not when it was stopped") {
    os::BootTimer timer;
    REQUIRE(timer.descriptor() >= 0);
    CHECK_FALSE(rings(timer, 0ms));
    CHECK(timer.set(0ms));
    CHECK(rings(timer, 20s));
    timer.silence();
    CHECK_FALSE(rings(timer, 0ms));
    CHECK(timer.set(1ms));
    CHECK(rings(timer, 20s));
    timer.stop();
    CHECK_FALSE(rings(timer, 0ms));
    CHECK(timer.set(1h));
    CHECK_FALSE(rings(timer, 0ms));
}

TEST_CASE("H34: the boot timer goes by the clock that goes on while the machine sleeps") {
    const os::BootTimer timer;
    std::ifstream file{"/proc/self/fdinfo/" + std::to_string(timer.descriptor())};
    std::stringstream text;
    text << file.rdbuf();
    CHECK(text.str().find("clockid: " + std::to_string(CLOCK_BOOTTIME) + '\n') !=
          std::string::npos);
}
