#include "net/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstddef>
#include <new>
#include <optional>
#include <utility>

#include "core/text.hpp"
#include "net/certificate_verdict.hpp"
#include "net/tls_library.hpp"
#include "net/trust.hpp"

namespace agentsight::net {

namespace asio = boost::asio;
namespace ssl = boost::asio::ssl;
using asio::ip::tcp;
using boost::system::error_code;
using core::Failure;

namespace {

/// TLS 1.3 tickets are used once each, so a few are kept; servers send two a handshake.
constexpr std::size_t most_sessions = 8;

struct SessionDeleter {
    void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using Session = std::unique_ptr<SSL_SESSION, SessionDeleter>;

/// What Asio counts references to goes with its statics, at exit(); a worker that nobody closed
/// may still make a context then. One more reference, taken when the library is loaded and
/// never given back.
using AsioReference = ssl::detail::openssl_init<>;
alignas(AsioReference) std::byte kept_reference[sizeof(AsioReference)];
[[maybe_unused]] const bool is_kept = (new (kept_reference) AsioReference, true);

/// Indexes under which OpenSSL's objects point back to ours.
int context_index() {
    static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}
int stream_index() {
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}

TlsProblem tls_problem(std::string detail) {
    TlsProblem problem;
    problem.failure = Failure::tls;
    problem.detail = std::move(detail);
    return problem;
}

/// An alert of the peer's as OpenSSL reports it, RFC 8446 section 6; none for other errors.
std::optional<int> alert_of(const error_code& error) {
    if (error.category() != asio::error::get_ssl_category()) {
        return std::nullopt;
    }
    const int reason = ERR_GET_REASON(static_cast<unsigned long>(error.value()));
    if (reason <= SSL_AD_REASON_OFFSET || reason > SSL_AD_REASON_OFFSET + 255) {
        return std::nullopt;
    }
    return reason - SSL_AD_REASON_OFFSET;
}

/// Whether the peer objects to whom we are, rather than to how we speak.
bool is_about_our_certificate(const error_code& error) {
    switch (alert_of(error).value_or(0)) {
        case SSL_AD_HANDSHAKE_FAILURE:
        case SSL_AD_BAD_CERTIFICATE:
        case SSL_AD_UNSUPPORTED_CERTIFICATE:
        case SSL_AD_CERTIFICATE_REVOKED:
        case SSL_AD_CERTIFICATE_EXPIRED:
        case SSL_AD_CERTIFICATE_UNKNOWN:
        case SSL_AD_UNKNOWN_CA:
        case SSL_AD_ACCESS_DENIED:
        case SSL_AD_CERTIFICATE_REQUIRED:
            return true;
        default:
            return false;
    }
}

std::string text_of_handshake_error(const std::string& host, const error_code& error) {
    const bool by_library = error.category() == asio::error::get_ssl_category();
    const int reason = by_library ? ERR_GET_REASON(static_cast<unsigned long>(error.value())) : 0;
    if (alert_of(error) == SSL_AD_PROTOCOL_VERSION || reason == SSL_R_UNSUPPORTED_PROTOCOL) {
        return host + " does not speak TLS 1.2 or later";
    }
    if (reason == SSL_R_WRONG_VERSION_NUMBER) {
        return host + " does not speak TLS on this port";
    }
    if (error == asio::error::eof || error == ssl::error::stream_truncated) {
        return host + " closed the connection during the TLS handshake";
    }
    return core::joined(
        {"TLS handshake with ", host, " failed: ", core::printable(error.message(), 120)});
}

}  // namespace

/// OpenSSL's own clean-up at exit() runs while our thread may be inside it, and crashes
/// there; what it would free, the end of the process frees. Without effect where the
/// application has initialised OpenSSL before us: then its clean-up comes after our thread's.
void keep_tls_through_exit() noexcept {
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);
}

class TlsClient::Impl {
  public:
    Impl(TlsOptions given, const core::Clock& clock_in)
        : options(std::move(given)), clock(clock_in) {
        if (options.host.ends_with('.')) {
            options.host.pop_back();  // the root's dot is no part of a certificate's names
        }
        sessions.reserve(most_sessions);  // keep() runs inside OpenSSL and must not throw
    }

    TlsProblem load();

    core::UtcMs floor() const { return std::max(release_time, trusted_time); }
    core::UtcMs verification_time() const { return std::max(floor(), clock.now().utc_ms); }

    void keep(Session session) noexcept {
        if (sessions.size() == most_sessions) {
            sessions.erase(sessions.begin());
        }
        sessions.push_back(std::move(session));
    }
    Session take_session();

    TlsOptions options;
    const core::Clock& clock;
    core::UtcMs trusted_time = 0;
    std::optional<ssl::context> context;
    std::vector<Session> sessions;

  private:
    static int keep_session(SSL* connection, SSL_SESSION* session);
};

int TlsClient::Impl::keep_session(SSL* connection, SSL_SESSION* session) {
    auto* self =
        static_cast<Impl*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(connection), context_index()));
    self->keep(Session{session});
    return 1;  // the reference is ours now
}

/// A resumed handshake verifies nothing again, so a session ends with its certificate.
Session TlsClient::Impl::take_session() {
    const std::time_t now = static_cast<std::time_t>(verification_time() / 1'000);
    while (!sessions.empty()) {
        Session session = std::move(sessions.back());
        sessions.pop_back();
        std::time_t at = now;
        const X509* peer = SSL_SESSION_get0_peer(session.get());
        if (SSL_SESSION_is_resumable(session.get()) == 1 && peer != nullptr &&
            X509_cmp_time(X509_get0_notAfter(peer), &at) > 0) {
            return session;
        }
    }
    return {};
}

TlsProblem TlsClient::Impl::load() {
    keep_tls_through_exit();
    ssl::context fresh{ssl::context::tls_client};
    SSL_CTX* const raw = fresh.native_handle();
    // tls_client alone would allow 1.0. No renegotiation: the peer proves itself once.
    // Compression is off since CRIME; 0-RTT data is only ever sent by SSL_write_early_data.
    SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(raw, 0);
    SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(raw, keep_session);
    SSL_CTX_set_ex_data(raw, context_index(), this);
    if (std::string wrong = load_authorities(raw, options.trust); !wrong.empty()) {
        return tls_problem(std::move(wrong));
    }
    if (!options.client_certificate.empty()) {
        const auto& key =
            options.client_key.empty() ? options.client_certificate : options.client_key;
        const bool loaded =
            SSL_CTX_use_certificate_chain_file(raw, options.client_certificate.c_str()) == 1 &&
            SSL_CTX_use_PrivateKey_file(raw, key.c_str(), SSL_FILETYPE_PEM) == 1 &&
            SSL_CTX_check_private_key(raw) == 1;
        ERR_clear_error();
        if (!loaded) {
            return tls_problem("the client certificate " +
                               core::printable(options.client_certificate.string(), 200) +
                               " and its key are not readable PEM that belongs together");
        }
    }
    context.emplace(std::move(fresh));
    return {};
}

namespace {

class Stream final : public TlsStream {
  public:
    Stream(TlsClient::Impl& client, tcp::socket& socket);

    asio::awaitable<TlsProblem> handshake() override;
    asio::awaitable<std::size_t> read_some(asio::mutable_buffer buffer, error_code& error) override;
    asio::awaitable<std::size_t> write_some(asio::const_buffer buffer, error_code& error) override;
    bool quiet() override;
    void farewell() noexcept override;
    bool refused_us(const error_code& error) const override;
    std::string refusal(const error_code& error) const override;
    void trust_time(core::UtcMs time) override;

  private:
    static int judge(int accepted, X509_STORE_CTX* store);
    static int note_request(SSL*, void* self);
    bool name_host(SSL* raw) const;

    TlsClient::Impl& client_;
    ssl::stream<tcp::socket&> stream_;
    bool host_named_ = false;
    CertificateVerdict verdict_;
    bool certificate_asked_ = false;
    bool anything_read_ = false;
};

Stream::Stream(TlsClient::Impl& client, tcp::socket& socket)
    : client_(client), stream_(socket, *client.context) {
    SSL* const raw = stream_.native_handle();
    SSL_set_ex_data(raw, stream_index(), this);
    SSL_set_verify(raw, SSL_VERIFY_PEER, judge);
    SSL_set_cert_cb(raw, note_request, this);
    host_named_ = name_host(raw);
    X509_VERIFY_PARAM_set_time(SSL_get0_param(raw),
                               static_cast<std::time_t>(client_.verification_time() / 1'000));
    if (const Session session = client_.take_session()) {
        SSL_set_session(raw, session.get());
        if (SSL_SESSION_get_protocol_version(session.get()) < TLS1_3_VERSION) {
            SSL_SESSION_up_ref(session.get());
            client_.keep(Session{session.get()});  // good for any number of connections
        }
    }
}

/// False where OpenSSL cannot be told whom the certificate must name: it would take any.
bool Stream::name_host(SSL* raw) const {
    const std::string& host = client_.options.host;
    X509_VERIFY_PARAM* const param = SSL_get0_param(raw);
    // RFC 6125, section 6.4.4: only the alternative names count, not the common name.
    X509_VERIFY_PARAM_set_hostflags(
        param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    error_code not_an_address;
    const auto address = asio::ip::make_address(host, not_an_address);
    if (!not_an_address) {  // RFC 6066, section 3: no address in the server name
        return X509_VERIFY_PARAM_set1_ip_asc(param, address.to_string().c_str()) == 1;
    }
    // No name at all would be set with success, and then be matched by every certificate.
    return !host.empty() && X509_VERIFY_PARAM_set1_host(param, host.data(), host.size()) == 1 &&
           // The macro SSL_set_tlsext_host_name, without its C cast.
           SSL_ctrl(raw, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                    const_cast<char*>(host.c_str())) == 1;
}

int Stream::judge(int accepted, X509_STORE_CTX* store) {
    if (accepted == 1) {
        return 1;
    }
    const auto* raw =
        static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    try {
        static_cast<Stream*>(SSL_get_ex_data(raw, stream_index()))->verdict_.note(store);
    } catch (...) {
        // Out of memory: refused without words.
    }
    return 0;
}

int Stream::note_request(SSL*, void* self) {
    static_cast<Stream*>(self)->certificate_asked_ = true;
    return 1;
}

asio::awaitable<TlsProblem> Stream::handshake() {
    if (!host_named_) {
        ERR_clear_error();
        co_return tls_problem("no certificate could be checked for the name " +
                              core::printable(client_.options.host, 120));
    }
    error_code error;
    co_await stream_.async_handshake(ssl::stream_base::client,
                                     asio::redirect_error(asio::use_awaitable, error));
    TlsProblem problem;
    if (!error) {
        co_return problem;
    }
    const std::string& host = client_.options.host;
    if (verdict_.code != X509_V_OK) {
        const core::UtcMs now = client_.clock.now().utc_ms;
        problem = verdict_.problem(host, now, now < client_.floor());
        // The next attempt reads the authorities again: a package may have brought new ones.
        client_.context.reset();
        co_return problem;
    }
    problem.failure = Failure::tls;
    problem.detail = certificate_asked_ && is_about_our_certificate(error)
                         ? refusal(error)
                         : text_of_handshake_error(host, error);
    co_return problem;
}

asio::awaitable<std::size_t> Stream::read_some(asio::mutable_buffer buffer, error_code& error) {
    const std::size_t size =
        co_await stream_.async_read_some(buffer, asio::redirect_error(asio::use_awaitable, error));
    anything_read_ = anything_read_ || size > 0;
    co_return size;
}

asio::awaitable<std::size_t> Stream::write_some(asio::const_buffer buffer, error_code& error) {
    co_return co_await stream_.async_write_some(buffer,
                                                asio::redirect_error(asio::use_awaitable, error));
}

bool Stream::quiet() {
    // Not a peek at the socket: TLS 1.3 session tickets may wait there, and are welcome.
    char byte = 0;
    error_code error;
    stream_.read_some(asio::buffer(&byte, 1), error);
    return error == asio::error::would_block;
}

void Stream::farewell() noexcept {
    // Writes close_notify and does not wait for the answer: the socket is non-blocking.
    // (Also, OpenSSL would forget the session of a connection that ended without it.)
    try {
        error_code ignored;
        stream_.shutdown(ignored);
    } catch (...) {
        // Politeness only.
    }
}

bool Stream::refused_us(const error_code& error) const {
    SSL* const raw = const_cast<Stream*>(this)->stream_.native_handle();
    if (!certificate_asked_ || anything_read_ || SSL_version(raw) < TLS1_3_VERSION) {
        return false;
    }
    return is_about_our_certificate(error);
}

std::string Stream::refusal(const error_code& error) const {
    return client_.options.host +
           " refuses this device's client certificate, or the lack of one: " +
           core::printable(error.message(), 120);
}

void Stream::trust_time(core::UtcMs time) {
    const X509* const peer = SSL_get0_peer_certificate(stream_.native_handle());
    std::time_t at = static_cast<std::time_t>(time / 1'000);
    if (time > client_.trusted_time && peer != nullptr &&
        X509_cmp_time(X509_get0_notAfter(peer), &at) > 0) {
        client_.trusted_time = time;
    }
}

}  // namespace

TlsClient::TlsClient(TlsOptions options, const core::Clock& clock)
    : impl_(std::make_unique<Impl>(std::move(options), clock)) {}

TlsClient::~TlsClient() = default;

TlsProblem TlsClient::prepare() {
    if (impl_->context) {
        return {};
    }
    try {
        return impl_->load();
    } catch (const boost::system::system_error& error) {
        return tls_problem("OpenSSL cannot be used: " + core::printable(error.what(), 120));
    }
}

std::unique_ptr<TlsStream> TlsClient::stream(tcp::socket& socket) {
    return std::make_unique<Stream>(*impl_, socket);
}

core::UtcMs TlsClient::trusted_time() const noexcept {
    return impl_->trusted_time;
}

void TlsClient::trust_time(core::UtcMs time) noexcept {
    impl_->trusted_time = std::max(impl_->trusted_time, time);
}

}  // namespace agentsight::net
