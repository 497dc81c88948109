#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <vector>

#include "core/exchange.hpp"
#include "net/gate.hpp"
#include "net/leash.hpp"
#include "net/watchdog.hpp"

namespace agentsight::net {

class Turn;

struct Timeouts {
    std::chrono::milliseconds connect;
    std::chrono::milliseconds request;
};

/// The calls in progress: how many may use a connection at a time, and what ends them.
class Turns {
  public:
    Turns(boost::asio::io_context& context, Watchdog& watchdog, std::size_t slots,
          Timeouts timeouts);

    /// Pulls the turns whose deadline has passed; gives the next deadline.
    SteadyTime look(SteadyTime now);
    void abort();
    /// From now on every turn is aborted at once.
    void shut() noexcept { shut_ = true; }
    bool empty() const noexcept { return turns_.empty(); }

  private:
    friend class Turn;
    struct Waiter;
    struct Place;

    void release_slot();

    boost::asio::io_context& context_;
    Watchdog& watchdog_;
    const Timeouts timeouts_;
    std::size_t free_slots_;
    bool shut_ = false;
    std::vector<Turn*> turns_;
    std::vector<Waiter*> waiting_;  ///< in the order they came
};

/// One call of send() or connect() while it lasts: its leash, its slot, and where it is.
class Turn {
  public:
    explicit Turn(Turns& all);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    /// A slot, if one is free now.
    bool try_slot() noexcept;
    /// Waits for one; without it the leash was pulled.
    boost::asio::awaitable<void> wait_for_slot();

    /// Until connected(), the shorter of the two deadlines holds.
    void connecting();
    void connected();

    /// What the pulled leash means, in words that name `whom`.
    void explain(core::Evidence& evidence, const std::string& whom) const;

    Leash leash;
    const char* stage = "waiting for a free connection";

  private:
    void limit(std::chrono::milliseconds timeout);

    Turns& all_;
    const SteadyTime began_;
    std::chrono::milliseconds timeout_{0};
    bool has_slot_ = false;
};

}  // namespace agentsight::net
