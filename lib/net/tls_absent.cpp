#include "net/tls.hpp"
#include "net/tls_library.hpp"

namespace agentsight::net {

void keep_tls_through_exit() noexcept {}

TrustSources TrustSources::of_system(std::filesystem::path ca_file) {
    TrustSources sources;
    sources.ca_file = std::move(ca_file);
    return sources;
}

class TlsClient::Impl {};

TlsClient::TlsClient(TlsOptions, const core::Clock&) {}
TlsClient::~TlsClient() = default;

TlsProblem TlsClient::prepare() {
    TlsProblem problem;
    problem.failure = core::Failure::tls;
    problem.detail = "https is not possible: this build was made without TLS (Meson option tls)";
    return problem;
}

std::unique_ptr<TlsStream> TlsClient::stream(boost::asio::ip::tcp::socket&) {
    return nullptr;
}

core::UtcMs TlsClient::trusted_time() const noexcept {
    return 0;
}

void TlsClient::trust_time(core::UtcMs) noexcept {}

}  // namespace agentsight::net
