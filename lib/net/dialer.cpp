#include "net/dialer.hpp"

#include <utility>

#include "core/text.hpp"
#include "net/race.hpp"
#include "net/wording.hpp"

namespace agentsight::net {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using core::Evidence;
using core::Failure;

namespace {

TlsOptions tls_options(const TransportOptions& options) {
    TlsOptions result;
    result.trust = TrustSources::of_system(options.ca_file);
    result.client_certificate = options.client_certificate;
    result.client_key = options.client_key;
    result.host = options.endpoint.host;
    return result;
}

}  // namespace

Dialer::Dialer(asio::io_context& context, const TransportOptions& options, const Way& way,
               const core::Clock& clock)
    : context_(context),
      options_(options),
      way_(way),
      whom_(authority(options.endpoint)),
      resolver_(context, options.resolve),
      tls_(tls_options(options), clock) {}

asio::awaitable<Dialer::ConnectionPtr> Dialer::open(Turn& turn, Evidence& evidence,
                                                    bool only_loopback) {
    if (options_.endpoint.tls) {
        if (TlsProblem problem = tls_.prepare(); problem.failure != Failure::none) {
            fail(evidence, problem.failure, std::move(problem.detail));
            co_return nullptr;
        }
    }
    Endpoints endpoints = co_await look_up(turn, evidence, only_loopback);
    if (endpoints.empty()) {
        co_return nullptr;
    }
    ConnectionPtr connection = co_await reach(std::move(endpoints), turn, evidence);
    if (!connection) {
        co_return nullptr;
    }
    const Tie tie{turn.leash, *connection};
    if (way_.kind == Way::Kind::tunnel) {
        const bool through = co_await open_tunnel(*connection, turn, evidence);
        if (!through) {
            co_return nullptr;
        }
    }
    if (options_.endpoint.tls) {
        const bool secured = co_await start_tls(*connection, turn, evidence);
        if (!secured) {
            co_return nullptr;
        }
    }
    co_return connection;
}

asio::awaitable<Dialer::Endpoints> Dialer::look_up(Turn& turn, Evidence& evidence,
                                                   bool only_loopback) {
    turn.stage = "looking up the name";
    const std::string& host = next_hop().host;
    const Addresses addresses = co_await resolver_.resolve(host, turn.leash);
    Endpoints endpoints;
    if (turn.leash.pulled()) {
        turn.explain(evidence, whom_);
        co_return endpoints;
    }
    if (addresses.error) {
        fail(evidence, Failure::resolve,
             core::joined({"no address for ", host, ": ", in_words(addresses.error)}));
        co_return endpoints;
    }
    for (const auto& address : addresses.list) {
        if (!only_loopback || address.is_loopback()) {
            endpoints.emplace_back(address, next_hop().port);
        }
    }
    if (endpoints.empty()) {
        fail(evidence, Failure::tls,
             core::joined(
                 {"refusing to send a credential without TLS: ", host, " is not this machine"}));
    }
    co_return endpoints;
}

asio::awaitable<Dialer::ConnectionPtr> Dialer::reach(Endpoints endpoints, Turn& turn,
                                                     Evidence& evidence) {
    turn.stage = "connecting";
    const std::size_t tried = endpoints.size();
    Race::Result result =
        co_await Race::run(context_.get_executor(), std::move(endpoints), turn.leash);
    if (turn.leash.pulled()) {
        turn.explain(evidence, whom_);
        co_return nullptr;
    }
    if (!result.socket) {
        fail(evidence, Failure::connect,
             "no connection to " + authority(next_hop()) + ": " + in_words(result.error) +
                 (tried > 1 ? " (" + std::to_string(tried) + " addresses)" : ""));
        co_return nullptr;
    }
    const ResponseLimits limits{options_.max_header_bytes, options_.max_body_bytes};
    co_return std::make_unique<Connection>(std::move(*result.socket), limits, options_.least_rate);
}

asio::awaitable<bool> Dialer::open_tunnel(Connection& connection, Turn& turn, Evidence& evidence) {
    turn.stage = "waiting for the proxy";
    const std::string credential = proxy_authorization(way_.proxy);
    RequestHead head;
    head.method = "CONNECT";
    head.target = whom_;
    head.host = whom_;
    head.user_agent = options_.user_agent;
    head.proxy_authorization = credential;
    serialize(head, connection.request);
    connection.reader.start(ResponseReader::Kind::connect);
    bool handed_over = false;
    error_code error = co_await connection.write(connection.request.text(), handed_over);
    if (!error) {
        error = co_await connection.read();
    }
    connection.request = {};
    if (turn.leash.pulled()) {
        turn.explain(evidence, whom_);
    } else if (error) {
        fail(evidence, Failure::proxy,
             core::joined({"the proxy ", authority(way_.proxy),
                           " closed the connection: ", in_words(error)}));
    } else {
        judge_tunnel(connection, evidence);
    }
    co_return evidence.failure == Failure::none;
}

void Dialer::judge_tunnel(Connection& connection, Evidence& evidence) const {
    const std::string proxy = "the proxy " + authority(way_.proxy);
    ResponseReader& reader = connection.reader;
    if (reader.failure() != Failure::none) {
        return fail(evidence, Failure::proxy,
                    core::joined({proxy, " cannot be understood: ", reader.detail()}));
    }
    const int status = reader.take().status;
    if (status == 407) {
        fail(evidence, Failure::proxy_auth,
             proxy + (proxy_authorization(way_.proxy).empty()
                          ? " wants a user name and password (407)"
                          : " refuses the user name and password (407)"));
    } else if (status / 100 != 2) {
        fail(evidence, Failure::proxy,
             core::joined(
                 {proxy, " refuses to connect to ", whom_, " (", std::to_string(status), ")"}));
    } else if (reader.leftover()) {
        // TLS servers do not speak first: this is no tunnel.
        fail(evidence, Failure::proxy, proxy + " sent more than its answer");
    }
}

asio::awaitable<bool> Dialer::start_tls(Connection& connection, Turn& turn, Evidence& evidence) {
    turn.stage = "the TLS handshake";
    // Again: another connection's refused certificate may have unloaded the authorities since.
    TlsProblem problem = tls_.prepare();
    if (problem.failure == Failure::none) {
        problem = co_await connection.start_tls(tls_);
    }
    if (turn.leash.pulled()) {
        turn.explain(evidence, whom_);
    } else if (problem.failure != Failure::none) {
        fail(evidence, problem.failure, std::move(problem.detail));
    }
    co_return evidence.failure == Failure::none;
}

}  // namespace agentsight::net
