#pragma once

#include <optional>

#include "core/random.hpp"
#include "core/time.hpp"

namespace agentsight::delivery {

/// How fast a background worker sends in the first minutes after a hold ended by itself,
/// so that a fleet that comes back together does not fall on the server together. Without
/// such a hold it says "at once" always, and no timer. Pure; times are the outbox's.
class Pacer {
  public:
    explicit Pacer(int connections) : connections_(connections) {}

    /// A link, throttle or outage hold ended though nobody asked for it.
    void hold_ended(bool throttled, core::OutboxMs now, core::Random& random);
    /// The server said again that it has too much.
    void throttled(core::OutboxMs now);
    /// Somebody waits: full speed from now on.
    void off();

    bool on(core::OutboxMs now) const { return now < paced_until_; }
    /// Until when the backlog waits: only what is fresher than `backlog_age_ms` may go.
    std::optional<core::OutboxMs> splayed_until(core::OutboxMs now) const;
    /// A server that has too much so soon after a hold has a herd before it, for which the
    /// first splay was too short: how long the rest of the first eight minutes is, for a
    /// second one. 0 where no link or outage came back lately.
    std::int64_t herd_ms(core::OutboxMs now) const;
    /// When the next request of the backlog may go; `now` or before: at once.
    core::OutboxMs next(core::OutboxMs now) const { return on(now) ? next_ : now; }
    void sent(core::OutboxMs now, core::Random& random);
    /// At first there is one request at a time, so that "too much" is heard once, not by
    /// each connection.
    bool one_at_a_time(core::OutboxMs now) const { return on(now) && delivered_ < proof; }
    void delivered() { ++delivered_; }

    static constexpr int proof = 5;  ///< deliveries
    static constexpr std::int64_t window_ms = 600'000;
    /// Earlier than the window ends: who draws the end may be told to wait once more.
    static constexpr std::int64_t herd_window_ms = 480'000;
    static constexpr std::int64_t splay_ms = 60'000;
    static constexpr std::int64_t backlog_age_ms = 5'000;

  private:
    int connections_;
    core::OutboxMs paced_until_ = 0;
    core::OutboxMs splayed_until_ = 0;
    core::OutboxMs herd_until_ = 0;
    core::OutboxMs throttled_until_ = 0;
    core::OutboxMs next_ = 0;
    int delivered_ = 0;  ///< since the hold ended
};

}  // namespace agentsight::delivery
