#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/time.hpp"
#include "net/connection.hpp"
#include "net/watchdog.hpp"

namespace agentsight::net {

/// The idle connections, at most `most`; the freshest is used first. None is used, or kept,
/// longer than its allowance, by boot time, which goes on in a suspended machine.
class Pool {
  public:
    Pool(const core::Clock& clock, Watchdog& watchdog, std::size_t most);

    /// One that is young enough and has nothing waiting in it; null: none.
    std::unique_ptr<Connection> take();
    /// Closed instead where it may not lie idle at all, or there are enough.
    void give(std::unique_ptr<Connection> connection, std::int64_t allowance_ms);
    /// Closes what has lain too long; gives the time of the next.
    SteadyTime look(SteadyTime now);
    void clear() noexcept { idle_.clear(); }
    bool empty() const noexcept { return idle_.empty(); }

  private:
    const core::Clock& clock_;
    Watchdog& watchdog_;
    const std::size_t most_;
    std::vector<std::unique_ptr<Connection>> idle_;  ///< the freshest last
};

}  // namespace agentsight::net
