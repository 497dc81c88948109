#include <doctest/doctest.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "net/transport.hpp"
#include "os/clock.hpp"
#include "scripted_server.hpp"
#include "support/temporary_folder.hpp"

#if AGENTSIGHT_TLS
#include "certificates.hpp"
#endif

using namespace agentsight;
using namespace agentsight::test;
using namespace std::chrono_literals;
using boost::asio::awaitable;
using core::Evidence;
using core::Failure;
using net::Transport;

namespace {

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

core::Url endpoint(bool tls) {
    core::Url url;
    url.tls = tls;
    url.host = "api.example";
    url.port = tls ? 443 : 80;
    return url;
}

/// An endpoint that only the proxy knows the way to.
net::TransportOptions through(const ScriptedServer& proxy, bool tls,
                              const std::string& user_info = "") {
    auto options = options_for(endpoint(tls));
    options.proxy = "http://" + user_info + "127.0.0.1:" + std::to_string(proxy.port());
    options.resolve = [](const std::string&, boost::system::error_code& error) {
        error = boost::asio::error::host_not_found;
        return std::vector<boost::asio::ip::address>{};
    };
    return options;
}

}  // namespace

TEST_CASE("plain http goes through a proxy in the absolute form") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    ScriptedServer proxy{context, [](Session& session) -> awaitable<void> {
                             for (int i = 0; i < 2; ++i) {
                                 co_await session.request();
                                 co_await session.write(answer(201, R"({"id":1})"));
                             }
                         }};
    Transport transport{context, through(proxy, false, "me:secret@"), clock};
    CHECK(run(context, transport.send(post())).status == 201);
    CHECK(run(context, transport.send(get())).status == 201);
    CHECK(proxy.accepted() == 1);
    REQUIRE(proxy.requests().size() == 2);
    CHECK(proxy.requests()[0].starts_with(
        "POST http://api.example/api/conversation-feedbacks/ HTTP/1.1\r\nHost: api.example\r\n"));
    CHECK(has(proxy.requests()[0], "\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n"));
    CHECK(proxy.requests()[1].starts_with("GET http://api.example/api/me/ HTTP/1.1\r\n"));
}

TEST_CASE("a 407 to a forwarded request is the answer's status") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    ScriptedServer proxy{context, [](Session& session) -> awaitable<void> {
                             co_await session.request();
                             co_await session.write(answer(407, "{}"));
                         }};
    Transport transport{context, through(proxy, false), clock};
    CHECK(run(context, transport.send(post())).status == 407);
}

TEST_CASE("no credential goes through a proxy without TLS") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    ScriptedServer proxy{context,
                         [](Session& session) -> awaitable<void> { co_await session.request(); }};
    auto options = through(proxy, false);
    options.credential = ApiKey{"ags_secret"};
    Transport transport{context, options, clock};
    const Evidence evidence = run(context, transport.send(post()));
    CHECK(evidence.failure == Failure::tls);
    CHECK(has(evidence.detail, "refusing to send a credential without TLS"));
    CHECK(proxy.accepted() == 0);
}

TEST_CASE("a proxy that cannot be used holds everything, and says why") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    auto options = options_for(endpoint(false));
    options.proxy = "socks5://127.0.0.1:1080";
    Transport transport{context, options, clock};
    const Evidence evidence = run(context, transport.send(post()));
    CHECK(evidence.failure == Failure::proxy);
    CHECK_FALSE(evidence.request_written);
    CHECK(has(evidence.detail, "the proxy cannot be used: the proxy option does not begin with"));
}

#if AGENTSIGHT_TLS

namespace {

struct TlsBench {
    TlsBench() { authority.save_certificate(folder.path() / "ca.pem"); }

    net::TransportOptions options(const ScriptedServer& proxy,
                                  const std::string& user_info = "") const {
        auto options = through(proxy, true, user_info);
        options.ca_file = folder.path() / "ca.pem";
        options.credential = ApiKey{"ags_secret"};
        return options;
    }

    TemporaryFolder folder;
    Identity authority = make_identity({.common_name = "Authority", .authority = true});
    Identity identity = make_identity(
        {.alternative_names = "DNS:api.example", .valid_for_s = 40'000 * 86'400LL}, &authority);
    boost::asio::io_context context{1};
    const os::SystemClock clock;
};

}  // namespace

TEST_CASE("https goes through a tunnel, and the proxy sees no key") {
    TlsBench bench;
    std::string connect;
    ScriptedServer proxy{
        bench.context, [&](Session& session) -> awaitable<void> {
            connect = co_await session.request();
            co_await session.write("HTTP/1.1 200 Connection established\r\nVia: tiny\r\n\r\n");
            ServerTls tls;
            tls.identity = &bench.identity;
            const bool secured = co_await session.secure(tls);
            CHECK(secured);
            for (int i = 0; i < 2; ++i) {
                co_await session.request();
                co_await session.write(answer(201, R"({"id":1})"));
            }
        }};
    Transport transport{bench.context, bench.options(proxy, "me:pass@"), bench.clock};
    CHECK(run(bench.context, transport.connect()).failure == Failure::none);
    CHECK(run(bench.context, transport.send(post())).status == 201);
    CHECK(run(bench.context, transport.send(post())).status == 201);
    CHECK(proxy.accepted() == 1);
    CHECK(connect ==
          "CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n"
          "User-Agent: agentsight-outbox/test\r\nProxy-Authorization: Basic bWU6cGFzcw==\r\n\r\n");
    REQUIRE(proxy.requests().size() == 3);
    CHECK(proxy.requests()[1].starts_with("POST /api/conversation-feedbacks/ HTTP/1.1\r\n"));
    CHECK_FALSE(has(proxy.requests()[1], "Proxy-Authorization"));
    CHECK(has(proxy.requests()[1], "Api-Key ags_secret"));
}

TEST_CASE("a permit withdrawn while the tunnel is made: nothing is sent, and the tunnel is kept") {
    TlsBench bench;
    const auto withdrawals = std::make_shared<std::uint64_t>(0);
    ScriptedServer proxy{bench.context, [&](Session& session) -> awaitable<void> {
                             co_await session.request();
                             ++*withdrawals;
                             co_await session.write("HTTP/1.1 200 Connection established\r\n\r\n");
                             ServerTls tls;
                             tls.identity = &bench.identity;
                             const bool secured = co_await session.secure(tls);
                             CHECK(secured);
                             co_await session.request();
                             co_await session.write(answer(201, R"({"id":1})"));
                         }};
    Transport transport{bench.context, bench.options(proxy), bench.clock};
    core::HttpRequest request = post();
    request.permit = {.withdrawals = withdrawals};
    const Evidence evidence = run(bench.context, transport.send(request));
    CHECK(evidence.failure == Failure::aborted);
    CHECK_FALSE(evidence.request_written);
    CHECK(proxy.requests().size() == 1);
    request.permit.given_at = *withdrawals;
    CHECK(run(bench.context, transport.send(request)).status == 201);
    CHECK(proxy.accepted() == 1);
}

TEST_CASE("what a proxy may answer to CONNECT instead") {
    struct Row {
        const char* what;
        std::string bytes;
        Failure failure;
        const char* words;
    };
    const Row rows[] = {
        {"407", "HTTP/1.1 407 Auth\r\nContent-Length: 100000\r\n\r\n", Failure::proxy_auth,
         "wants a user name and password (407)"},
        {"403", "HTTP/1.1 403 Denied\r\n\r\n", Failure::proxy,
         "refuses to connect to api.example:443 (403)"},
        {"502", "HTTP/1.0 502 Bad\r\n\r\nwords", Failure::proxy, "(502)"},
        {"302", "HTTP/1.1 302 Portal\r\nLocation: http://portal/\r\n\r\n", Failure::proxy, "(302)"},
        {"garbage", "EHLO\r\n\r\n", Failure::proxy, "cannot be understood"},
        {"nothing", "", Failure::proxy, "closed the connection"},
        {"half", "HTTP/1.1 200 Conn", Failure::proxy, "closed the connection"},
        {"more than its head", "HTTP/1.1 200 OK\r\n\r\n<html>", Failure::proxy,
         "sent more than its answer"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        TlsBench bench;
        ScriptedServer proxy{bench.context, [&](Session& session) -> awaitable<void> {
                                 co_await session.request();
                                 co_await session.write(row.bytes);
                                 co_await session.close();
                             }};
        Transport transport{bench.context, bench.options(proxy), bench.clock};
        const Evidence evidence = run(bench.context, transport.send(post()));
        CHECK(evidence.failure == row.failure);
        CHECK_FALSE(evidence.request_written);
        CAPTURE(evidence.detail);
        CHECK(has(evidence.detail, row.words));
        for (const std::string& request : proxy.requests()) {
            CHECK_FALSE(has(request, "ags_secret"));
        }
    }
}

TEST_CASE("H29: a portal that agrees to CONNECT and then speaks HTML gets nothing") {
    TlsBench bench;
    std::string seen;
    ScriptedServer portal{bench.context, [&](Session& session) -> awaitable<void> {
                              seen = co_await session.request();
                              co_await session.write("HTTP/1.1 200 OK\r\n\r\n");
                              seen += co_await session.some();
                              co_await session.write("HTTP/1.1 200 OK\r\n\r\n<html>Log in</html>");
                              seen += co_await session.rest();
                          }};
    Transport transport{bench.context, bench.options(portal), bench.clock};
    const Evidence evidence = run(bench.context, transport.send(post()));
    CHECK(evidence.failure == Failure::tls);
    CHECK_FALSE(evidence.request_written);
    CHECK(has(evidence.detail, "does not speak TLS on this port"));
    CHECK_FALSE(has(seen, "ags_secret"));
}

TEST_CASE("a portal that ends TLS itself is not believed") {
    TlsBench bench;
    const Identity portal_identity = make_identity({.alternative_names = "DNS:api.example"});
    ScriptedServer portal{bench.context, [&](Session& session) -> awaitable<void> {
                              co_await session.request();
                              co_await session.write("HTTP/1.1 200 OK\r\n\r\n");
                              ServerTls tls;
                              tls.identity = &portal_identity;
                              co_await session.secure(tls);
                              co_await session.rest();
                          }};
    Transport transport{bench.context, bench.options(portal), bench.clock};
    const Evidence evidence = run(bench.context, transport.send(post()));
    CHECK(evidence.failure == Failure::tls);
    CHECK_FALSE(evidence.request_written);
    CHECK(portal.requests().size() == 1);
}

TEST_CASE("a certificate that is refused takes nothing from a connection still being made") {
    // The second request has its tunnel only when the first has read the refused certificate,
    // after which the authorities are read again.
    TlsBench bench;
    const Identity portal_identity = make_identity({.alternative_names = "DNS:api.example"});
    bool first_is_done = false;
    ScriptedServer proxy{bench.context, [&](Session& session) -> awaitable<void> {
                             co_await session.request();
                             while (session.index > 0 && !first_is_done) {
                                 co_await boost::asio::post(bench.context,
                                                            boost::asio::use_awaitable);
                             }
                             co_await session.write("HTTP/1.1 200 OK\r\n\r\n");
                             ServerTls tls;
                             tls.identity = session.index == 0 ? &portal_identity : &bench.identity;
                             co_await session.secure(tls);
                             co_await session.request();
                             co_await session.write(answer(201, R"({"id":1})"));
                             co_await session.rest();
                         }};
    Transport transport{bench.context, bench.options(proxy), bench.clock};
    const auto note_end = [&](awaitable<Evidence> work) -> awaitable<Evidence> {
        Evidence evidence = co_await std::move(work);
        first_is_done = true;
        co_return evidence;
    };
    std::vector<awaitable<Evidence>> work;
    work.push_back(note_end(transport.send(post())));
    work.push_back(note_end(transport.send(post())));
    const std::vector<Evidence> ends = run_all(bench.context, std::move(work));
    CHECK(ends[0].failure == Failure::tls);
    CHECK(ends[1].status == 201);
}

TEST_CASE("a proxy that hangs ends by the connect deadline, or by abort") {
    TlsBench bench;
    bool asked = false;
    ScriptedServer proxy{bench.context, [&](Session& session) -> awaitable<void> {
                             co_await session.request();
                             asked = true;
                             co_await session.rest();
                         }};
    auto options = bench.options(proxy);
    options.connect_timeout = 100ms;
    Transport transport{bench.context, options, bench.clock};
    const Evidence evidence = run(bench.context, transport.send(post()));
    CHECK(evidence.failure == Failure::timeout);
    CHECK(has(evidence.detail, "waiting for the proxy"));
    CHECK_FALSE(evidence.request_written);
}

#endif
