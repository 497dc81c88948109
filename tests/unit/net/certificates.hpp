#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "scripted_server.hpp"

struct x509_st;
struct evp_pkey_st;

namespace boost::asio::ssl {
class context;
}

namespace agentsight::test {

struct X509Deleter {
    void operator()(x509_st* certificate) const;
};
struct KeyDeleter {
    void operator()(evp_pkey_st* key) const;
};

/// A certificate and its key, made at test time.
struct Identity {
    std::unique_ptr<x509_st, X509Deleter> certificate;
    std::unique_ptr<evp_pkey_st, KeyDeleter> key;

    void save_certificate(const std::filesystem::path& file) const;
    void save_key(const std::filesystem::path& file) const;
};

struct CertificateWish {
    std::string common_name = "test";
    std::string alternative_names;  ///< "DNS:a.example,IP:127.0.0.1"; empty: none
    std::int64_t valid_from_s = 0;  ///< from the release time of net/tls.hpp, seconds
    std::int64_t valid_for_s = 400 * 86'400;
    bool authority = false;
};

/// Signed by `issuer`; null: by itself.
Identity make_identity(const CertificateWish& wish, const Identity* issuer = nullptr);

boost::asio::ssl::context server_context(const ServerTls& tls);

}  // namespace agentsight::test
