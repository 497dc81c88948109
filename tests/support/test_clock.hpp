#pragma once

#include <atomic>
#include <cstdint>

#include "core/time.hpp"

namespace agentsight::test {

/// Time stands still until a test moves it. Any thread.
class TestClock final : public core::Clock {
  public:
    /// 2024-01-15T10:40:00Z, one hour after the boot.
    static constexpr core::UtcMs start_utc_ms = 1'705'315'200'000;
    static constexpr std::int64_t start_boot_ms = 3'600'000;

    TestClock() = default;

    core::Moment now() const override {
        return {.utc_ms = utc_ms_.load(), .boot_ms = boot_ms_.load(), .boot_id = boot_id_.load()};
    }

    /// Time passes: both clocks go on.
    void advance(std::int64_t ms) {
        utc_ms_ += ms;
        boot_ms_ += ms;
    }
    /// The wall clock jumps; boot time does not.
    void set_utc(core::UtcMs utc_ms) { utc_ms_ = utc_ms; }
    void jump_utc(std::int64_t ms) { utc_ms_ += ms; }
    /// The machine restarts: another boot, whose time begins anew. `off_ms` it was off.
    void reboot(std::int64_t off_ms = 0, std::int64_t boot_ms = 10'000) {
        utc_ms_ += off_ms;
        boot_ms_ = boot_ms;
        ++boot_id_;
    }

  private:
    std::atomic<core::UtcMs> utc_ms_{start_utc_ms};
    std::atomic<std::int64_t> boot_ms_{start_boot_ms};
    std::atomic<std::uint64_t> boot_id_{1};
};

}  // namespace agentsight::test
