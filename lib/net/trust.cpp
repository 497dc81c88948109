#include "net/trust.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <utility>

#include "core/text.hpp"
#include "os/file.hpp"

namespace agentsight::net {

namespace fs = std::filesystem;

namespace {

std::string shown(const fs::path& path) {
    return core::printable(path.string(), 200);
}

bool load_file(SSL_CTX* context, const fs::path& file) {
    const bool loaded = SSL_CTX_load_verify_file(context, file.c_str()) == 1;
    ERR_clear_error();
    return loaded;
}

bool load_folder(SSL_CTX* context, const fs::path& folder) {
    std::error_code error;
    if (fs::is_empty(folder, error) || error) {
        return false;
    }
    const bool loaded = SSL_CTX_load_verify_dir(context, folder.c_str()) == 1;
    ERR_clear_error();
    return loaded;
}

/// OpenSSL itself says yes to its default paths whether or not anything is there.
bool load_library_paths(SSL_CTX* context) {
    const bool file = load_file(context, X509_get_default_cert_file());
    const bool folder = load_folder(context, X509_get_default_cert_dir());
    return file || folder;
}

std::string load_environment(SSL_CTX* context, const TrustSources& sources) {
    const fs::path& file = sources.environment_file;
    const fs::path& folder = sources.environment_folder;
    if (!file.empty() && !load_file(context, file)) {
        return core::joined({"SSL_CERT_FILE names ", shown(file),
                             ", which has no readable PEM certificate; correct it or unset it"});
    }
    if (!folder.empty() && !load_folder(context, folder)) {
        return core::joined({"SSL_CERT_DIR names ", shown(folder),
                             ", which is no folder with certificates; correct it or unset it"});
    }
    return {};
}

}  // namespace

TrustSources TrustSources::of_system(fs::path ca_file) {
    TrustSources sources;
    sources.ca_file = std::move(ca_file);
    sources.environment_file = os::environment("SSL_CERT_FILE").value_or("");
    sources.environment_folder = os::environment("SSL_CERT_DIR").value_or("");
    // For a library built for another distribution, or an OpenSSL of its own: the list that
    // other run-time libraries probe too.
    sources.bundles = {
        "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Gentoo, Arch
        "/etc/pki/tls/certs/ca-bundle.crt",                   // Fedora, RHEL 6
        "/etc/ssl/ca-bundle.pem",                             // openSUSE
        "/etc/pki/tls/cacert.pem",                            // OpenELEC
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // RHEL 7 and later
        "/etc/ssl/cert.pem",                                  // Alpine
    };
    return sources;
}

std::string load_authorities(ssl_ctx_st* context, const TrustSources& sources) {
    if (!sources.ca_file.empty()) {
        return load_file(context, sources.ca_file)
                   ? std::string{}
                   : "the file of certificate authorities, " + shown(sources.ca_file) +
                         ", has no readable PEM certificate";
    }
    if (!sources.environment_file.empty() || !sources.environment_folder.empty()) {
        return load_environment(context, sources);
    }
    if (sources.library_paths && load_library_paths(context)) {
        return {};
    }
    for (const fs::path& bundle : sources.bundles) {
        if (load_file(context, bundle)) {
            return {};
        }
    }
    return "this system has no certificate authorities where they are usually kept; install "
           "them (package ca-certificates), or name a PEM file by SSL_CERT_FILE";
}

}  // namespace agentsight::net
