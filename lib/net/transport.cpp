#include "net/transport.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/credential.hpp"
#include "core/http_date.hpp"
#include "core/text.hpp"
#include "net/connection.hpp"
#include "net/dialer.hpp"
#include "net/pool.hpp"
#include "net/proxy.hpp"
#include "net/turns.hpp"
#include "net/watchdog.hpp"
#include "net/wording.hpp"
#include "os/file.hpp"

namespace agentsight::net {

namespace asio = boost::asio;
using boost::system::error_code;
using core::Evidence;
using core::Failure;

namespace {

/// Servers close idle connections after 5 s and more; a request that crosses the close is
/// lost without a trace, so a connection is not used when it was idle for longer than this.
constexpr std::int64_t most_idle_ms = 4'000;
constexpr std::size_t most_location_bytes = 500;

/// For how long a connection may lie idle after this response.
std::int64_t idle_allowance_ms(const Response& response) {
    if (!response.idle_seconds) {
        return most_idle_ms;
    }
    return std::min<std::int64_t>((std::int64_t{*response.idle_seconds} - 1) * 1'000, most_idle_ms);
}

/// Timed out, misdirected, too early: what the connection is, not what was asked (RFC 9110,
/// sections 15.5.9 and 15.5.20; RFC 8470, section 5.2).
bool wants_new_connection(int status) {
    return status == 408 || status == 421 || status == 425;
}

}  // namespace

/// Kept by each coroutine as long as it is suspended, so the transport may go before them.
class Transport::Impl {
  public:
    Impl(asio::io_context& context, TransportOptions options, const core::Clock& clock);

    static asio::awaitable<Evidence> connect(std::shared_ptr<Impl> self);
    static asio::awaitable<Evidence> send(std::shared_ptr<Impl> self, core::HttpRequest request);

    void set_credential(const Credential& credential) {
        authorization_ = core::authorization(credential);
    }
    core::UtcMs trusted_time() const noexcept { return dialer_.trusted_time(); }
    void trust_time(core::UtcMs time) noexcept { dialer_.trust_time(time); }
    void abort();
    void drop_idle();
    void shut();

  private:
    using ConnectionPtr = std::unique_ptr<Connection>;
    /// Leaves no timer armed when the last call has ended and nothing is kept.
    struct AtRest;

    bool keeps_to_this_machine() const;
    bool may_send(Evidence& evidence) const;
    bool write_request(const core::HttpRequest& request, core::SecretText& out) const;

    asio::awaitable<ConnectionPtr> acquire(Turn& turn, Evidence& evidence);
    asio::awaitable<void> exchange(ConnectionPtr& connection, const core::HttpRequest& request,
                                   Turn& turn, Evidence& evidence);
    void explain_loss(Connection& connection, const Turn& turn, const error_code& error,
                      Evidence& evidence) const;
    void conclude(ConnectionPtr connection, bool all_written, Evidence& evidence);
    void blot_secrets(std::string& text, std::string_view authorization) const;
    void give_back(ConnectionPtr connection, std::int64_t allowance_ms);
    void give_back_unused(ConnectionPtr connection);
    void rest() noexcept;

    const TransportOptions options_;
    const core::Clock& clock_;
    const Way way_;
    const std::string whom_;  ///< the endpoint, for messages
    const std::string host_header_;
    const std::string target_prefix_;
    const std::string proxy_authorization_;  ///< of every request; empty but for `forward`
    core::SecretText authorization_;
    bool shut_ = false;

    Watchdog watchdog_;
    Turns turns_;
    Dialer dialer_;
    Pool pool_;
};

struct Transport::Impl::AtRest {
    explicit AtRest(Impl& transport) : transport_(transport) {}
    ~AtRest() { transport_.rest(); }
    AtRest(const AtRest&) = delete;
    AtRest& operator=(const AtRest&) = delete;

  private:
    Impl& transport_;
};

Transport::Impl::Impl(asio::io_context& context, TransportOptions options, const core::Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      way_(choose_way(options_.endpoint, options_.proxy, os::environment)),
      whom_(authority(options_.endpoint)),
      host_header_(options_.endpoint.host_header()),
      target_prefix_((way_.kind == Way::Kind::forward ? options_.endpoint.origin() : "") +
                     options_.endpoint.path_prefix),
      proxy_authorization_(way_.kind == Way::Kind::forward ? proxy_authorization(way_.proxy) : ""),
      authorization_(core::authorization(options_.credential)),
      watchdog_(context,
                [this](SteadyTime now) { return std::min(turns_.look(now), pool_.look(now)); }),
      turns_(context, watchdog_, options_.connections,
             Timeouts{options_.connect_timeout, options_.request_timeout}),
      dialer_(context, options_, way_, clock),
      pool_(clock, watchdog_, options_.connections) {}

// What may be sent, and where.

/// The API's key travels inside TLS, or never leaves this machine.
bool Transport::Impl::keeps_to_this_machine() const {
    return !authorization_.empty() && !options_.endpoint.tls && !options_.allow_insecure;
}

bool Transport::Impl::may_send(Evidence& evidence) const {
    const bool is_here = options_.endpoint.is_loopback() &&
                         (way_.kind == Way::Kind::direct || way_.proxy.is_loopback());
    if (!way_.problem.empty()) {
        fail(evidence, Failure::proxy, "the proxy cannot be used: " + way_.problem);
    } else if (keeps_to_this_machine() && !is_here) {
        fail(evidence, Failure::tls,
             core::joined({"refusing to send a credential without TLS to ", whom_,
                           "; use https, or allow_insecure"}));
    }
    return evidence.failure == Failure::none;
}

bool Transport::Impl::write_request(const core::HttpRequest& request, core::SecretText& out) const {
    const std::string target = target_prefix_ + request.target;
    RequestHead head;
    head.method = request.method == core::HttpRequest::Method::post ? "POST" : "GET";
    head.target = target;
    head.host = host_header_;
    head.user_agent = options_.user_agent;
    head.authorization = authorization_.text();
    head.proxy_authorization = proxy_authorization_;
    head.idempotency_key = request.idempotency_key;
    head.body = request.body;
    return serialize(head, out);
}

// The two calls.

asio::awaitable<Evidence> Transport::Impl::connect(std::shared_ptr<Impl> self) {
    Evidence evidence;
    evidence.began = self->clock_.now();
    const AtRest at_rest{*self};
    Turn turn{self->turns_};
    if (self->may_send(evidence)) {
        ConnectionPtr connection = co_await self->acquire(turn, evidence);
        if (connection) {
            self->give_back_unused(std::move(connection));
        }
    }
    evidence.ended = self->clock_.now();
    co_return evidence;
}

asio::awaitable<Evidence> Transport::Impl::send(std::shared_ptr<Impl> self,
                                                core::HttpRequest request) {
    Evidence evidence;
    evidence.began = self->clock_.now();
    const AtRest at_rest{*self};
    Turn turn{self->turns_};
    if (self->may_send(evidence)) {
        ConnectionPtr connection = co_await self->acquire(turn, evidence);
        if (connection) {
            co_await self->exchange(connection, request, turn, evidence);
        }
    }
    evidence.ended = self->clock_.now();
    co_return evidence;
}

asio::awaitable<Transport::Impl::ConnectionPtr> Transport::Impl::acquire(Turn& turn,
                                                                         Evidence& evidence) {
    if (!turn.try_slot()) {
        co_await turn.wait_for_slot();
    }
    if (turn.leash.pulled()) {
        turn.explain(evidence, whom_);
        co_return nullptr;
    }
    ConnectionPtr connection = pool_.take();
    if (!connection) {
        turn.connecting();
        connection = co_await dialer_.open(turn, evidence, keeps_to_this_machine());
        turn.connected();
    }
    co_return connection;
}

asio::awaitable<void> Transport::Impl::exchange(ConnectionPtr& connection,
                                                const core::HttpRequest& request, Turn& turn,
                                                Evidence& evidence) {
    std::optional<Tie> tie;
    tie.emplace(turn.leash, *connection);
    // The last step of connecting may have succeeded while the leash was pulled.
    if (turn.leash.pulled()) {
        turn.explain(evidence, whom_);
        co_return;
    }
    if (request.permit.is_withdrawn()) {
        tie.reset();
        give_back_unused(std::move(connection));
        fail(evidence, Failure::aborted, "withdrawn before it was sent");
        co_return;
    }
    const core::SecretText authorization = authorization_;  // of this request, whatever comes
    if (!write_request(request, connection->request)) {
        fail(evidence, Failure::malformed, "refusing to send a line break or NUL in a header");
        co_return;
    }
    connection->reader.start(ResponseReader::Kind::ordinary, request.more_answer);
    evidence.began = clock_.now();
    turn.stage = "sending the request";
    const error_code unwritten =
        co_await connection->write(connection->request.text(), evidence.request_written);
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
        const bool rows =
            request.method == core::HttpRequest::Method::get && evidence.status == 200;
        if (!rows) {  // they are compared with ours, letter by letter, and never shown
            blot_secrets(evidence.body, authorization.text());
        }
        blot_secrets(evidence.location, authorization.text());
    }
}

/// A server that repeats the key in its refusal does not bring it into a log or the outbox.
void Transport::Impl::blot_secrets(std::string& text, std::string_view authorization) const {
    for (const std::string_view header : {authorization, std::string_view{proxy_authorization_}}) {
        core::blot_out(text, header.substr(header.find(' ') + 1));
    }
}

void Transport::Impl::explain_loss(Connection& connection, const Turn& turn,
                                   const error_code& error, Evidence& evidence) const {
    if (turn.leash.pulled()) {
        return turn.explain(evidence, whom_);
    }
    if (connection.too_slow()) {
        return fail(
            evidence, Failure::timeout,
            core::joined({"the answer of ", whom_, " came slower than ",
                          std::to_string(options_.least_rate.bytes_a_second), " bytes a second"}));
    }
    if (connection.tls() != nullptr && connection.tls()->refused_us(error)) {
        evidence.request_written = false;
        return fail(evidence, Failure::tls, connection.tls()->refusal(error));
    }
    fail(evidence, Failure::cut,
         core::joined({"the connection to ", whom_,
                       evidence.request_written ? " ended before the answer was complete: "
                                                : " ended before the request was sent: ",
                       in_words(error)}));
}

void Transport::Impl::conclude(ConnectionPtr connection, bool all_written, Evidence& evidence) {
    Response response = connection->reader.take();
    evidence.status = response.status;
    evidence.json = response.json;
    evidence.retry_after = std::move(response.retry_after);
    evidence.date = core::parse_http_date(response.date, clock_.now().utc_ms);
    evidence.location = core::printable(response.location, most_location_bytes);
    evidence.body = std::move(response.body);
    if (connection->tls() != nullptr && evidence.date) {
        connection->tls()->trust_time(*evidence.date);
    }
    // Bytes that nobody asked for belong to no request of ours (RFC 9112, section 9.2).
    if (response.keep_alive && !wants_new_connection(response.status) && all_written &&
        !connection->reader.leftover()) {
        give_back(std::move(connection), idle_allowance_ms(response));
    }
}

void Transport::Impl::give_back(ConnectionPtr connection, std::int64_t allowance_ms) {
    if (!shut_) {
        pool_.give(std::move(connection), allowance_ms);
    }
}

/// To have been looked at does not make it younger.
void Transport::Impl::give_back_unused(ConnectionPtr connection) {
    const std::int64_t until = connection->idle_until_ms;
    give_back(std::move(connection), until > 0 ? until - clock_.now().boot_ms : most_idle_ms);
}

// Stopping.

void Transport::Impl::rest() noexcept {
    if (turns_.empty() && pool_.empty()) {
        watchdog_.rest();
    }
}

void Transport::Impl::abort() {
    drop_idle();
    turns_.abort();
}

void Transport::Impl::drop_idle() {
    pool_.clear();
    rest();
}

void Transport::Impl::shut() {
    shut_ = true;
    turns_.shut();
    abort();
    watchdog_.rest();
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

void Transport::trust_time(core::UtcMs time) noexcept {
    impl_->trust_time(time);
}

void Transport::abort() {
    impl_->abort();
}

void Transport::drop_idle() {
    impl_->drop_idle();
}

}  // namespace agentsight::net
