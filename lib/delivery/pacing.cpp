#include "delivery/pacing.hpp"

#include <algorithm>

namespace agentsight::delivery {

namespace {

/// One record each two seconds on average while the server throttles.
constexpr std::int64_t throttled_gap_ms = 2'000;
/// Otherwise five a second on each connection.
constexpr std::int64_t gap_a_connection_ms = 200;

std::int64_t uniform(std::int64_t bound, core::Random& random) {
    return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(bound)));
}

}  // namespace

void Pacer::hold_ended(bool throttled, core::OutboxMs now, core::Random& random) {
    paced_until_ = now + window_ms;
    delivered_ = 0;
    if (throttled) {
        // The time told was spread already when the hold began.
        throttled_until_ = now + window_ms;
    } else {
        herd_until_ = now + herd_window_ms;
        // Where the splay is still running, a link that flaps must not begin it again and
        // again: the backlog would never go.
        if (splayed_until_ <= now) {
            splayed_until_ = now + uniform(splay_ms, random);
        }
    }
    next_ = std::max(next_, now);
}

void Pacer::throttled(core::OutboxMs now) {
    if (on(now)) {
        throttled_until_ = now + window_ms;
    }
}

void Pacer::off() {
    paced_until_ = 0;
    splayed_until_ = 0;
    herd_until_ = 0;
    throttled_until_ = 0;
    next_ = 0;
}

std::int64_t Pacer::herd_ms(core::OutboxMs now) const {
    return on(now) ? std::max<std::int64_t>(herd_until_ - now, 0) : 0;
}

std::optional<core::OutboxMs> Pacer::splayed_until(core::OutboxMs now) const {
    return on(now) && now < splayed_until_ ? std::optional{splayed_until_} : std::nullopt;
}

void Pacer::sent(core::OutboxMs now, core::Random& random) {
    if (!on(now)) {
        return;
    }
    const std::int64_t gap =
        now < throttled_until_
            ? throttled_gap_ms / 2 + uniform(throttled_gap_ms + 1, random)
            : std::max<std::int64_t>(gap_a_connection_ms / std::max(connections_, 1), 1);
    next_ = std::max(next_, now) + gap;
}

}  // namespace agentsight::delivery
