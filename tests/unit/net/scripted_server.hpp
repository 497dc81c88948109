#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/exchange.hpp"
#include "core/url.hpp"
#include "net/transport.hpp"

namespace agentsight::test {

struct Identity;  // see certificates.hpp

/// How a scripted server speaks TLS.
struct ServerTls {
    const Identity* identity = nullptr;  ///< null: plain TCP
    int lowest = 0;                      ///< TLS1_VERSION ...; 0: the library's
    int highest = 0;
    const Identity* clients = nullptr;  ///< wants a client certificate signed by this one
};

/// One accepted connection, in the hands of a script. Nothing here throws for the network:
/// reads give what came, writes to a gone peer do nothing.
class Session {
  public:
    virtual ~Session() = default;
    /// The next request, head and body by its Content-Length; less where the peer ended first.
    virtual boost::asio::awaitable<std::string> request() = 0;
    /// Whatever comes next; empty at the peer's end.
    virtual boost::asio::awaitable<std::string> some() = 0;
    virtual boost::asio::awaitable<void> write(std::string bytes) = 0;
    /// Waits for the peer's end; what came before it.
    virtual boost::asio::awaitable<std::string> rest() = 0;
    /// Ends without a TLS close_notify; `close` says it first.
    virtual void cut() = 0;
    virtual boost::asio::awaitable<void> close() = 0;
    /// Ends with a TCP reset.
    virtual void reset() = 0;
    /// From now on TLS (a proxy that becomes the endpoint).
    virtual boost::asio::awaitable<bool> secure(ServerTls tls) = 0;
    virtual bool resumed() const = 0;  ///< the TLS session was an earlier one's
    virtual std::string server_name() const = 0;

    int index = 0;  ///< of the connection, from 0
};

/// Listens on an ephemeral loopback port and runs `script` on each connection, on the
/// context of the test. Handshakes come before the script; a failed one ends the connection.
class ScriptedServer {
  public:
    using Script = std::function<boost::asio::awaitable<void>(Session&)>;

    ScriptedServer(boost::asio::io_context& context, Script script, ServerTls tls = {},
                   const std::string& address = "127.0.0.1", std::uint16_t port = 0);
    ~ScriptedServer();

    std::uint16_t port() const;
    core::Url url(const std::string& host = "127.0.0.1") const;
    int accepted() const;
    /// All requests read by request(), in order.
    const std::vector<std::string>& requests() const;

  private:
    struct State;
    std::shared_ptr<State> state_;
};

/// Runs `context` until `work` is done, at most 30 s.
core::Evidence run(boost::asio::io_context& context, boost::asio::awaitable<core::Evidence> work);
/// The same for several at once, in their order.
std::vector<core::Evidence> run_all(boost::asio::io_context& context,
                                    std::vector<boost::asio::awaitable<core::Evidence>> work);
/// Runs `context` until `done` says so, at most 30 s.
bool run_until(boost::asio::io_context& context, const std::function<bool()>& done);

core::HttpRequest post(std::string body = R"({"sentiment":"positive"})");
core::HttpRequest get(std::string target = "/api/me/");

/// A response with a Content-Length.
std::string answer(int status, std::string_view body, std::string_view extra_fields = "");

net::TransportOptions options_for(const core::Url& endpoint);

}  // namespace agentsight::test
