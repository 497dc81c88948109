#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>

namespace agentsight::net {

using SteadyTime = std::chrono::steady_clock::time_point;

/// One timer for many deadlines: it is set only for one that comes before all others, and
/// looks at all of them when it fires. Under load that is once in a few seconds instead of
/// once a request. Armed only between watch() and the look that finds nothing more.
class Watchdog {
  public:
    /// Ends what has passed; gives the next deadline, SteadyTime::max() for none.
    using Look = std::function<SteadyTime(SteadyTime now)>;

    Watchdog(boost::asio::io_context& context, Look look);
    ~Watchdog();
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;

    void watch(SteadyTime at);
    /// Nothing is to be watched any more.
    void rest() noexcept;

  private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace agentsight::net
