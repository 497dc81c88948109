#include <doctest/doctest.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>

#include "certificates.hpp"
#include "net/transport.hpp"
#include "os/clock.hpp"
#include "scripted_server.hpp"
#include "support/child_process.hpp"
#include "support/temporary_folder.hpp"

/// Against tinyproxy, a proxy we did not write. AGENTSIGHT_TINYPROXY names the program.

using namespace agentsight;
using namespace agentsight::test;
using namespace std::chrono_literals;
using boost::asio::awaitable;
using boost::asio::ip::tcp;
using core::Evidence;
using core::Failure;
using net::Transport;

namespace {

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

std::uint16_t free_port(boost::asio::io_context& context) {
    const tcp::acceptor probe{context, {boost::asio::ip::make_address("127.0.0.1"), 0}};
    return probe.local_endpoint().port();
}

class TinyProxy {
  public:
    /// `extra` are lines of its configuration.
    TinyProxy(boost::asio::io_context& context, const std::string& extra) {
        // The port may be taken between our look and its start; then the next one.
        for (int attempt = 0; attempt < 5 && !listens_; ++attempt) {
            start(context, extra);
        }
        REQUIRE(listens_);
    }
    std::string url(const std::string& user_info = "") const {
        return "http://" + user_info + "127.0.0.1:" + std::to_string(port_);
    }
    std::string log() const {
        std::ifstream file{folder_ / "log"};
        return {std::istreambuf_iterator<char>{file}, {}};
    }

  private:
    void start(boost::asio::io_context& context, const std::string& extra) {
        port_ = free_port(context);
        std::ofstream{folder_ / "conf"} << "Port " << port_ << "\nListen 127.0.0.1\nTimeout 20\n"
                                        << "LogFile \"" << (folder_ / "log").string() << "\"\n"
                                        << "LogLevel Info\nMaxClients 20\n"
                                        << extra << "\n";
        child_.reset();
        child_.emplace(ChildProcess::execute(std::getenv("AGENTSIGHT_TINYPROXY"),
                                             {"-d", "-c", (folder_ / "conf").string()}));
        const tcp::endpoint endpoint{boost::asio::ip::make_address("127.0.0.1"), port_};
        for (int look = 0; look < 300 && !listens_; ++look) {
            tcp::socket socket{context};
            boost::system::error_code refused;
            socket.connect(endpoint, refused);
            listens_ = !refused;
            if (!listens_) {
                boost::asio::steady_timer pause{context, 10ms};  // another process's start
                pause.wait();
            }
        }
    }

    TemporaryFolder folder_;
    std::optional<ChildProcess> child_;
    std::uint16_t port_ = 0;
    bool listens_ = false;
};

struct Bench {
    Bench() { authority.save_certificate(folder.path() / "ca.pem"); }

    net::TransportOptions options(const ScriptedServer& server, std::string proxy) const {
        auto options = options_for(server.url("localhost"));
        options.proxy = std::move(proxy);
        options.ca_file = folder.path() / "ca.pem";
        options.credential = ApiKey{"ags_secret"};
        return options;
    }
    Evidence send(const net::TransportOptions& options) {
        Transport transport{context, options, clock};
        return run(context, transport.send(post()));
    }

    static awaitable<void> answer_all(Session& session) {
        for (;;) {
            const std::string request = co_await session.request();
            if (request.empty()) {
                co_return;
            }
            co_await session.write(answer(201, R"({"id":1})"));
        }
    }

    TemporaryFolder folder;
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    Identity authority = make_identity({.common_name = "Authority", .authority = true});
    Identity identity = make_identity(
        {.alternative_names = "DNS:localhost", .valid_for_s = 40'000 * 86'400LL}, &authority);
    ScriptedServer secure{context, answer_all, {.identity = &identity}};
    ScriptedServer plain{context, answer_all};
};

}  // namespace

TEST_CASE("a real proxy carries https and http, several requests a connection, and no key") {
    Bench bench;
    TinyProxy proxy{bench.context, ""};
    {
        Transport transport{bench.context, bench.options(bench.secure, proxy.url()), bench.clock};
        CHECK(run(bench.context, transport.connect()).failure == Failure::none);
        for (int i = 0; i < 3; ++i) {
            CHECK(run(bench.context, transport.send(post())).status == 201);
        }
        CHECK(bench.secure.accepted() == 1);
    }
    const Evidence evidence = bench.send(bench.options(bench.plain, proxy.url()));
    CHECK(evidence.status == 201);
    CHECK(evidence.body == R"({"id":1})");
    REQUIRE(bench.secure.requests().size() == 3);
    CHECK(has(bench.secure.requests()[0], "Authorization: Api-Key ags_secret"));
    CHECK(has(proxy.log(), "CONNECT localhost:"));
    CHECK_FALSE(has(proxy.log(), "ags_secret"));
}

TEST_CASE("a real proxy with a password lets in who knows it, and no one else") {
    Bench bench;
    TinyProxy proxy{bench.context, "BasicAuth kiosk pass"};
    CHECK(bench.send(bench.options(bench.secure, proxy.url("kiosk:pass@"))).status == 201);
    CHECK(bench.send(bench.options(bench.plain, proxy.url("kiosk:pass@"))).status == 201);
    const std::size_t before = bench.secure.requests().size();
    const Evidence none = bench.send(bench.options(bench.secure, proxy.url()));
    CAPTURE(none.detail);
    CHECK(none.failure == Failure::proxy_auth);
    CHECK_FALSE(none.request_written);
    const Evidence wrong = bench.send(bench.options(bench.secure, proxy.url("kiosk:wrong@")));
    CAPTURE(wrong.detail);
    // tinyproxy answers a wrong password with 401, others with 407.
    CHECK((wrong.failure == Failure::proxy || wrong.failure == Failure::proxy_auth));
    CHECK_FALSE(has(wrong.detail, "wrong"));
    CHECK_FALSE(wrong.request_written);
    CHECK(bench.secure.requests().size() == before);
}

TEST_CASE("a real proxy that may not, or cannot, connect is told as such") {
    Bench bench;
    TinyProxy strict{bench.context, "ConnectPort 1"};
    const Evidence denied = bench.send(bench.options(bench.secure, strict.url()));
    CHECK(denied.failure == Failure::proxy);
    CHECK(has(denied.detail, "(403)"));
    TinyProxy open{bench.context, ""};
    auto options = bench.options(bench.secure, open.url());
    options.endpoint.port = free_port(bench.context);
    const Evidence dead = bench.send(options);
    CHECK(dead.failure == Failure::proxy);
    CHECK_FALSE(dead.request_written);
    CHECK(bench.secure.requests().empty());
}

TEST_CASE("the environment names the proxy, and NO_PROXY the exceptions") {
    Bench bench;
    TinyProxy proxy{bench.context, ""};
    auto options = bench.options(bench.plain, "");
    options.endpoint.host = "kiosk.example";
    options.credential = {};
    options.resolve = [](const std::string&, boost::system::error_code&) {
        return std::vector{boost::asio::ip::make_address("127.0.0.1")};
    };
    ::setenv("http_proxy", proxy.url().c_str(), 1);
    ::setenv("no_proxy", "other.example", 1);
    // The proxy knows no such name and says so in a page without a length.
    const Evidence through = bench.send(options);
    CAPTURE(through.detail);
    CHECK(through.failure == Failure::malformed);
    CHECK(has(proxy.log(), "kiosk.example"));
    ::setenv("no_proxy", "other.example,.example:80", 1);
    CHECK(bench.send(options).failure == Failure::malformed);
    CHECK(bench.plain.requests().empty());
    ::setenv("no_proxy", ("example:" + std::to_string(bench.plain.port())).c_str(), 1);
    CHECK(bench.send(options).status == 201);
    CHECK(bench.plain.requests().size() == 1);
    ::unsetenv("http_proxy");
    ::unsetenv("no_proxy");
}

TEST_CASE("a proxy that is gone holds everything: it is not bypassed") {
    Bench bench;
    const std::string gone = "http://127.0.0.1:" + std::to_string(free_port(bench.context));
    const Evidence evidence = bench.send(bench.options(bench.secure, gone));
    CHECK(evidence.failure == Failure::connect);
    CHECK(bench.secure.accepted() == 0);
}
