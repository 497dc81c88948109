#include "net/transport.hpp"

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <utility>

#include "core/credential.hpp"
#include "core/http_date.hpp"
#include "core/text.hpp"
#include "net/connection.hpp"
#include "net/gate.hpp"
#include "net/proxy.hpp"
#include "net/race.hpp"
#include "net/resolver.hpp"
#include "os/file.hpp"

namespace agentsight::net {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using core::Evidence;
using core::Failure;
using SteadyTime = std::chrono::steady_clock::time_point;

namespace {

/// Servers close idle connections after 5 s and more; a request that crosses the close is
/// lost without a trace, so a connection is not used when it was idle for longer than this.
constexpr std::int64_t most_idle_ms = 4'000;
/// A request's memory is kept for the next one up to this; metadata may be larger.
constexpr std::size_t most_kept_bytes = 64 * 1024;
constexpr std::size_t most_location_bytes = 500;

std::string in_words(std::chrono::milliseconds time) {
    const auto ms = time.count();
    return ms % 1'000 == 0 ? std::to_string(ms / 1'000) + " s" : std::to_string(ms) + " ms";
}

std::string in_words(const error_code& error) {
    return core::printable(error.message(), 120);
}

/// "host:port", an IPv6 address in brackets: RFC 9112, section 3.2.3.
std::string authority(const core::Url& url) {
    const bool v6 = url.host.find(':') != std::string::npos;
    return (v6 ? "[" + url.host + "]" : url.host) + ":" + std::to_string(url.port);
}

void fail(Evidence& evidence, Failure why, std::string detail) {
    evidence.failure = why;
    evidence.detail = std::move(detail);
}

/// For how long a connection may lie idle after this response.
std::int64_t idle_allowance_ms(const Response& response) {
    if (!response.idle_seconds) {
        return most_idle_ms;
    }
    return std::min<std::int64_t>((std::int64_t{*response.idle_seconds} - 1) * 1'000, most_idle_ms);
}

bool reads_as_loopback(const asio::ip::address& address) {
    return address.is_loopback();
}

}  // namespace

class Transport::Impl : public std::enable_shared_from_this<Impl> {
  public:
    Impl(asio::io_context& context, TransportOptions options, const core::Clock& clock);

    static asio::awaitable<Evidence> connect(std::shared_ptr<Impl> self);
    static asio::awaitable<Evidence> send(std::shared_ptr<Impl> self, core::HttpRequest request);

    void set_credential(const Credential& credential) {
        authorization_ = core::authorization(credential);
    }
    core::UtcMs trusted_time() const noexcept { return tls_.trusted_time(); }
    void abort();
    void drop_idle();
    void shut();

  private:
    /// One call of send() or connect() while it lasts: its leash, its slot, and where it is.
    struct Turn;
    struct Waiter {
        explicit Waiter(const asio::any_io_executor& executor) : gate(executor) {}
        Gate gate;
        bool granted = false;
    };
    using ConnectionPtr = std::unique_ptr<Connection>;

    bool may_send(Evidence& evidence) const;
    bool secret_would_leak() const;
    bool only_loopback() const;
    asio::awaitable<ConnectionPtr> acquire(Turn& turn, Evidence& evidence);
    asio::awaitable<void> wait_for_slot(Turn& turn);
    asio::awaitable<ConnectionPtr> open(Turn& turn, Evidence& evidence);
    asio::awaitable<ConnectionPtr> dial(Turn& turn, Evidence& evidence);
    asio::awaitable<bool> open_tunnel(Connection& connection, Turn& turn, Evidence& evidence);
    asio::awaitable<bool> start_tls(Connection& connection, Turn& turn, Evidence& evidence);
    asio::awaitable<void> exchange(ConnectionPtr& connection, const core::HttpRequest& request,
                                   Turn& turn, Evidence& evidence);

    bool write_request(const core::HttpRequest& request, std::string& out) const;
    void explain_pull(const Turn& turn, Evidence& evidence) const;
    void explain_loss(Connection& connection, const Turn& turn, const error_code& error,
                      Evidence& evidence) const;
    void conclude(ConnectionPtr connection, bool all_written, Evidence& evidence);

    ConnectionPtr take_idle();
    void give_back(ConnectionPtr connection, std::int64_t allowance_ms);
    void release_slot();
    void watch(SteadyTime at);
    void look();
    SteadyTime look_at_leashes(SteadyTime now);
    SteadyTime look_at_idle(SteadyTime now);
    void rest();

    const core::Url& dialled() const {
        return way_.kind == Way::Kind::direct ? options_.endpoint : way_.proxy;
    }

    asio::io_context& context_;
    const TransportOptions options_;
    const core::Clock& clock_;
    const Way way_;
    const std::string proxy_authorization_;
    const std::string host_header_;
    const std::string target_prefix_;
    std::string authorization_;
    Resolver resolver_;
    TlsClient tls_;

    std::size_t free_slots_;
    std::deque<Waiter*> waiting_;
    std::vector<Turn*> turns_;
    std::vector<ConnectionPtr> idle_;  ///< the freshest last
    /// One timer for all deadlines and idle connections: under load it is set once in four
    /// seconds instead of once a request.
    asio::steady_timer watchdog_;
    std::optional<SteadyTime> watching_;
    bool shut_ = false;
};

struct Transport::Impl::Turn {
    explicit Turn(Impl& transport)
        : transport_(transport), began_(std::chrono::steady_clock::now()) {
        transport_.turns_.push_back(this);
        if (transport_.shut_) {
            leash.pull(Failure::aborted);
        }
        limit(transport_.options_.request_timeout);
    }
    ~Turn() {
        std::erase(transport_.turns_, this);
        if (has_slot) {
            transport_.release_slot();
        }
        transport_.rest();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    /// Until connected(), the shorter of the two deadlines holds.
    void connecting() {
        const auto& options = transport_.options_;
        const auto spent = std::chrono::duration_cast<std::chrono::milliseconds>(
            std::chrono::steady_clock::now() - began_);
        limit(std::min(spent + options.connect_timeout, options.request_timeout));
    }
    void connected() { limit(transport_.options_.request_timeout); }
    std::chrono::milliseconds timeout() const { return timeout_; }

    Leash leash;
    const char* stage = "waiting for a free connection";
    bool has_slot = false;

  private:
    void limit(std::chrono::milliseconds timeout) {
        timeout_ = timeout;
        leash.deadline = began_ + timeout;
        transport_.watch(leash.deadline);
    }

    Impl& transport_;
    const SteadyTime began_;
    std::chrono::milliseconds timeout_{0};
};

Transport::Impl::Impl(asio::io_context& context, TransportOptions options, const core::Clock& clock)
    : context_(context),
      options_(std::move(options)),
      clock_(clock),
      way_(choose_way(options_.endpoint, options_.proxy, os::environment)),
      proxy_authorization_(proxy_authorization(way_.proxy)),
      host_header_(options_.endpoint.host_header()),
      target_prefix_((way_.kind == Way::Kind::forward ? options_.endpoint.origin() : "") +
                     options_.endpoint.path_prefix),
      authorization_(core::authorization(options_.credential)),
      resolver_(context, options_.resolve),
      tls_({.trust = TrustSources::of_system(options_.ca_file),
            .client_certificate = options_.client_certificate,
            .client_key = options_.client_key,
            .host = options_.endpoint.host,
            .trusted_time = options_.trusted_time},
           clock),
      free_slots_(std::max<std::size_t>(options_.connections, 1)),
      watchdog_(context) {}

// What may be sent, and where.

/// The API's key travels inside TLS, or never leaves the machine.
bool Transport::Impl::secret_would_leak() const {
    const bool stays_here = options_.endpoint.is_loopback() &&
                            (way_.kind == Way::Kind::direct || way_.proxy.is_loopback());
    return !authorization_.empty() && !options_.endpoint.tls && !options_.allow_insecure &&
           !stays_here;
}

/// "localhost" is believed to be this machine by its name; its addresses must agree.
bool Transport::Impl::only_loopback() const {
    return !authorization_.empty() && !options_.endpoint.tls && !options_.allow_insecure;
}

bool Transport::Impl::may_send(Evidence& evidence) const {
    if (!way_.problem.empty()) {
        fail(evidence, Failure::proxy, "the proxy cannot be used: " + way_.problem);
    } else if (secret_would_leak()) {
        fail(evidence, Failure::tls,
             "refusing to send a credential without TLS to " + authority(options_.endpoint) +
                 "; use https, or allow_insecure");
    }
    return evidence.failure == Failure::none;
}

bool Transport::Impl::write_request(const core::HttpRequest& request, std::string& out) const {
    const bool post = request.method == core::HttpRequest::Method::post;
    const std::string target = target_prefix_ + request.target;
    const bool forward = way_.kind == Way::Kind::forward;
    return serialize({.method = post ? "POST" : "GET",
                      .target = target,
                      .host = host_header_,
                      .user_agent = options_.user_agent,
                      .authorization = authorization_,
                      .proxy_authorization = forward ? proxy_authorization_ : std::string{},
                      .idempotency_key = request.idempotency_key,
                      .body = request.body},
                     out);
}

// Making a connection.

asio::awaitable<void> Transport::Impl::wait_for_slot(Turn& turn) {
    Waiter waiter{context_.get_executor()};
    const Tie tie{turn.leash, waiter.gate};
    waiting_.push_back(&waiter);
    co_await waiter.gate.wait();
    std::erase(waiting_, &waiter);
    turn.has_slot = waiter.granted;
}

asio::awaitable<Transport::Impl::ConnectionPtr> Transport::Impl::acquire(Turn& turn,
                                                                         Evidence& evidence) {
    if (free_slots_ > 0) {
        --free_slots_;
        turn.has_slot = true;
    } else {
        co_await wait_for_slot(turn);
    }
    if (turn.leash.pulled()) {
        explain_pull(turn, evidence);
        co_return nullptr;
    }
    ConnectionPtr connection = take_idle();
    if (!connection) {
        turn.connecting();
        connection = co_await open(turn, evidence);
        turn.connected();
    }
    co_return connection;
}

asio::awaitable<Transport::Impl::ConnectionPtr> Transport::Impl::open(Turn& turn,
                                                                      Evidence& evidence) {
    if (options_.endpoint.tls) {
        if (TlsProblem problem = tls_.prepare(); problem.failure != Failure::none) {
            fail(evidence, problem.failure, std::move(problem.detail));
            co_return nullptr;
        }
    }
    ConnectionPtr connection = co_await dial(turn, evidence);
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

asio::awaitable<Transport::Impl::ConnectionPtr> Transport::Impl::dial(Turn& turn,
                                                                      Evidence& evidence) {
    const core::Url& where = dialled();
    turn.stage = "looking up the name";
    Addresses addresses = co_await resolver_.resolve(where.host, turn.leash);
    if (turn.leash.pulled()) {
        explain_pull(turn, evidence);
        co_return nullptr;
    }
    if (addresses.error) {
        fail(evidence, Failure::resolve,
             "no address for " + where.host + ": " + in_words(addresses.error));
        co_return nullptr;
    }
    std::vector<tcp::endpoint> endpoints;
    for (const auto& address : addresses.list) {
        if (!only_loopback() || reads_as_loopback(address)) {
            endpoints.emplace_back(address, where.port);
        }
    }
    if (endpoints.empty()) {
        fail(evidence, Failure::tls,
             "refusing to send a credential without TLS: " + where.host + " is not this machine");
        co_return nullptr;
    }
    turn.stage = "connecting";
    const std::size_t tried = endpoints.size();
    Race::Result result =
        co_await Race::run(context_.get_executor(), std::move(endpoints), turn.leash);
    if (turn.leash.pulled()) {
        explain_pull(turn, evidence);
        co_return nullptr;
    }
    if (!result.socket) {
        fail(evidence, Failure::connect,
             "no connection to " + authority(where) + ": " + in_words(result.error) +
                 (tried > 1 ? " (" + std::to_string(tried) + " addresses)" : ""));
        co_return nullptr;
    }
    const ResponseLimits limits{options_.max_header_bytes, options_.max_body_bytes};
    co_return std::make_unique<Connection>(std::move(*result.socket), limits);
}

asio::awaitable<bool> Transport::Impl::open_tunnel(Connection& connection, Turn& turn,
                                                   Evidence& evidence) {
    turn.stage = "waiting for the proxy";
    const std::string where = authority(options_.endpoint);
    serialize({.method = "CONNECT",
               .target = where,
               .host = where,
               .user_agent = options_.user_agent,
               .proxy_authorization = proxy_authorization_},
              connection.request);
    connection.reader.start(ResponseReader::Kind::connect);
    bool handed_over = false;
    error_code error = co_await connection.write(connection.request, handed_over);
    if (!error) {
        error = co_await connection.read();
    }
    connection.request.clear();
    const std::string proxy = "the proxy " + authority(way_.proxy);
    if (turn.leash.pulled()) {
        explain_pull(turn, evidence);
    } else if (error) {
        fail(evidence, Failure::proxy, proxy + " closed the connection: " + in_words(error));
    } else if (connection.reader.failure() != Failure::none) {
        fail(evidence, Failure::proxy,
             proxy + " cannot be understood: " + connection.reader.detail());
    } else if (const int status = connection.reader.take().status; status == 407) {
        fail(evidence, Failure::proxy_auth,
             proxy + (proxy_authorization_.empty() ? " wants a user name and password (407)"
                                                   : " refuses the user name and password (407)"));
    } else if (status / 100 != 2) {
        fail(evidence, Failure::proxy,
             proxy + " refuses to connect to " + where + " (" + std::to_string(status) + ")");
    } else if (connection.reader.leftover()) {
        fail(evidence, Failure::proxy, proxy + " sent more than its answer");
    }
    co_return evidence.failure == Failure::none;
}

asio::awaitable<bool> Transport::Impl::start_tls(Connection& connection, Turn& turn,
                                                 Evidence& evidence) {
    turn.stage = "the TLS handshake";
    TlsProblem problem = co_await connection.start_tls(tls_);
    if (turn.leash.pulled()) {
        explain_pull(turn, evidence);
    } else if (problem.failure != Failure::none) {
        fail(evidence, problem.failure, std::move(problem.detail));
    }
    co_return evidence.failure == Failure::none;
}

asio::awaitable<Evidence> Transport::Impl::connect(std::shared_ptr<Impl> self) {
    Evidence evidence;
    evidence.began = self->clock_.now();
    Turn turn{*self};
    if (self->may_send(evidence)) {
        ConnectionPtr connection = co_await self->acquire(turn, evidence);
        if (connection) {
            const std::int64_t now = self->clock_.now().boot_ms;
            const std::int64_t left =
                connection->idle_until_ms > 0 ? connection->idle_until_ms - now : most_idle_ms;
            self->give_back(std::move(connection), left);
        }
    }
    evidence.ended = self->clock_.now();
    co_return evidence;
}

// Using it.

asio::awaitable<Evidence> Transport::Impl::send(std::shared_ptr<Impl> self,
                                                core::HttpRequest request) {
    Evidence evidence;
    evidence.began = self->clock_.now();
    Turn turn{*self};
    if (self->may_send(evidence)) {
        ConnectionPtr connection = co_await self->acquire(turn, evidence);
        if (connection) {
            co_await self->exchange(connection, request, turn, evidence);
        }
    }
    evidence.ended = self->clock_.now();
    co_return evidence;
}

asio::awaitable<void> Transport::Impl::exchange(ConnectionPtr& connection,
                                                const core::HttpRequest& request, Turn& turn,
                                                Evidence& evidence) {
    // Between the connecting and here no other coroutine ran, but the last one may have been
    // pulled while its handshake's success was on its way.
    if (turn.leash.pulled()) {
        explain_pull(turn, evidence);
        co_return;
    }
    if (!write_request(request, connection->request)) {
        fail(evidence, Failure::malformed, "refusing to send a line break or NUL in a header");
        co_return;
    }
    std::optional<Tie> tie;
    tie.emplace(turn.leash, *connection);
    connection->reader.start();
    evidence.began = clock_.now();
    turn.stage = "sending the request";
    const error_code unwritten =
        co_await connection->write(connection->request, evidence.request_written);
    if (!evidence.request_written || turn.leash.pulled()) {
        explain_loss(*connection, turn, unwritten, evidence);
        co_return;
    }
    // Also where the rest could not be written: a server that refuses a large body says why
    // before it closes.
    turn.stage = "waiting for the answer";
    const error_code unread = co_await connection->read();
    tie.reset();
    if (unread) {
        explain_loss(*connection, turn, unread, evidence);
    } else if (connection->reader.failure() != Failure::none) {
        fail(evidence, connection->reader.failure(), connection->reader.detail());
    } else {
        conclude(std::move(connection), !unwritten, evidence);
    }
}

void Transport::Impl::explain_pull(const Turn& turn, Evidence& evidence) const {
    const std::string stage{turn.stage};
    if (turn.leash.why() == Failure::timeout) {
        fail(evidence, Failure::timeout,
             "not done within " + in_words(turn.timeout()) + " (" + stage + ", " +
                 authority(options_.endpoint) + ")");
    } else {
        fail(evidence, turn.leash.why(), "stopped (" + stage + ")");
    }
}

void Transport::Impl::explain_loss(Connection& connection, const Turn& turn,
                                   const error_code& error, Evidence& evidence) const {
    if (turn.leash.pulled()) {
        return explain_pull(turn, evidence);
    }
    if (connection.tls() != nullptr && connection.tls()->refused_us(error)) {
        evidence.request_written = false;
        return fail(evidence, Failure::tls, connection.tls()->refusal(error));
    }
    fail(evidence, Failure::cut,
         "the connection to " + authority(options_.endpoint) +
             (evidence.request_written ? " ended before the answer was complete: "
                                       : " ended before the request was sent: ") +
             in_words(error));
}

void Transport::Impl::conclude(ConnectionPtr connection, bool all_written, Evidence& evidence) {
    Response response = connection->reader.take();
    const core::UtcMs now = clock_.now().utc_ms;
    evidence.status = response.status;
    evidence.json = response.json;
    evidence.retry_after = std::move(response.retry_after);
    evidence.date = core::parse_http_date(response.date, now);
    evidence.location = core::printable(response.location, most_location_bytes);
    evidence.body = std::move(response.body);
    if (connection->tls() != nullptr && evidence.date) {
        connection->tls()->trust_time(*evidence.date);
    }
    // Bytes that nobody asked for belong to no request of ours (RFC 9112, section 9.2).
    if (response.keep_alive && all_written && !connection->reader.leftover()) {
        give_back(std::move(connection), idle_allowance_ms(response));
    }
}

// Idle connections, slots, deadlines.

Transport::Impl::ConnectionPtr Transport::Impl::take_idle() {
    const std::int64_t now = idle_.empty() ? 0 : clock_.now().boot_ms;
    while (!idle_.empty()) {
        ConnectionPtr connection = std::move(idle_.back());
        idle_.pop_back();
        if (now < connection->idle_until_ms && connection->proven_idle()) {
            return connection;
        }
    }
    return nullptr;
}

void Transport::Impl::give_back(ConnectionPtr connection, std::int64_t allowance_ms) {
    if (shut_ || allowance_ms <= 0 || idle_.size() >= options_.connections) {
        return;
    }
    if (connection->request.capacity() > most_kept_bytes) {
        connection->request = {};
    }
    connection->idle_until_ms = clock_.now().boot_ms + allowance_ms;
    idle_.push_back(std::move(connection));
    watch(std::chrono::steady_clock::now() + std::chrono::milliseconds{allowance_ms});
}

void Transport::Impl::release_slot() {
    if (waiting_.empty()) {
        ++free_slots_;
        return;
    }
    Waiter* next = waiting_.front();
    waiting_.pop_front();
    next->granted = true;
    next->gate.open();
}

void Transport::Impl::watch(SteadyTime at) {
    if (shut_ || (watching_ && *watching_ <= at)) {
        return;
    }
    watching_ = at;
    watchdog_.expires_at(at);
    watchdog_.async_wait([weak = weak_from_this()](const error_code& cancelled) {
        if (const auto self = weak.lock(); self && !cancelled) {
            self->look();
        }
    });
}

void Transport::Impl::look() {
    watching_.reset();
    const SteadyTime now = std::chrono::steady_clock::now();
    const SteadyTime next = std::min(look_at_leashes(now), look_at_idle(now));
    if (next != SteadyTime::max()) {
        watch(next);
    }
}

SteadyTime Transport::Impl::look_at_leashes(SteadyTime now) {
    SteadyTime next = SteadyTime::max();
    for (Turn* turn : turns_) {
        if (turn->leash.deadline <= now) {
            turn->leash.pull(Failure::timeout);
        } else {
            next = std::min(next, turn->leash.deadline);
        }
    }
    return next;
}

SteadyTime Transport::Impl::look_at_idle(SteadyTime now) {
    const std::int64_t boot_now = clock_.now().boot_ms;
    std::erase_if(idle_, [boot_now](const ConnectionPtr& connection) {
        return connection->idle_until_ms <= boot_now;
    });
    SteadyTime next = SteadyTime::max();
    for (const ConnectionPtr& connection : idle_) {
        next =
            std::min(next, now + std::chrono::milliseconds{connection->idle_until_ms - boot_now});
    }
    return next;
}

/// Nothing is going on and nothing is kept: no timer either.
void Transport::Impl::rest() {
    if (turns_.empty() && idle_.empty() && watching_) {
        watching_.reset();
        watchdog_.cancel();
    }
}

void Transport::Impl::abort() {
    drop_idle();
    for (Turn* turn : turns_) {
        turn->leash.pull(Failure::aborted);
    }
}

void Transport::Impl::drop_idle() {
    idle_.clear();
    rest();
}

void Transport::Impl::shut() {
    shut_ = true;
    abort();
    watching_.reset();
    watchdog_.cancel();
}

Transport::Transport(asio::io_context& context, TransportOptions options, const core::Clock& clock)
    : impl_(std::make_shared<Impl>(context, std::move(options), clock)) {}

Transport::~Transport() {
    impl_->shut();
}

asio::awaitable<Evidence> Transport::connect() {
    return Impl::connect(impl_);
}

asio::awaitable<Evidence> Transport::send(core::HttpRequest request) {
    return Impl::send(impl_, std::move(request));
}

void Transport::set_credential(Credential credential) {
    impl_->set_credential(credential);
}

core::UtcMs Transport::trusted_time() const noexcept {
    return impl_->trusted_time();
}

void Transport::abort() {
    impl_->abort();
}

void Transport::drop_idle() {
    impl_->drop_idle();
}

}  // namespace agentsight::net
