#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "os/boot_timer.hpp"

namespace agentsight::os {

BootTimer::BootTimer() : timer_(::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)) {}

bool BootTimer::set(std::chrono::milliseconds wait) noexcept {
    const std::int64_t ms = std::max<std::int64_t>(wait.count(), 1);
    itimerspec when{};
    when.it_value.tv_sec = static_cast<time_t>(ms / 1'000);
    when.it_value.tv_nsec = static_cast<long>(ms % 1'000 * 1'000'000);
    is_set_ = timer_.valid() && ::timerfd_settime(timer_.value(), 0, &when, nullptr) == 0;
    return is_set_;
}

void BootTimer::stop() noexcept {
    if (is_set_) {
        is_set_ = false;
        const itimerspec never{};
        ::timerfd_settime(timer_.value(), 0, &never, nullptr);
    }
}

void BootTimer::silence() noexcept {
    std::uint64_t times = 0;
    if (timer_.valid() && ::read(timer_.value(), &times, sizeof times) > 0) {
        is_set_ = false;
    }
}

}  // namespace agentsight::os
