#include "certificates.hpp"

#include <boost/asio/ssl/context.hpp>
#include <stdexcept>

#include "net/tls.hpp"

namespace agentsight::test {

static_assert(release_time_s * 1'000 == net::release_time);

namespace {

void need(bool fine, const char* what) {
    if (!fine) {
        throw std::runtime_error(what);
    }
}

}  // namespace

boost::asio::ssl::context server_context(const ServerTls& tls) {
    boost::asio::ssl::context context{boost::asio::ssl::context::tls_server};
    SSL_CTX* const raw = context.native_handle();
    need(SSL_CTX_use_certificate(raw, tls.identity->certificate.get()) == 1, "certificate");
    need(SSL_CTX_use_PrivateKey(raw, tls.identity->key.get()) == 1, "key");
    if (tls.lowest != 0) {
        SSL_CTX_set_min_proto_version(raw, tls.lowest);
    }
    if (tls.highest != 0) {
        SSL_CTX_set_max_proto_version(raw, tls.highest);
        if (tls.highest < TLS1_2_VERSION) {
            SSL_CTX_set_security_level(raw, 0);  // the library would refuse to be that old
        }
    }
    if (tls.clients != nullptr) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(raw), tls.clients->certificate.get());
        SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
        X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(raw),
                                   static_cast<std::time_t>(net::release_time / 1'000 + 86'400));
    }
    // Tickets are sealed with one key, so that a context made for each connection resumes.
    static unsigned char ticket_keys[80] = "the same for every context of this test program";
    SSL_CTX_set_tlsext_ticket_keys(raw, ticket_keys, sizeof ticket_keys);
    static const unsigned char session_context[] = "test";
    SSL_CTX_set_session_id_context(raw, session_context, sizeof session_context);
    return context;
}

}  // namespace agentsight::test
