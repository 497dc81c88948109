#include "support/identity.hpp"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <cstdio>
#include <ctime>
#include <stdexcept>

namespace agentsight::test {

namespace {

void need(bool fine, const char* what) {
    if (!fine) {
        throw std::runtime_error(what);
    }
}

void extend(X509* certificate, X509* issuer, int kind, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
    need(extension != nullptr, "extension");
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

struct File {
    explicit File(const std::filesystem::path& path) : handle(std::fopen(path.c_str(), "w")) {
        need(handle != nullptr, "fopen");
    }
    ~File() { std::fclose(handle); }
    std::FILE* handle;
};

}  // namespace

void X509Deleter::operator()(x509_st* certificate) const {
    X509_free(certificate);
}
void KeyDeleter::operator()(evp_pkey_st* key) const {
    EVP_PKEY_free(key);
}

void Identity::save_certificate(const std::filesystem::path& file) const {
    const File out{file};
    need(PEM_write_X509(out.handle, certificate.get()) == 1, "PEM_write_X509");
}

void Identity::save_key(const std::filesystem::path& file) const {
    const File out{file};
    need(PEM_write_PrivateKey(out.handle, key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1,
         "PEM_write_PrivateKey");
}

Identity make_identity(const CertificateWish& wish, const Identity* issuer) {
    static std::atomic<long> serial{1};
    Identity made;
    made.key.reset(EVP_EC_gen("P-256"));
    made.certificate.reset(X509_new());
    X509* const x = made.certificate.get();
    need(made.key && x != nullptr, "key");
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    const std::time_t from = static_cast<std::time_t>(release_time_s + wish.valid_from_s);
    ASN1_TIME_set(X509_getm_notBefore(x), from);
    ASN1_TIME_set(X509_getm_notAfter(x), from + static_cast<std::time_t>(wish.valid_for_s));
    X509_set_pubkey(x, made.key.get());
    X509_NAME* const name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(wish.common_name.c_str()), -1,
                               -1, 0);
    X509* const signer = issuer == nullptr ? x : issuer->certificate.get();
    X509_set_issuer_name(x, X509_get_subject_name(signer));
    extend(x, signer, NID_basic_constraints,
           wish.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (!wish.alternative_names.empty()) {
        extend(x, signer, NID_subject_alt_name, wish.alternative_names);
    }
    EVP_PKEY* const signing_key = issuer == nullptr ? made.key.get() : issuer->key.get();
    need(X509_sign(x, signing_key, EVP_sha256()) > 0, "X509_sign");
    return made;
}

}  // namespace agentsight::test
