#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agentsight/options.hpp"
#include "core/exchange.hpp"
#include "core/time.hpp"
#include "core/url.hpp"

namespace agentsight::net {

/// A name's addresses; may block as long as it likes: it runs on a thread of its own, from
/// several at a time, and is abandoned where nobody waits any more.
using ResolveFunction = std::function<std::vector<boost::asio::ip::address>(
    const std::string& host, boost::system::error_code& error)>;

/// What an answer has to keep up from its first byte on, once `after` has passed: a server that
/// drips would otherwise hold a connection for as long as the request may take.
struct LeastRate {
    std::chrono::milliseconds after{10'000};
    std::int64_t bytes_a_second = 64;
};

struct TransportOptions {
    core::Url endpoint;
    Credential credential;
    bool allow_insecure = false;
    std::filesystem::path ca_file;
    std::filesystem::path client_certificate;  ///< PEM, chain included; empty: none
    std::filesystem::path client_key;          ///< PEM; empty: in the certificate's file
    /// "http://[user:password@]host[:port]", or "direct". Empty: HTTPS_PROXY, HTTP_PROXY,
    /// ALL_PROXY and NO_PROXY, read once, here. See net/proxy.hpp.
    std::string proxy;
    std::size_t connections = 4;  ///< at most, in use and idle; further sends wait their turn
    std::chrono::milliseconds request_timeout{30'000};
    std::chrono::milliseconds connect_timeout{10'000};
    std::size_t max_header_bytes = 8 * 1024;
    std::size_t max_body_bytes = 64 * 1024;  ///< see HttpRequest::more_answer
    LeastRate least_rate;
    std::string user_agent;   ///< "agentsight-outbox/VERSION"
    ResolveFunction resolve;  ///< empty: the system's resolver
};

/// Sends one request at a time per connection over keep-alive HTTP/1.1, plain or TLS.
/// Failures are values: every call ends in Evidence, within its deadlines, and never
/// throws for the network's sake. All calls on the io_context's one thread, which may be
/// made with a concurrency hint of 1 but not BOOST_ASIO_CONCURRENCY_HINT_UNSAFE: the
/// resolver's threads post to it. Idle connections are closed after 4 s; until then one timer
/// is armed, and none otherwise.
///
/// The destructor aborts what is in progress and waits for nothing. Coroutines still
/// suspended end when the io_context runs on, or are destroyed with it. A hung name lookup
/// leaves its detached thread behind until getaddrinfo(3) returns: a plug-in that is unloaded
/// must be linked with -z nodelete.
class Transport {
  public:
    Transport(boost::asio::io_context& context, TransportOptions options, const core::Clock& clock);
    ~Transport();

    /// Makes one idle connection ready (a proven idle one counts): name, TCP, TLS.
    boost::asio::awaitable<core::Evidence> connect();
    /// Exchanges `request`; on an idle connection that a peek proves alive, else a new one. Not
    /// sent, and Failure::aborted, where its permit has been withdrawn once there is one.
    boost::asio::awaitable<core::Evidence> send(core::HttpRequest request);

    /// For requests sent from now on.
    void set_credential(Credential credential);
    /// The newest Date a server gave over verified TLS; 0: none yet.
    core::UtcMs trusted_time() const noexcept;
    /// One seen by an earlier transport: certificates are judged sanely by a device whose clock
    /// says 1970.
    void trust_time(core::UtcMs time) noexcept;
    /// Ends every exchange in progress with Failure::aborted and closes all connections.
    /// The transport remains usable.
    void abort();
    /// Closes idle connections: after a resume, or a change of network.
    void drop_idle();

  private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace agentsight::net
