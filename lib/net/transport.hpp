#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "agentsight/options.hpp"
#include "core/exchange.hpp"
#include "core/time.hpp"
#include "core/url.hpp"

namespace agentsight::net {

struct TransportOptions {
    core::Url endpoint;
    Credential credential;
    bool allow_insecure = false;
    std::filesystem::path ca_file;
    std::size_t connections = 4;  ///< kept alive at most
    std::chrono::milliseconds request_timeout{30'000};
    std::chrono::milliseconds connect_timeout{10'000};
    std::size_t max_header_bytes = 8 * 1024;
    std::size_t max_body_bytes = 64 * 1024;
    std::string user_agent;  ///< "agentsight-outbox/VERSION"
};

/// Sends one request at a time per connection over keep-alive HTTP/1.1, plain or TLS.
/// Failures are values: every call ends in Evidence, within its deadlines, and never
/// throws for the network's sake. All calls on the io_context's one thread.
class Transport {
  public:
    Transport(boost::asio::io_context& context, TransportOptions options,
              const core::Clock& clock);
    ~Transport();

    /// Makes one idle connection ready (a proven idle one counts): name, TCP, TLS.
    boost::asio::awaitable<core::Evidence> connect();
    /// Exchanges `request`; on an idle connection that a peek proves alive, else a new one.
    boost::asio::awaitable<core::Evidence> send(core::HttpRequest request);

    void set_credential(Credential credential);
    /// Ends every exchange in progress with Failure::aborted and closes all connections.
    void abort();
    /// Closes idle connections: after a resume, or a change of network.
    void drop_idle();

  private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace agentsight::net
