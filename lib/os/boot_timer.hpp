#pragma once

#include <chrono>

#include "os/descriptor.hpp"

namespace agentsight::os {

/// A timer that goes on while the machine sleeps (Linux: timerfd, CLOCK_BOOTTIME), so that what
/// came due meanwhile is seen at the resume; the steady clock's timers stand still then. Its
/// descriptor becomes readable. It cannot wake the machine. One thread.
class BootTimer {
  public:
    BootTimer();

    /// -1 where there is none: then set() is false.
    int descriptor() const noexcept { return timer_.value(); }
    /// Once, so long from now, instead of what was set before; at least 1 ms.
    bool set(std::chrono::milliseconds wait) noexcept;
    void stop() noexcept;
    /// After it was readable.
    void silence() noexcept;

  private:
    Descriptor timer_;
    bool is_set_ = false;
};

}  // namespace agentsight::os
