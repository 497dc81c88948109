#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "net/http_codec.hpp"
#include "net/leash.hpp"
#include "net/tls.hpp"
#include "net/transport.hpp"

namespace agentsight::net {

/// One connection to the endpoint or to a proxy: the socket, TLS over it where there is any,
/// and what of a response has been read. Stopping it closes the socket, which ends whatever
/// waits on it.
class Connection final : public Stoppable {
  public:
    Connection(boost::asio::ip::tcp::socket socket, ResponseLimits limits, LeastRate least_rate);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    void stop() noexcept override;

    boost::asio::awaitable<TlsProblem> start_tls(TlsClient& client);

    /// The peer has sent nothing and has not closed, as far as this machine knows.
    bool proven_idle();

    /// Writes all of `bytes`. `handed_over` becomes true before the kernel can have got any of
    /// them, never otherwise: it stays false where a write failed with nothing accepted.
    boost::asio::awaitable<boost::system::error_code> write(std::string_view bytes,
                                                            bool& handed_over);
    /// Reads until the reader is no longer `more`; an error where the connection ended first,
    /// timed_out and too_slow() where the answer fell behind the least rate.
    boost::asio::awaitable<boost::system::error_code> read();

    bool too_slow() const noexcept { return too_slow_; }

    TlsStream* tls() noexcept { return tls_.get(); }

    ResponseReader reader;
    core::SecretText request;        ///< its bytes, kept for the memory
    std::int64_t idle_until_ms = 0;  ///< boot time; not used again from then on

  private:
    bool keeps_up(std::chrono::steady_clock::time_point began, std::size_t bytes) const;

    const LeastRate least_rate_;
    bool too_slow_ = false;
    boost::asio::ip::tcp::socket socket_;
    std::unique_ptr<TlsStream> tls_;
};

}  // namespace agentsight::net
