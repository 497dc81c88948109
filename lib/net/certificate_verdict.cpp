#include "net/certificate_verdict.hpp"

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <boost/asio/ip/address.hpp>
#include <cstring>
#include <memory>

#include "core/text.hpp"

namespace agentsight::net {

using core::Failure;

namespace {

constexpr std::size_t most_text = 80;
constexpr int most_names = 4;

std::string common_name(const X509_NAME* name) {
    std::array<char, 256> text{};
    const int size = name == nullptr ? -1
                                     : X509_NAME_get_text_by_NID(name, NID_commonName, text.data(),
                                                                 static_cast<int>(text.size()));
    return size <= 0 ? "an unnamed certificate"
                     : core::printable({text.data(), std::strlen(text.data())}, most_text);
}

std::string iso(const ASN1_TIME* time) {
    const std::unique_ptr<ASN1_TIME, void (*)(ASN1_TIME*)> epoch{ASN1_TIME_set(nullptr, 0),
                                                                 ASN1_TIME_free};
    int days = 0;
    int seconds = 0;
    if (time == nullptr || !epoch || ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1) {
        return "an unreadable time";
    }
    return core::iso8601((std::int64_t{days} * 86'400 + seconds) * 1'000);
}

std::string text_of(const GENERAL_NAME& name) {
    if (name.type == GEN_DNS) {
        const auto* data = ASN1_STRING_get0_data(name.d.dNSName);
        const auto size = static_cast<std::size_t>(ASN1_STRING_length(name.d.dNSName));
        return core::printable({reinterpret_cast<const char*>(data), size}, most_text);
    }
    if (name.type != GEN_IPADD) {
        return {};
    }
    const auto* data = ASN1_STRING_get0_data(name.d.iPAddress);
    boost::asio::ip::address_v4::bytes_type v4{};
    boost::asio::ip::address_v6::bytes_type v6{};
    const auto size = static_cast<std::size_t>(ASN1_STRING_length(name.d.iPAddress));
    if (size == v4.size()) {
        std::memcpy(v4.data(), data, size);
        return boost::asio::ip::address_v4{v4}.to_string();
    }
    if (size == v6.size()) {
        std::memcpy(v6.data(), data, size);
        return boost::asio::ip::address_v6{v6}.to_string();
    }
    return {};
}

std::string names_of(const X509* certificate) {
    const std::unique_ptr<GENERAL_NAMES, void (*)(GENERAL_NAMES*)> all{
        static_cast<GENERAL_NAMES*>(
            X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
        GENERAL_NAMES_free};
    std::string names;
    int listed = 0;
    for (int i = 0; all && i < sk_GENERAL_NAME_num(all.get()); ++i) {
        const std::string name = text_of(*sk_GENERAL_NAME_value(all.get(), i));
        if (name.empty()) {
            continue;
        }
        if (++listed > most_names) {
            return names + " and others";
        }
        names += (names.empty() ? "" : ", ") + name;
    }
    return names.empty() ? "no name" : names;
}

}  // namespace

void CertificateVerdict::note(X509_STORE_CTX* store) {
    code = X509_STORE_CTX_get_error(store);
    const X509* certificate = X509_STORE_CTX_get_current_cert(store);
    if (certificate == nullptr) {
        return;
    }
    subject = common_name(X509_get_subject_name(certificate));
    issuer = common_name(X509_get_issuer_name(certificate));
    names = names_of(certificate);
    not_before = iso(X509_get0_notBefore(certificate));
    not_after = iso(X509_get0_notAfter(certificate));
}

TlsProblem CertificateVerdict::problem(const std::string& host, core::UtcMs device_time,
                                       bool doubtful_clock) const {
    TlsProblem problem;
    problem.failure = Failure::tls;
    const std::string whose = "the certificate of " + host;
    const std::string now = core::iso8601(device_time);
    constexpr std::string_view clock = "; this device's clock says ";
    switch (code) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
            problem.failure = doubtful_clock ? Failure::clock : Failure::tls;
            problem.detail =
                core::joined({whose, " (", subject, ") expired on ", not_after, clock, now});
            break;
        case X509_V_ERR_CERT_NOT_YET_VALID:
            problem.failure = doubtful_clock ? Failure::clock : Failure::tls;
            problem.detail = core::joined(
                {whose, " (", subject, ") is not valid before ", not_before, clock, now});
            break;
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
            problem.detail = whose + " is for another host: " + names;
            break;
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
            problem.detail = whose + " is self-signed and not trusted here";
            break;
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
            problem.detail =
                whose + " is signed by an authority that is not trusted here: " + issuer;
            break;
        default:
            problem.detail = whose + " is refused: " +
                             core::printable(X509_verify_cert_error_string(code), most_text);
    }
    return problem;
}

}  // namespace agentsight::net
