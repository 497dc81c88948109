#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "net/leash.hpp"

namespace agentsight::net {

/// A one-shot event that one coroutine waits for. Once open it stays open. One thread.
class Gate final : public Stoppable {
  public:
    explicit Gate(const boost::asio::any_io_executor& executor)
        : timer_(executor, boost::asio::steady_timer::time_point::max()) {}

    void open() noexcept {
        opened_ = true;
        timer_.cancel();
    }
    void stop() noexcept override { open(); }
    bool is_open() const noexcept { return opened_; }

    boost::asio::awaitable<void> wait() {
        boost::system::error_code cancelled;
        while (!opened_) {
            co_await timer_.async_wait(
                boost::asio::redirect_error(boost::asio::use_awaitable, cancelled));
        }
    }

  private:
    boost::asio::steady_timer timer_;
    bool opened_ = false;
};

}  // namespace agentsight::net
