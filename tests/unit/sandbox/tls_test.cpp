#include <doctest/doctest.h>
#include <openssl/ssl.h>

#include <filesystem>
#include <memory>

#include "raw_client.hpp"
#include "sandbox/server.hpp"
#include "support/self_signed.hpp"
#include "support/temporary_folder.hpp"

using namespace sandbox_test;
using agentsight::test::Owned;
using agentsight::test::TemporaryFolder;
using agentsight::test::write_identity;
using sandbox::Server;

namespace {

/// One request over TLS; what came back until the first silence or end.
std::string secure_exchange(std::uint16_t port, const std::string& sent) {
    RawClient client{port};
    const Owned<SSL_CTX, SSL_CTX_free> context{SSL_CTX_new(TLS_client_method())};
    const Owned<SSL, SSL_free> tls{SSL_new(context.get())};
    SSL_set_fd(tls.get(), client.descriptor());
    REQUIRE(SSL_connect(tls.get()) == 1);
    REQUIRE(SSL_write(tls.get(), sent.data(), static_cast<int>(sent.size())) > 0);
    std::string out;
    std::array<char, 4096> chunk{};
    while (out.find("}") == std::string::npos) {
        const int size = SSL_read(tls.get(), chunk.data(), chunk.size());
        if (size <= 0)
            break;
        out.append(chunk.data(), static_cast<std::size_t>(size));
    }
    return out;
}

}  // namespace

TEST_CASE("with a certificate the API speaks TLS, faults included") {
    const TemporaryFolder folder;
    const auto certificate = folder.path() / "certificate.pem";
    const auto key = folder.path() / "key.pem";
    write_identity(certificate, key);
    Server server{{.certificate = certificate, .private_key = key}};
    CHECK(server.url().starts_with("https://127.0.0.1:"));
    CHECK(secure_exchange(server.port(), create()).starts_with("HTTP/1.1 201 Created"));
    server.add_fault("drop_after");
    CHECK(secure_exchange(server.port(), create()).empty());
    CHECK(server.row_count() == 2);
    CHECK(server.errors().empty());
}

TEST_CASE("a client that speaks no TLS to a TLS port gets no answer") {
    const TemporaryFolder folder;
    const auto certificate = folder.path() / "certificate.pem";
    const auto key = folder.path() / "key.pem";
    write_identity(certificate, key);
    Server server{{.certificate = certificate, .private_key = key}};
    CHECK(exchange(server.port(), create()).status == 0);
    CHECK(server.requests().empty());
}

TEST_CASE("a certificate that cannot be read is an error at the start") {
    CHECK_THROWS((Server{{.certificate = "/nonexistent/certificate", .private_key = "/x"}}));
}
