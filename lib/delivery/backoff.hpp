#pragma once

#include <cstdint>

#include "core/random.hpp"

namespace agentsight::delivery {

/// Exponential backoff. Milliseconds.
struct Backoff {
    std::int64_t base_ms = 1'000;
    std::int64_t cap_ms = 300'000;
};

/// Of what will most likely fail again, and need not be known sooner.
constexpr Backoff rarely{.base_ms = 60'000, .cap_ms = 3'600'000};

/// Below this no wait is worth a timer, and a fleet that fails at once must not spin.
constexpr std::int64_t backoff_floor_ms = 250;

/// The upper end of the `step`-th wait: base, 2 base, 4 base ... cap. Any step is fine.
std::int64_t backoff_ceiling(const Backoff& backoff, int step);

/// Full jitter: uniform between 0 and the ceiling, not below the floor.
std::int64_t full_jitter(const Backoff& backoff, int step, core::Random& random);

/// For what is probed rarely: uniform in the upper half of the ceiling, so that rare stays
/// rare and devices that began together drift apart.
std::int64_t half_jitter(const Backoff& backoff, int step, core::Random& random);

}  // namespace agentsight::delivery
