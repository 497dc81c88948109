#include "delivery/backoff.hpp"

#include <algorithm>

namespace agentsight::delivery {

namespace {

std::int64_t uniform(std::int64_t bound, core::Random& random) {
    return bound <= 0 ? 0
                      : static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(bound)));
}

}  // namespace

std::int64_t backoff_ceiling(const Backoff& backoff, int step) {
    std::int64_t ceiling = std::max<std::int64_t>(backoff.base_ms, 1);
    for (int doubled = 0; doubled < step && ceiling < backoff.cap_ms; ++doubled) {
        ceiling *= 2;
    }
    return std::min(ceiling, std::max<std::int64_t>(backoff.cap_ms, 1));
}

std::int64_t full_jitter(const Backoff& backoff, int step, core::Random& random) {
    return std::max(backoff_floor_ms, uniform(backoff_ceiling(backoff, step) + 1, random));
}

std::int64_t half_jitter(const Backoff& backoff, int step, core::Random& random) {
    const std::int64_t ceiling = backoff_ceiling(backoff, step);
    return std::max(backoff_floor_ms, ceiling / 2 + uniform(ceiling - ceiling / 2 + 1, random));
}

}  // namespace agentsight::delivery
