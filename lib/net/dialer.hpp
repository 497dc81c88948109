#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>

#include "core/exchange.hpp"
#include "core/time.hpp"
#include "net/connection.hpp"
#include "net/proxy.hpp"
#include "net/resolver.hpp"
#include "net/tls.hpp"
#include "net/transport.hpp"
#include "net/turns.hpp"

namespace agentsight::net {

/// Makes connections that are ready for a request to the endpoint: name, TCP, the proxy's
/// tunnel, TLS. Whatever fails becomes evidence; nothing of a request is written here.
class Dialer {
  public:
    /// `options` and `way` outlive the dialer.
    Dialer(boost::asio::io_context& context, const TransportOptions& options, const Way& way,
           const core::Clock& clock);

    /// Null with `evidence` filled where there is no connection. `only_loopback`: addresses
    /// of other machines are not connected to.
    boost::asio::awaitable<std::unique_ptr<Connection>> open(Turn& turn, core::Evidence& evidence,
                                                             bool only_loopback);

    core::UtcMs trusted_time() const noexcept { return tls_.trusted_time(); }
    void trust_time(core::UtcMs time) noexcept { tls_.trust_time(time); }

  private:
    using ConnectionPtr = std::unique_ptr<Connection>;
    using Endpoints = std::vector<boost::asio::ip::tcp::endpoint>;

    boost::asio::awaitable<Endpoints> look_up(Turn& turn, core::Evidence& evidence,
                                              bool only_loopback);
    boost::asio::awaitable<ConnectionPtr> reach(Endpoints endpoints, Turn& turn,
                                                core::Evidence& evidence);
    boost::asio::awaitable<bool> open_tunnel(Connection& connection, Turn& turn,
                                             core::Evidence& evidence);
    void judge_tunnel(Connection& connection, core::Evidence& evidence) const;
    boost::asio::awaitable<bool> start_tls(Connection& connection, Turn& turn,
                                           core::Evidence& evidence);

    /// Whose name is looked up: the endpoint, or the proxy.
    const core::Url& next_hop() const {
        return way_.kind == Way::Kind::direct ? options_.endpoint : way_.proxy;
    }

    boost::asio::io_context& context_;
    const TransportOptions& options_;
    const Way& way_;
    const std::string whom_;  ///< the endpoint, for messages
    Resolver resolver_;
    TlsClient tls_;
};

}  // namespace agentsight::net
