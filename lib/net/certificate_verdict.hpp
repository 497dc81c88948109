#pragma once

#include <openssl/x509_vfy.h>

#include <string>

#include "core/time.hpp"
#include "net/tls.hpp"

namespace agentsight::net {

/// What the verification of one handshake objected to, for people. Filled from inside
/// OpenSSL's callback, since a refused certificate is gone afterwards.
struct CertificateVerdict {
    int code = X509_V_OK;
    std::string subject;  ///< of the certificate objected to
    std::string issuer;
    std::string names;       ///< whom the certificate is for
    std::string not_before;  ///< ISO 8601
    std::string not_after;

    void note(X509_STORE_CTX* store);
    /// The class and the sentence; `doubtful_clock`: the device's clock is before the floor.
    TlsProblem problem(const std::string& host, core::UtcMs device_time, bool doubtful_clock) const;
};

}  // namespace agentsight::net
