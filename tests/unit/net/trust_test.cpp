#include "net/trust.hpp"

#include <doctest/doctest.h>
#include <openssl/ssl.h>

#include <cstdlib>
#include <fstream>
#include <memory>

#include "certificates.hpp"
#include "support/temporary_folder.hpp"

using namespace agentsight;
using namespace agentsight::test;
using net::TrustSources;

namespace {

struct Bench {
    Bench() {
        make_identity({.common_name = "A", .authority = true}).save_certificate(path("a.pem"));
        std::ofstream{path("garbage.pem")} << "no certificate";
        std::filesystem::create_directory(path("empty"));
        std::filesystem::create_directory(path("full"));
        std::filesystem::copy(path("a.pem"), path("full/12345678.0"));
        // Nothing of this machine's own.
        sources.library_paths = false;
    }
    std::filesystem::path path(const char* name) const { return folder.path() / name; }

    std::string load() const {
        const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context{SSL_CTX_new(TLS_client_method()),
                                                                   SSL_CTX_free};
        return net::load_authorities(context.get(), sources);
    }

    TemporaryFolder folder;
    TrustSources sources;
};

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("H23: bundles are probed in order, what is missing or garbage is passed over") {
    Bench bench;
    bench.sources.bundles = {bench.path("missing"), bench.path("garbage.pem"), bench.path("a.pem")};
    CHECK(bench.load().empty());
}

TEST_CASE("H23: where there is no authority at all, the message says what to do") {
    Bench bench;
    bench.sources.bundles = {bench.path("missing")};
    const std::string problem = bench.load();
    CHECK(has(problem, "ca-certificates"));
    CHECK(has(problem, "SSL_CERT_FILE"));
}

TEST_CASE("a configured file is the only one, and must be readable") {
    Bench bench;
    bench.sources.environment_file = bench.path("missing");
    bench.sources.ca_file = bench.path("a.pem");
    CHECK(bench.load().empty());
    bench.sources.ca_file = bench.path("garbage.pem");
    bench.sources.environment_file = bench.path("a.pem");
    bench.sources.bundles = {bench.path("a.pem")};
    CHECK(has(bench.load(), "garbage.pem"));
}

TEST_CASE("SSL_CERT_FILE and SSL_CERT_DIR come before the system's, and must be readable") {
    Bench bench;
    bench.sources.bundles = {bench.path("a.pem")};
    bench.sources.environment_file = bench.path("a.pem");
    CHECK(bench.load().empty());
    bench.sources.environment_folder = bench.path("full");
    CHECK(bench.load().empty());
    bench.sources.environment_folder = bench.path("empty");
    CHECK(has(bench.load(), "SSL_CERT_DIR"));
    bench.sources.environment_folder = bench.path("missing");
    CHECK(has(bench.load(), "SSL_CERT_DIR"));
    bench.sources.environment_file = bench.path("garbage.pem");
    bench.sources.environment_folder.clear();
    CHECK(has(bench.load(), "SSL_CERT_FILE"));
    bench.sources.environment_file.clear();
    bench.sources.environment_folder = bench.path("full");
    CHECK(bench.load().empty());
}

TEST_CASE("the system's sources are those of the environment and the known bundles") {
    const TrustSources sources = TrustSources::of_system("/x/ca.pem");
    CHECK(sources.ca_file == "/x/ca.pem");
    CHECK(sources.library_paths);
    CHECK(sources.bundles.size() >= 6);
}
