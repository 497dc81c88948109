#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "net/gate.hpp"

namespace agentsight::net {

/// Connects to the first of several addresses that answers (RFC 8305, section 5): the next
/// attempt starts when the previous one failed, or after 250 ms beside it, so that a
/// family whose packets vanish costs a quarter of a second, not a timeout.
class Race final : public Stoppable, public std::enable_shared_from_this<Race> {
  public:
    static constexpr std::chrono::milliseconds stagger{250};

    struct Result {
        boost::system::error_code error;
        std::optional<boost::asio::ip::tcp::socket> socket;  ///< of the winner, non-blocking
    };

    /// `endpoints` is not empty, and bounded by the caller.
    static boost::asio::awaitable<Result> run(boost::asio::any_io_executor executor,
                                              std::vector<boost::asio::ip::tcp::endpoint> endpoints,
                                              Leash& leash);

    Race(const boost::asio::any_io_executor& executor,
         std::vector<boost::asio::ip::tcp::endpoint> endpoints);

    void stop() noexcept override;

  private:
    void start_next() noexcept;
    void start_next_or_throw();
    void finished(std::size_t index, const boost::system::error_code& error);
    void close_all() noexcept;

    std::vector<boost::asio::ip::tcp::endpoint> endpoints_;
    std::vector<boost::asio::ip::tcp::socket> sockets_;  ///< one for each attempt started
    std::size_t failed_ = 0;
    std::optional<std::size_t> winner_;
    boost::system::error_code error_;
    boost::asio::steady_timer stagger_;
    Gate decided_;
};

}  // namespace agentsight::net
