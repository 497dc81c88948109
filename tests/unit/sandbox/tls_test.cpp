#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdio>
#include <filesystem>
#include <memory>

#include "raw_client.hpp"
#include "sandbox/server.hpp"
#include "support/temporary_folder.hpp"

using namespace sandbox_test;
using agentsight::test::TemporaryFolder;
using sandbox::Server;

namespace {

template <auto Free>
struct Freed {
    template <class Object>
    void operator()(Object* object) const {
        Free(object);
    }
};
template <class Object, auto Free>
using Owned = std::unique_ptr<Object, Freed<Free>>;
using File = std::unique_ptr<std::FILE, Freed<std::fclose>>;

/// Writes a certificate signed by itself, and its key.
void write_identity(const std::filesystem::path& certificate, const std::filesystem::path& key) {
    const Owned<EVP_PKEY, EVP_PKEY_free> pair{EVP_EC_gen("P-256")};
    const Owned<X509, X509_free> made{X509_new()};
    REQUIRE(pair);
    REQUIRE(made);
    X509_set_version(made.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
    X509_set_pubkey(made.get(), pair.get());
    REQUIRE(X509_sign(made.get(), pair.get(), EVP_sha256()) > 0);
    const File certificate_file{std::fopen(certificate.c_str(), "we")};
    const File key_file{std::fopen(key.c_str(), "we")};
    REQUIRE(PEM_write_X509(certificate_file.get(), made.get()) == 1);
    REQUIRE(PEM_write_PrivateKey(key_file.get(), pair.get(), nullptr, nullptr, 0, nullptr,
                                 nullptr) == 1);
}

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
