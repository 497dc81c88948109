#pragma once

#include "core/random.hpp"
#include "core/time.hpp"

namespace agentsight::os {

/// The machine's clocks. boot_id is a hash of the kernel's boot id. Any thread.
class SystemClock final : public core::Clock {
  public:
    SystemClock();
    core::Moment now() const override;

  private:
    std::uint64_t boot_id_;
};

/// getrandom(2): two clones with the same clock draw different numbers. Any thread.
class SystemRandom final : public core::Random {
  public:
    std::uint64_t next() override;
    void fill(std::span<std::uint64_t> words) override;
};

}  // namespace agentsight::os
