#include "net/pool.hpp"

#include <algorithm>
#include <utility>

namespace agentsight::net {

using std::chrono::milliseconds;

namespace {

/// A request's memory is kept for the next one up to this; metadata may be larger.
constexpr std::size_t most_kept_bytes = 64 * 1024;

}  // namespace

Pool::Pool(const core::Clock& clock, Watchdog& watchdog, std::size_t most)
    : clock_(clock), watchdog_(watchdog), most_(most) {}

std::unique_ptr<Connection> Pool::take() {
    const std::int64_t now = idle_.empty() ? 0 : clock_.now().boot_ms;
    while (!idle_.empty()) {
        std::unique_ptr<Connection> connection = std::move(idle_.back());
        idle_.pop_back();
        if (now < connection->idle_until_ms && connection->proven_idle()) {
            return connection;
        }
    }
    return nullptr;
}

void Pool::give(std::unique_ptr<Connection> connection, std::int64_t allowance_ms) {
    if (allowance_ms <= 0 || idle_.size() >= most_) {
        return;
    }
    if (connection->request.text().capacity() > most_kept_bytes) {
        connection->request = {};
    }
    connection->idle_until_ms = clock_.now().boot_ms + allowance_ms;
    idle_.push_back(std::move(connection));
    watchdog_.watch(std::chrono::steady_clock::now() + milliseconds{allowance_ms});
}

SteadyTime Pool::look(SteadyTime now) {
    const std::int64_t boot_now = clock_.now().boot_ms;
    std::erase_if(idle_,
                  [boot_now](const auto& entry) { return entry->idle_until_ms <= boot_now; });
    SteadyTime next = SteadyTime::max();
    for (const auto& connection : idle_) {
        next = std::min(next, now + milliseconds{connection->idle_until_ms - boot_now});
    }
    return next;
}

}  // namespace agentsight::net
