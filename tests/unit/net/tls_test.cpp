#include <doctest/doctest.h>
#include <openssl/ssl.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <fstream>
#include <optional>

#include "certificates.hpp"
#include "net/tls.hpp"
#include "net/transport.hpp"
#include "scripted_server.hpp"
#include "support/temporary_folder.hpp"
#include "support/test_clock.hpp"

using namespace agentsight;
using namespace agentsight::test;
using namespace std::chrono_literals;
using boost::asio::awaitable;
using core::Evidence;
using core::Failure;
using net::Transport;

namespace {

constexpr std::int64_t day_s = 86'400;
const std::string created = answer(201, R"({"id":10})");

awaitable<void> answer_all(Session& session) {
    for (;;) {
        const std::string request = co_await session.request();
        if (request.empty()) {
            co_return;
        }
        co_await session.write(created);
    }
}

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

/// An authority, files for the transport, and the clock of a healthy device: ten days after
/// the release, while certificates are valid from the release on.
struct Bench {
    Bench() {
        clock.set_utc(net::release_time + 10 * day_s * 1'000);
        authority.save_certificate(ca_file);
    }

    Identity signed_for(const std::string& names, CertificateWish wish = {}) const {
        wish.alternative_names = names;
        return make_identity(wish, &authority);
    }

    net::TransportOptions options(const ScriptedServer& server,
                                  const std::string& host = "kiosk.example") const {
        auto options = options_for(server.url(host));
        options.ca_file = ca_file;
        options.credential = ApiKey{"ags_secret"};
        options.resolve = [](const std::string&, boost::system::error_code&) {
            return std::vector{boost::asio::ip::make_address("127.0.0.1")};
        };
        return options;
    }

    /// One request to a server with this identity.
    Evidence ask(const Identity& identity, const std::string& host = "kiosk.example",
                 ServerTls tls = {}) {
        tls.identity = &identity;
        ScriptedServer server{context, answer_all, tls};
        Transport transport{context, options(server, host), clock};
        Evidence evidence = run(context, transport.send(post()));
        requests = server.requests().size();
        return evidence;
    }

    TemporaryFolder folder;
    boost::asio::io_context context{1};
    TestClock clock;
    Identity authority = make_identity({.common_name = "Test Authority", .authority = true});
    std::filesystem::path ca_file = folder.path() / "ca.pem";
    std::size_t requests = 0;
};

}  // namespace

TEST_CASE("H21: a table of certificates, each with its class and its words") {
    struct Row {
        const char* what;
        std::string names;
        std::string host;
        std::int64_t valid_from_s;
        std::int64_t valid_for_s;
        Failure failure;
        std::string detail;
    };
    const std::string now = "; this device's clock says 2026-09-11T00:00:00.000Z";
    const Row rows[] = {
        {"good", "DNS:kiosk.example", "kiosk.example", 0, 400 * day_s, Failure::none, ""},
        {"one of several", "DNS:a.example,DNS:kiosk.example", "kiosk.example", 0, 400 * day_s,
         Failure::none, ""},
        {"wildcard", "DNS:*.kiosk.example", "a.kiosk.example", 0, 400 * day_s, Failure::none, ""},
        {"IP SAN", "IP:127.0.0.1", "127.0.0.1", 0, 400 * day_s, Failure::none, ""},
        {"expired", "DNS:kiosk.example", "kiosk.example", 0, 5 * day_s, Failure::tls,
         "the certificate of kiosk.example (test) expired on 2026-09-06T00:00:00.000Z" + now},
        {"not yet valid", "DNS:kiosk.example", "kiosk.example", 20 * day_s, 400 * day_s,
         Failure::tls,
         "the certificate of kiosk.example (test) is not valid before 2026-09-21T00:00:00.000Z" +
             now},
        {"wrong host", "DNS:other.example,IP:10.0.0.1", "kiosk.example", 0, 400 * day_s,
         Failure::tls,
         "the certificate of kiosk.example is for another host: other.example, 10.0.0.1"},
        {"wildcard too wide", "DNS:*.kiosk.example", "a.b.kiosk.example", 0, 400 * day_s,
         Failure::tls, "the certificate of a.b.kiosk.example is for another host: *.kiosk.example"},
        {"wrong IP", "IP:127.0.0.2,DNS:127.0.0.1", "127.0.0.1", 0, 400 * day_s, Failure::tls,
         "the certificate of 127.0.0.1 is for another host: 127.0.0.2, 127.0.0.1"},
        {"common name only", "", "test", 0, 400 * day_s, Failure::tls,
         "the certificate of test is for another host: no name"},
    };
    for (const Row& row : rows) {
        CAPTURE(row.what);
        Bench bench;
        const Identity identity = bench.signed_for(
            row.names, {.valid_from_s = row.valid_from_s, .valid_for_s = row.valid_for_s});
        const Evidence evidence = bench.ask(identity, row.host);
        CHECK(evidence.failure == row.failure);
        CHECK(evidence.detail == row.detail);
        CHECK(evidence.request_written == (row.failure == Failure::none));
        CHECK(bench.requests == (row.failure == Failure::none ? 1 : 0));
        CHECK((evidence.status == 201) == (row.failure == Failure::none));
    }
}

TEST_CASE("H21: where OpenSSL cannot be told the host, no certificate is good enough") {
    const std::string unnameable[] = {"", ".", {"kiosk.example\0x", 15}, "::ffff:127.0.0.1%1"};
    for (const std::string& host : unnameable) {
        CAPTURE(host);
        Bench bench;
        const Identity identity = bench.signed_for("DNS:kiosk.example");
        ServerTls tls;
        tls.identity = &identity;
        ScriptedServer server{bench.context, answer_all, tls};
        auto options = bench.options(server);
        options.endpoint.host = host;
        options.proxy = "direct";
        Transport transport{bench.context, options, bench.clock};
        const Evidence evidence = run(bench.context, transport.connect());
        CHECK(evidence.failure == Failure::tls);
        CHECK(has(evidence.detail, "no certificate could be checked"));
    }
}

TEST_CASE("a certificate of another authority, or of none, is refused") {
    Bench bench;
    const Identity stranger = make_identity({.common_name = "Stranger", .authority = true});
    const Identity foreign = make_identity({.alternative_names = "DNS:kiosk.example"}, &stranger);
    const Evidence other = bench.ask(foreign);
    CHECK(other.failure == Failure::tls);
    CHECK(other.detail ==
          "the certificate of kiosk.example is signed by an authority that is not trusted here: "
          "Stranger");
    const Identity alone = make_identity({.alternative_names = "DNS:kiosk.example"});
    const Evidence self_signed = bench.ask(alone);
    CHECK(self_signed.failure == Failure::tls);
    CHECK(self_signed.detail ==
          "the certificate of kiosk.example is self-signed and not trusted here");
    CHECK_FALSE(self_signed.request_written);
}

TEST_CASE("H22: TLS before 1.2 is refused, 1.2 and 1.3 are spoken") {
    Bench bench;
    const Identity identity = bench.signed_for("DNS:kiosk.example");
    const Evidence old =
        bench.ask(identity, "kiosk.example", {.lowest = TLS1_VERSION, .highest = TLS1_1_VERSION});
    CHECK(old.failure == Failure::tls);
    CHECK(old.detail == "kiosk.example does not speak TLS 1.2 or later");
    CHECK_FALSE(old.request_written);
    CHECK(
        bench.ask(identity, "kiosk.example", {.lowest = TLS1_2_VERSION, .highest = TLS1_2_VERSION})
            .status == 201);
    CHECK(
        bench.ask(identity, "kiosk.example", {.lowest = TLS1_3_VERSION, .highest = TLS1_3_VERSION})
            .status == 201);
}

TEST_CASE("a server that speaks no TLS, closes, or stalls in the handshake") {
    Bench bench;
    enum class Way { speaks_http, closes, stalls };
    for (const Way way : {Way::speaks_http, Way::closes, Way::stalls}) {
        ScriptedServer server{bench.context, [&](Session& session) -> awaitable<void> {
                                  if (way == Way::speaks_http) {
                                      co_await session.write("HTTP/1.1 400 Bad Request\r\n\r\n");
                                  }
                                  if (way == Way::closes) {
                                      co_await session.close();
                                      co_return;
                                  }
                                  co_await session.rest();
                              }};
        auto options = bench.options(server);
        options.endpoint.tls = true;
        options.connect_timeout = way == Way::stalls ? 100ms : 10s;
        Transport transport{bench.context, options, bench.clock};
        const Evidence evidence = run(bench.context, transport.send(post()));
        CHECK_FALSE(evidence.request_written);
        CAPTURE(evidence.detail);
        switch (way) {
            case Way::speaks_http:
                CHECK(evidence.failure == Failure::tls);
                CHECK(evidence.detail == "kiosk.example does not speak TLS on this port");
                break;
            case Way::closes:
                CHECK(evidence.failure == Failure::tls);
                break;
            case Way::stalls:
                CHECK(evidence.failure == Failure::timeout);
                CHECK(has(evidence.detail, "the TLS handshake"));
        }
    }
}

TEST_CASE("the server learns the host by SNI, but no address") {
    for (const std::string host : {"kiosk.example", "127.0.0.1"}) {
        Bench bench;
        const Identity identity = bench.signed_for("DNS:kiosk.example,IP:127.0.0.1");
        std::optional<std::string> name;
        ScriptedServer server{bench.context,
                              [&](Session& session) -> awaitable<void> {
                                  name = session.server_name();
                                  co_await answer_all(session);
                              },
                              {.identity = &identity}};
        Transport transport{bench.context, bench.options(server, host), bench.clock};
        CHECK(run(bench.context, transport.send(post())).status == 201);
        CHECK(name == (host == "127.0.0.1" ? "" : host));
    }
}

TEST_CASE("a TLS connection is made ready, reused, and its session resumed by the next") {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        CAPTURE(version);
        Bench bench;
        const Identity identity = bench.signed_for("DNS:kiosk.example");
        std::vector<bool> resumed;
        ScriptedServer server{bench.context,
                              [&](Session& session) -> awaitable<void> {
                                  resumed.push_back(session.resumed());
                                  co_await answer_all(session);
                              },
                              {.identity = &identity, .lowest = version, .highest = version}};
        Transport transport{bench.context, bench.options(server), bench.clock};
        CHECK(run(bench.context, transport.connect()).failure == Failure::none);
        // Session tickets that arrive now must not look like unsolicited bytes.
        REQUIRE(run_until(bench.context, [&] { return resumed.size() == 1; }));
        CHECK(run(bench.context, transport.connect()).failure == Failure::none);
        CHECK(run(bench.context, transport.send(post())).status == 201);
        CHECK(run(bench.context, transport.send(post())).status == 201);
        CHECK(server.accepted() == 1);
        for (int i = 0; i < 4; ++i) {
            transport.drop_idle();
            CHECK(run(bench.context, transport.send(post())).status == 201);
        }
        CHECK(resumed == std::vector<bool>{false, true, true, true, true});
    }
}

TEST_CASE("H4: a TLS connection whose end was announced while idle is replaced") {
    Bench bench;
    const Identity identity = bench.signed_for("DNS:kiosk.example");
    bool done = false;
    ScriptedServer server{bench.context,
                          [&](Session& session) -> awaitable<void> {
                              co_await session.request();
                              co_await session.write(created);
                              if (session.index == 0) {
                                  co_await session.write("unasked");
                              }
                              done = true;
                              co_await session.close();
                          },
                          {.identity = &identity}};
    Transport transport{bench.context, bench.options(server), bench.clock};
    for (int i = 0; i < 3; ++i) {
        done = false;
        CHECK(run(bench.context, transport.send(post())).status == 201);
        REQUIRE(run_until(bench.context, [&] { return done; }));
        bench.context.restart();
        bench.context.poll();
    }
    CHECK(server.accepted() == 3);
    CHECK(server.requests().size() == 3);
}

TEST_CASE("H25: an answer cut at any byte by the end of TLS is cut") {
    for (const bool polite : {false, true}) {
        Bench bench;
        const Identity identity = bench.signed_for("DNS:kiosk.example");
        std::size_t size = 0;
        ScriptedServer server{bench.context,
                              [&](Session& session) -> awaitable<void> {
                                  co_await session.request();
                                  co_await session.write(created.substr(0, size));
                                  if (polite) {
                                      co_await session.close();
                                  } else {
                                      session.cut();
                                  }
                              },
                              {.identity = &identity}};
        Transport transport{bench.context, bench.options(server), bench.clock};
        for (size = 0; size <= created.size(); ++size) {
            CAPTURE(size);
            const Evidence evidence = run(bench.context, transport.send(post()));
            CHECK(evidence.request_written);
            CHECK(evidence.failure == (size < created.size() ? Failure::cut : Failure::none));
        }
    }
}

TEST_CASE("H24: a device without a clock judges certificates by the release, or later") {
    Bench bench;
    bench.clock.set_utc(0);
    const Identity good = bench.signed_for("DNS:kiosk.example");
    CHECK(bench.ask(good).status == 201);
    const Identity later =
        bench.signed_for("DNS:kiosk.example", {.valid_from_s = 20 * day_s, .valid_for_s = day_s});
    const Evidence early = bench.ask(later);
    CHECK(early.failure == Failure::clock);
    CHECK(early.detail ==
          "the certificate of kiosk.example (test) is not valid before 2026-09-21T00:00:00.000Z; "
          "this device's clock says 1970-01-01T00:00:00.000Z");
    const Identity before = bench.signed_for(
        "DNS:kiosk.example", {.valid_from_s = -20 * day_s, .valid_for_s = 10 * day_s});
    CHECK(bench.ask(before).failure == Failure::clock);
}

TEST_CASE("a server's time over verified TLS becomes the floor, within its certificate") {
    Bench bench;
    bench.clock.set_utc(0);
    const Identity good = bench.signed_for("DNS:kiosk.example", {.valid_for_s = 30 * day_s});
    std::string date = "Mon, 21 Sep 2026 12:00:00 GMT";
    ScriptedServer server{bench.context,
                          [&](Session& session) -> awaitable<void> {
                              co_await session.request();
                              co_await session.write(answer(201, "{}", "Date: " + date + "\r\n"));
                          },
                          {.identity = &good}};
    auto options = bench.options(server);
    Transport transport{bench.context, options, bench.clock};
    CHECK(transport.trusted_time() == 0);
    CHECK(run(bench.context, transport.send(post())).status == 201);
    const core::UtcMs learnt = net::release_time + (20 * day_s + day_s / 2) * 1'000;
    CHECK(transport.trusted_time() == learnt);
    // A date that its own certificate does not cover is not believed, nor an earlier one.
    for (const char* wrong : {"Mon, 21 Sep 2037 12:00:00 GMT", "Sun, 20 Sep 2026 12:00:00 GMT"}) {
        date = wrong;
        transport.drop_idle();
        CHECK(run(bench.context, transport.send(post())).status == 201);
        CHECK(transport.trusted_time() == learnt);
    }
    // Kept by the application, it lets a later start judge a newer certificate.
    const Identity newer = bench.signed_for("DNS:kiosk.example",
                                            {.valid_from_s = 19 * day_s, .valid_for_s = day_s * 9});
    ScriptedServer renewed{bench.context, answer_all, {.identity = &newer}};
    options = bench.options(renewed);
    Transport restarted{bench.context, options, bench.clock};
    restarted.trust_time(learnt);
    CHECK(run(bench.context, restarted.send(post())).status == 201);
}

TEST_CASE("a client certificate is shown where one is wanted; lacking it, nothing was processed") {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        CAPTURE(version);
        Bench bench;
        const Identity identity = bench.signed_for("DNS:kiosk.example");
        const Identity mine = make_identity({.common_name = "kiosk-7"}, &bench.authority);
        mine.save_certificate(bench.folder.path() / "mine.pem");
        mine.save_key(bench.folder.path() / "mine.key");
        ScriptedServer server{bench.context,
                              answer_all,
                              {.identity = &identity,
                               .lowest = version,
                               .highest = version,
                               .clients = &bench.authority}};
        auto options = bench.options(server);
        Transport without{bench.context, options, bench.clock};
        const Evidence refused = run(bench.context, without.send(post()));
        CHECK(refused.failure == Failure::tls);
        CHECK_FALSE(refused.request_written);
        CAPTURE(refused.detail);
        CHECK(has(refused.detail, "kiosk.example"));
        CHECK(has(refused.detail, "certificate"));
        CHECK(server.requests().empty());

        options.client_certificate = bench.folder.path() / "mine.pem";
        options.client_key = bench.folder.path() / "mine.key";
        Transport with{bench.context, options, bench.clock};
        CHECK(run(bench.context, with.send(post())).status == 201);
    }
}

TEST_CASE("a client certificate that cannot be read is told before anything is sent") {
    Bench bench;
    const Identity identity = bench.signed_for("DNS:kiosk.example");
    const Identity one = make_identity({}, &bench.authority);
    const Identity two = make_identity({}, &bench.authority);
    one.save_certificate(bench.folder.path() / "one.pem");
    two.save_key(bench.folder.path() / "two.key");
    ScriptedServer server{bench.context, answer_all, {.identity = &identity}};
    auto options = bench.options(server);
    options.client_certificate = bench.folder.path() / "one.pem";
    for (const char* key : {"two.key", "nothing.key", ""}) {
        options.client_key = *key == '\0' ? "" : bench.folder.path() / key;
        Transport transport{bench.context, options, bench.clock};
        const Evidence evidence = run(bench.context, transport.send(post()));
        CHECK(evidence.failure == Failure::tls);
        CHECK(has(evidence.detail, "are not readable PEM that belongs together"));
    }
    CHECK(server.accepted() == 0);
}

TEST_CASE("an authority that is corrected is read again, without a restart") {
    Bench bench;
    const Identity identity = bench.signed_for("DNS:kiosk.example");
    const Identity stranger = make_identity({.common_name = "Stranger", .authority = true});
    ScriptedServer server{bench.context, answer_all, {.identity = &identity}};
    std::filesystem::remove(bench.ca_file);
    Transport transport{bench.context, bench.options(server), bench.clock};
    const Evidence missing = run(bench.context, transport.send(post()));
    CHECK(missing.failure == Failure::tls);
    CHECK(has(missing.detail, "the file of certificate authorities"));
    CHECK(server.accepted() == 0);
    stranger.save_certificate(bench.ca_file);
    CHECK(run(bench.context, transport.send(post())).failure == Failure::tls);
    bench.authority.save_certificate(bench.ca_file);
    CHECK(run(bench.context, transport.send(post())).status == 201);
}

TEST_CASE("abort in a stalled handshake, and destruction with TLS open") {
    Bench bench;
    const Identity identity = bench.signed_for("DNS:kiosk.example");
    bool accepted = false;
    ScriptedServer stalls{bench.context, [&](Session& session) -> awaitable<void> {
                              accepted = true;
                              co_await session.rest();
                          }};
    auto options = bench.options(stalls);
    options.endpoint.tls = true;
    std::optional<Transport> transport;
    transport.emplace(bench.context, options, bench.clock);
    std::optional<Evidence> result;
    boost::asio::co_spawn(
        bench.context, transport->send(post()),
        [&](std::exception_ptr, Evidence evidence) { result = std::move(evidence); });
    REQUIRE(run_until(bench.context, [&] { return accepted; }));
    transport->abort();
    REQUIRE(run_until(bench.context, [&] { return result.has_value(); }));
    CHECK(result->failure == Failure::aborted);
    CHECK_FALSE(result->request_written);
    ScriptedServer answers{bench.context, answer_all, {.identity = &identity}};
    transport.emplace(bench.context, bench.options(answers), bench.clock);
    CHECK(run(bench.context, transport->send(post())).status == 201);
}
