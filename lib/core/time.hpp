#pragma once

#include <cstdint>

namespace agentsight::core {

/// Milliseconds since 1970-01-01T00:00:00Z by some wall clock, ours or the server's.
using UtcMs = std::int64_t;

/// Milliseconds on the outbox's own axis: boot time (it runs on through suspend)
/// plus an offset kept in the file, so that it never jumps with the wall clock and
/// goes on where it stood after a reboot. Every stored due time is on this axis.
using OutboxMs = std::int64_t;

/// One look at the machine's clocks.
struct Moment {
    UtcMs utc_ms = 0;           ///< the wall clock: may be wrong, may jump
    std::int64_t boot_ms = 0;   ///< CLOCK_BOOTTIME: never jumps within one boot
    std::uint64_t boot_id = 0;  ///< names the boot
};

/// The seam between the library and time; production has os::SystemClock.
class Clock {
  public:
    virtual ~Clock() = default;
    virtual Moment now() const = 0;
};

}  // namespace agentsight::core
