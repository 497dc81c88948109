#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

struct x509_st;
struct evp_pkey_st;

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

/// net::release_time in seconds: no device judges by an earlier time.
inline constexpr std::int64_t release_time_s = 1'788'220'800;

struct CertificateWish {
    std::string common_name = "test";
    std::string alternative_names;  ///< "DNS:a.example,IP:127.0.0.1"; empty: none
    std::int64_t valid_from_s = 0;  ///< from release_time_s on
    std::int64_t valid_for_s = 400 * 86'400;
    bool authority = false;
};

/// Signed by `issuer`; null: by itself.
Identity make_identity(const CertificateWish& wish, const Identity* issuer = nullptr);

}  // namespace agentsight::test
