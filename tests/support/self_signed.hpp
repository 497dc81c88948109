#pragma once

#ifdef WITH_TLS
#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <filesystem>
#include <memory>

namespace agentsight::test {

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

/// Writes a certificate signed by itself, valid for two hours, and its key. `names` such as
/// "DNS:a.example,IP:127.0.0.1"; empty: none.
inline void write_identity(const std::filesystem::path& certificate,
                           const std::filesystem::path& key, const char* names = "") {
    const Owned<EVP_PKEY, EVP_PKEY_free> pair{EVP_EC_gen("P-256")};
    const Owned<X509, X509_free> made{X509_new()};
    REQUIRE(pair);
    REQUIRE(made);
    X509_set_version(made.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
    X509_set_pubkey(made.get(), pair.get());
    if (*names != '\0') {
        const Owned<X509_EXTENSION, X509_EXTENSION_free> extension{
            X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names)};
        REQUIRE(X509_add_ext(made.get(), extension.get(), -1) == 1);
    }
    REQUIRE(X509_sign(made.get(), pair.get(), EVP_sha256()) > 0);
    const File certificate_file{std::fopen(certificate.c_str(), "we")};
    const File key_file{std::fopen(key.c_str(), "we")};
    REQUIRE(PEM_write_X509(certificate_file.get(), made.get()) == 1);
    REQUIRE(PEM_write_PrivateKey(key_file.get(), pair.get(), nullptr, nullptr, 0, nullptr,
                                 nullptr) == 1);
}

}  // namespace agentsight::test
#endif
