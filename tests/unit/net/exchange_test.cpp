#include <doctest/doctest.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>
#include <string>

#include "net/transport.hpp"
#include "os/clock.hpp"
#include "scripted_server.hpp"
#include "support/test_clock.hpp"

using namespace agentsight;
using namespace agentsight::test;
using namespace std::chrono_literals;
using boost::asio::awaitable;
using core::Evidence;
using core::Failure;
using net::Transport;

namespace {

const std::string created = answer(201, R"({"id":10})");

/// Answers each request of each connection with `created`.
awaitable<void> answer_all(Session& session) {
    for (;;) {
        const std::string request = co_await session.request();
        if (request.empty()) {
            co_return;
        }
        co_await session.write(created);
    }
}

struct Bench {
    boost::asio::io_context context{1};
    TestClock clock;

    Evidence send(Transport& transport, core::HttpRequest request = post()) {
        return run(context, transport.send(std::move(request)));
    }
    Evidence connect(Transport& transport) { return run(context, transport.connect()); }
};

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

/// One request to a server that runs `script`.
Evidence one(ScriptedServer::Script script) {
    Bench bench;
    ScriptedServer server{bench.context, std::move(script)};
    Transport transport{bench.context, options_for(server.url()), bench.clock};
    return bench.send(transport);
}

/// A server that answers the first request with `bytes`, then ends.
Evidence one_answer(std::string bytes) {
    return one([bytes](Session& session) -> awaitable<void> {
        co_await session.request();
        co_await session.write(bytes);
        co_await session.close();
    });
}

}  // namespace

TEST_CASE("a request whose permit is withdrawn while it waits for its connection is not sent") {
    Bench bench;
    ScriptedServer server{bench.context, answer_all};
    Transport transport{bench.context, options_for(server.url()), bench.clock};
    const auto withdrawals = std::make_shared<std::uint64_t>(7);
    core::HttpRequest request = post();
    request.permit = {.withdrawals = withdrawals, .given_at = 7};
    std::optional<Evidence> evidence;
    boost::asio::co_spawn(
        bench.context, [&]() -> awaitable<void> { evidence = co_await transport.send(request); },
        boost::asio::detached);
    bench.context.poll_one();
    ++*withdrawals;
    bench.context.restart();
    while (!evidence) {
        bench.context.run_one();
    }
    CHECK_FALSE(evidence->request_written);
    CHECK(evidence->failure == Failure::aborted);
    bench.context.restart();
    CHECK(bench.send(transport, request).failure == Failure::aborted);
    CHECK(server.requests().empty());
    request.permit.given_at = *withdrawals;
    CHECK(bench.send(transport, request).status == 201);
    request.permit = {};
    CHECK(bench.send(transport, request).status == 201);
    CHECK(server.accepted() == 1);  // what was made ready for nothing is used by the next
}

TEST_CASE("a post arrives as it should and its answer comes back whole") {
    Bench bench;
    ScriptedServer server{
        bench.context, [](Session& session) -> awaitable<void> {
            co_await session.request();
            co_await session.write(answer(
                201, R"({"id":10})",
                "Date: Mon, 15 Jan 2024 10:40:00 GMT\r\nRetry-After: 7\r\nLocation: /x\r\n"));
        }};
    auto options = options_for(server.url());
    options.endpoint.path_prefix = "/v1";
    options.credential = ApiKey{"ags_secret"};
    Transport transport{bench.context, options, bench.clock};
    const Evidence evidence = bench.send(transport, post("{\"a\":1}"));
    CHECK(evidence.failure == Failure::none);
    CHECK(evidence.request_written);
    CHECK(evidence.status == 201);
    CHECK(evidence.json);
    CHECK(evidence.body == R"({"id":10})");
    CHECK(evidence.date == 1'705'315'200'000);
    CHECK(evidence.retry_after == "7");
    CHECK(evidence.location == "/x");
    CHECK(evidence.detail.empty());
    REQUIRE(server.requests().size() == 1);
    CHECK(server.requests()[0] ==
          "POST /v1/api/conversation-feedbacks/ HTTP/1.1\r\nHost: 127.0.0.1:" +
              std::to_string(server.port()) +
              "\r\nUser-Agent: agentsight-outbox/test\r\nAuthorization: Api-Key ags_secret\r\n"
              "Accept: application/json\r\nAccept-Encoding: identity\r\n"
              "Idempotency-Key: 0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000\r\n"
              "Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
}

TEST_CASE("H36: a key that the server repeats is blotted out of what it said") {
    for (const bool changed : {false, true}) {
        Bench bench;
        Transport* target = nullptr;
        ScriptedServer server{
            bench.context, [&](Session& session) -> awaitable<void> {
                co_await session.request();
                if (changed) {  // while the answer is under way
                    target->set_credential(ApiKey{"ags_another"});
                }
                co_await session.write(answer(401, R"({"detail":"ags_secret is no key"})",
                                              "Location: /login?key=ags_secret\r\n"));
            }};
        auto options = options_for(server.url());
        options.credential = ApiKey{"ags_secret"};
        Transport transport{bench.context, options, bench.clock};
        target = &transport;
        const Evidence evidence = bench.send(transport);
        CHECK(evidence.status == 401);
        CHECK(evidence.body == R"({"detail":"********** is no key"})");
        CHECK(evidence.location == "/login?key=**********");
    }
}

TEST_CASE("a get carries no body, and the credential of the moment") {
    Bench bench;
    ScriptedServer server{bench.context, answer_all};
    Transport transport{bench.context, options_for(server.url()), bench.clock};
    bench.send(transport, get("/api/feedbacks/?page=2"));
    transport.set_credential(Jwt{"token"});
    bench.send(transport, get());
    REQUIRE(server.requests().size() == 2);
    CHECK(server.requests()[0].starts_with("GET /api/feedbacks/?page=2 HTTP/1.1\r\n"));
    CHECK_FALSE(has(server.requests()[0], "Authorization"));
    CHECK_FALSE(has(server.requests()[0], "Content-"));
    CHECK(has(server.requests()[1], "\r\nAuthorization: Bearer token\r\n"));
    CHECK(server.accepted() == 1);
}

TEST_CASE("H6: an answer cut at any byte is cut, never a success") {
    const std::string chunked =
        "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\n{\"id\"\r\n4\r\n:10}\r\n0\r\n\r\n";
    for (const std::string& whole : {created, chunked}) {
        Bench bench;
        std::size_t size = 0;
        bool by_reset = false;
        ScriptedServer server{bench.context, [&](Session& session) -> awaitable<void> {
                                  co_await session.request();
                                  co_await session.write(whole.substr(0, size));
                                  by_reset ? session.reset() : session.cut();
                              }};
        Transport transport{bench.context, options_for(server.url()), bench.clock};
        for (size = 0; size <= whole.size(); ++size) {
            CAPTURE(size);
            for (const bool reset : {false, true}) {
                by_reset = reset;
                const Evidence evidence = bench.send(transport);
                CHECK(evidence.request_written);
                if (size < whole.size()) {
                    CHECK(evidence.failure == Failure::cut);
                    CHECK(evidence.status == 0);
                    CHECK(evidence.body.empty());
                } else if (!reset) {  // a reset may overtake the last byte
                    CHECK(evidence.failure == Failure::none);
                    CHECK(evidence.status == 201);
                }
            }
        }
    }
}

TEST_CASE("answers that are not what was asked for") {
    const Evidence endless = one_answer("HTTP/1.1 201 Created\r\n\r\n{\"id\":10}");
    CHECK(endless.failure == Failure::malformed);
    CHECK(endless.status == 0);
    CHECK(one_answer("HTTP/1.1 101 Switching\r\n\r\n").failure == Failure::malformed);
    CHECK(one_answer("220 smtp ready\r\n").failure == Failure::malformed);
    CHECK(one_answer(answer(200, "{}", "Content-Encoding: gzip\r\n")).failure ==
          Failure::malformed);
    const Evidence interim = one_answer("HTTP/1.1 100 Continue\r\n\r\n" + created);
    CHECK(interim.status == 201);
}

TEST_CASE("H18: a flood ends at the limits") {
    const auto flood = [](std::string head, char with) {
        return one([head, with](Session& session) -> awaitable<void> {
            co_await session.request();
            co_await session.write(head);
            const std::string block(64 * 1024, with);
            for (int i = 0; i < 64; ++i) {
                co_await session.write(block);
            }
        });
    };
    CHECK(flood("HTTP/1.1 200 OK\r\nX: ", 'x').failure == Failure::too_large);
    CHECK(flood("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", 'x').failure ==
          Failure::too_large);
    CHECK(flood("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n", 'x').failure ==
          Failure::too_large);
    const Evidence chatter = one([](Session& session) -> awaitable<void> {
        co_await session.request();
        for (int i = 0; i < 100; ++i) {
            co_await session.write("HTTP/1.1 103 Early Hints\r\n\r\n");
        }
    });
    CHECK(chatter.failure == Failure::malformed);
}

TEST_CASE("H18: an answer that drips is given up long before the deadline, one that flows is not") {
    for (const bool drips : {true, false}) {
        CAPTURE(drips);
        Bench bench;
        const std::string body = R"({"id":")" + std::string(20, '1') + "\"}";
        const std::string whole = answer(201, body);
        ScriptedServer server{bench.context, [&](Session& session) -> awaitable<void> {
                                  co_await session.request();
                                  for (const char byte : whole) {
                                      boost::asio::steady_timer pace{bench.context, 5ms};
                                      co_await pace.async_wait(boost::asio::use_awaitable);
                                      co_await session.write(std::string(1, byte));
                                  }
                              }};
        auto options = options_for(server.url());
        options.request_timeout = 10min;
        options.least_rate = {.after = 50ms, .bytes_a_second = drips ? 10'000 : 1};
        Transport transport{bench.context, options, bench.clock};
        const Evidence evidence = run(bench.context, transport.send(post()));
        CHECK(evidence.request_written);
        CHECK(evidence.failure == (drips ? Failure::timeout : Failure::none));
        CHECK((evidence.detail.find("slower than 10000 bytes a second") != std::string::npos) ==
              drips);
    }
}

TEST_CASE("a server that never answers, or drips, ends by the deadline") {
    for (const bool drips : {false, true}) {
        Bench bench;
        ScriptedServer server{bench.context, [&](Session& session) -> awaitable<void> {
                                  co_await session.request();
                                  co_await session.write(created.substr(0, 30));
                                  for (std::size_t i = 30; drips && i < created.size() - 1; ++i) {
                                      boost::asio::steady_timer pace{bench.context, 20ms};
                                      co_await pace.async_wait(boost::asio::use_awaitable);
                                      co_await session.write(created.substr(i, 1));
                                  }
                                  co_await session.rest();
                              }};
        auto options = options_for(server.url());
        options.request_timeout = 150ms;
        Transport transport{bench.context, options, bench.clock};
        const auto began = std::chrono::steady_clock::now();
        const Evidence evidence = bench.send(transport);
        const auto took = std::chrono::steady_clock::now() - began;
        CHECK(evidence.failure == Failure::timeout);
        CHECK(evidence.request_written);
        CHECK(has(evidence.detail, "not done within 150 ms (waiting for the answer"));
        CHECK(took >= 150ms);
        CHECK(took < 5s);
    }
}

TEST_CASE("a request the server does not read ends by the deadline") {
    Bench bench;
    ScriptedServer server{
        bench.context, [](Session&) -> awaitable<void> {
            boost::asio::steady_timer never{co_await boost::asio::this_coro::executor, 1h};
            co_await never.async_wait(boost::asio::use_awaitable);
        }};
    auto options = options_for(server.url());
    options.request_timeout = 150ms;
    Transport transport{bench.context, options, bench.clock};
    const Evidence evidence = bench.send(transport, post(std::string(32 << 20, 'x')));
    CHECK(evidence.failure == Failure::timeout);
    CHECK(evidence.request_written);
    CHECK(has(evidence.detail, "sending the request"));
}

TEST_CASE("a large request arrives whole") {
    Bench bench;
    ScriptedServer server{bench.context, answer_all};
    Transport transport{bench.context, options_for(server.url()), bench.clock};
    const std::string body = "\"" + std::string(8 << 20, 'x') + "\"";
    REQUIRE(bench.send(transport, post(body)).status == 201);
    CHECK(server.requests()[0].ends_with("\r\n\r\n" + body));
    CHECK(bench.send(transport).status == 201);
    CHECK(server.accepted() == 1);
}

TEST_CASE("a refusal that comes before a large body was taken is read") {
    Bench bench;
    ScriptedServer server{bench.context, [](Session& session) -> awaitable<void> {
                              co_await session.write(answer(413, R"({"detail":"too large"})",
                                                            "Connection: close\r\n"));
                              session.cut();
                          }};
    auto options = options_for(server.url());
    options.request_timeout = 5s;
    Transport transport{bench.context, options, bench.clock};
    const Evidence evidence = bench.send(transport, post(std::string(32 << 20, 'x')));
    CHECK(evidence.request_written);
    // The reset that follows may take the answer with it; it is never a timeout.
    CHECK((evidence.status == 413 || evidence.failure == Failure::cut));
}

TEST_CASE("connections are reused, one after another") {
    Bench bench;
    ScriptedServer server{bench.context, answer_all};
    Transport transport{bench.context, options_for(server.url()), bench.clock};
    CHECK(bench.connect(transport).failure == Failure::none);
    CHECK_FALSE(bench.connect(transport).request_written);
    for (int i = 0; i < 5; ++i) {
        CHECK(bench.send(transport).status == 201);
    }
    CHECK(server.accepted() == 1);
    transport.drop_idle();
    CHECK(bench.send(transport).status == 201);
    CHECK(server.accepted() == 2);
}

TEST_CASE("H11: after 408, 421 and 425 the next request goes over a new connection") {
    for (const int status : {408, 421, 425, 404}) {
        CAPTURE(status);
        Bench bench;
        ScriptedServer server{bench.context, [&](Session& session) -> awaitable<void> {
                                  while (!(co_await session.request()).empty()) {
                                      co_await session.write(answer(status, "{}"));
                                  }
                              }};
        Transport transport{bench.context, options_for(server.url()), bench.clock};
        CHECK(bench.send(transport).status == status);
        CHECK(bench.send(transport).status == status);
        CHECK(server.accepted() == (status == 404 ? 1 : 2));
    }
}

TEST_CASE("connections that end with their answer are not reused") {
    struct Case {
        const char* what;
        std::string bytes;
    };
    const Case cases[] = {
        {"close", answer(201, R"({"id":1})", "Connection: close\r\n")},
        {"1.0", "HTTP/1.0 201 Created\r\nContent-Length: 2\r\n\r\n{}"},
        {"unsolicited bytes", created + "HTTP/1.1 408 Timeout\r\n\r\n"},
        {"a second answer", created + created},
        {"a hint of no time", answer(201, "{}", "Keep-Alive: timeout=1\r\n")},
    };
    for (const Case& one : cases) {
        CAPTURE(one.what);
        Bench bench;
        ScriptedServer server{bench.context, [&](Session& session) -> awaitable<void> {
                                  for (;;) {
                                      const std::string request = co_await session.request();
                                      if (request.empty()) {
                                          co_return;
                                      }
                                      co_await session.write(one.bytes);
                                  }
                              }};
        Transport transport{bench.context, options_for(server.url()), bench.clock};
        CHECK(bench.send(transport).status == 201);
        CHECK(bench.send(transport).status == 201);
        CHECK(server.accepted() == 2);
    }
}

TEST_CASE("H2: a connection idle for 4 s, or up to a second before the hint, is not reused") {
    struct Case {
        std::string fields;
        std::int64_t idle_ms;
        bool reused;
    };
    const Case cases[] = {
        {"", 3'999, true},
        {"", 4'000, false},
        {"Keep-Alive: timeout=3\r\n", 1'999, true},
        {"Keep-Alive: timeout=3\r\n", 2'000, false},
        {"Keep-Alive: timeout=75\r\n", 3'999, true},
        {"Keep-Alive: timeout=75\r\n", 4'000, false},
    };
    for (const Case& one : cases) {
        CAPTURE(one.fields);
        CAPTURE(one.idle_ms);
        Bench bench;
        ScriptedServer server{bench.context, [&](Session& session) -> awaitable<void> {
                                  for (;;) {
                                      const std::string request = co_await session.request();
                                      if (request.empty()) {
                                          co_return;
                                      }
                                      co_await session.write(answer(201, "{}", one.fields));
                                  }
                              }};
        Transport transport{bench.context, options_for(server.url()), bench.clock};
        bench.send(transport);
        bench.clock.advance(one.idle_ms);
        bench.send(transport);
        CHECK(server.accepted() == (one.reused ? 1 : 2));
    }
}

TEST_CASE("a proof of idleness does not make a connection younger") {
    Bench bench;
    ScriptedServer server{bench.context, answer_all};
    Transport transport{bench.context, options_for(server.url()), bench.clock};
    bench.send(transport);
    bench.clock.advance(3'000);
    bench.connect(transport);
    bench.clock.advance(1'000);
    bench.send(transport);
    CHECK(server.accepted() == 2);
}

TEST_CASE("H4: a connection that was closed or spoke while idle is replaced, nothing lost") {
    for (const bool speaks : {false, true}) {
        CAPTURE(speaks);
        Bench bench;
        bool done = false;
        ScriptedServer server{bench.context, [&](Session& session) -> awaitable<void> {
                                  if (session.index > 0) {
                                      co_await answer_all(session);
                                      co_return;
                                  }
                                  co_await session.request();
                                  co_await session.write(created);
                                  if (speaks) {
                                      co_await session.write(answer(408, "{}"));
                                  } else {
                                      session.cut();
                                  }
                                  done = true;
                                  const std::string rest = co_await session.rest();
                                  CHECK(rest.empty());
                              }};
        Transport transport{bench.context, options_for(server.url()), bench.clock};
        CHECK(bench.send(transport).status == 201);
        REQUIRE(run_until(bench.context, [&] { return done; }));
        CHECK(bench.send(transport).status == 201);
        CHECK(server.accepted() == 2);
        CHECK(server.requests().size() == 2);
    }
}

TEST_CASE("H1, H3: a reply lost on a reused connection is written, and not sent again") {
    Bench bench;
    ScriptedServer server{bench.context, [](Session& session) -> awaitable<void> {
                              co_await session.request();
                              co_await session.write(created);
                              co_await session.request();
                              session.reset();
                          }};
    Transport transport{bench.context, options_for(server.url()), bench.clock};
    CHECK(bench.send(transport).status == 201);
    const Evidence lost = bench.send(transport);
    CHECK(lost.failure == Failure::cut);
    CHECK(lost.request_written);
    CHECK(has(lost.detail, "ended before the answer was complete"));
    CHECK(server.requests().size() == 2);
    CHECK(server.accepted() == 1);
}

TEST_CASE("a request moved into a co_await expression arrives whole") {
    // g++ 12 destroys some temporaries of such expressions twice; the worker has this one.
    Bench bench;
    ScriptedServer server{bench.context, answer_all};
    Transport transport{bench.context, options_for(server.url()), bench.clock};
    const std::string body = "\"" + std::string(200, 'b') + "\"";
    const auto as_the_worker_does = [&]() -> awaitable<Evidence> {
        core::HttpRequest request = post(body);
        Evidence evidence;
        evidence = co_await transport.send(std::move(request));
        co_return evidence;
    };
    CHECK(run(bench.context, as_the_worker_does()).status == 201);
    REQUIRE(server.requests().size() == 1);
    CHECK(server.requests()[0].ends_with(body));
}

TEST_CASE("several sends go at once, and no more than there are connections") {
    Bench bench;
    int open = 0;
    int most = 0;
    ScriptedServer server{bench.context, [&](Session& session) -> awaitable<void> {
                              for (;;) {
                                  const std::string request = co_await session.request();
                                  if (request.empty()) {
                                      co_return;
                                  }
                                  most = std::max(most, ++open);
                                  // Lets the others arrive: a few turns of the loop.
                                  for (int turn = 0; turn < 50; ++turn) {
                                      boost::asio::steady_timer now{bench.context, 0ms};
                                      co_await now.async_wait(boost::asio::use_awaitable);
                                  }
                                  --open;
                                  co_await session.write(created);
                              }
                          }};
    auto options = options_for(server.url());
    options.connections = 3;
    Transport transport{bench.context, options, bench.clock};
    for (int round = 0; round < 3; ++round) {
        std::vector<awaitable<Evidence>> work;
        for (int i = 0; i < 10; ++i) {
            work.push_back(transport.send(post()));
        }
        for (const Evidence& evidence : run_all(bench.context, std::move(work))) {
            CHECK(evidence.status == 201);
        }
    }
    CHECK(most == 3);
    CHECK(server.accepted() == 3);
}

TEST_CASE("waiting for a free connection ends by the deadline, and gives nothing away") {
    Bench bench;
    ScriptedServer server{bench.context, [](Session& session) -> awaitable<void> {
                              co_await session.request();
                              co_await session.rest();
                          }};
    auto options = options_for(server.url());
    options.connections = 1;
    options.request_timeout = 100ms;
    Transport transport{bench.context, options, bench.clock};
    std::vector<awaitable<Evidence>> work;
    work.push_back(transport.send(post()));
    work.push_back(transport.send(post()));
    const auto results = run_all(bench.context, std::move(work));
    CHECK(results[0].failure == Failure::timeout);
    CHECK(results[0].request_written);
    CHECK(results[1].failure == Failure::timeout);
    CHECK_FALSE(results[1].request_written);
    CHECK(server.requests().size() == 1);
}

TEST_CASE("abort ends everything at once and tells the truth about what was written") {
    Bench bench;
    int asked = 0;
    ScriptedServer server{bench.context, [&](Session& session) -> awaitable<void> {
                              co_await session.request();
                              ++asked;
                              co_await session.rest();
                              ++asked;
                          }};
    auto options = options_for(server.url());
    options.connections = 2;
    Transport transport{bench.context, options, bench.clock};
    std::vector<Evidence> results;
    for (int i = 0; i < 3; ++i) {
        boost::asio::co_spawn(
            bench.context, transport.send(post()),
            [&](std::exception_ptr, Evidence evidence) { results.push_back(std::move(evidence)); });
    }
    REQUIRE(run_until(bench.context, [&] { return asked == 2; }));
    transport.abort();
    REQUIRE(run_until(bench.context, [&] { return results.size() == 3 && asked == 4; }));
    CHECK(std::count_if(results.begin(), results.end(), [](const Evidence& evidence) {
              return evidence.failure == Failure::aborted && evidence.request_written;
          }) == 2);
    CHECK(std::count_if(results.begin(), results.end(), [](const Evidence& evidence) {
              return evidence.failure == Failure::aborted && !evidence.request_written;
          }) == 1);
    // It remains usable.
    boost::asio::co_spawn(bench.context, transport.send(post()), boost::asio::detached);
    CHECK(run_until(bench.context, [&] { return asked == 5; }));
}

TEST_CASE("a transport may be destroyed in the middle of an exchange") {
    Bench bench;
    bool asked = false;
    ScriptedServer server{bench.context, [&](Session& session) -> awaitable<void> {
                              co_await session.request();
                              asked = true;
                              co_await session.rest();
                          }};
    std::optional<Transport> transport;
    transport.emplace(bench.context, options_for(server.url()), bench.clock);
    std::optional<Evidence> result;
    boost::asio::co_spawn(
        bench.context, transport->send(post()),
        [&](std::exception_ptr, Evidence evidence) { result = std::move(evidence); });
    REQUIRE(run_until(bench.context, [&] { return asked; }));
    SUBCASE("and its exchange ends") {
        transport.reset();
        REQUIRE(run_until(bench.context, [&] { return result.has_value(); }));
        CHECK(result->failure == Failure::aborted);
        CHECK(result->request_written);
    }
    SUBCASE("and the loop need not run again") {
        transport.reset();
    }
}

TEST_CASE("no credential goes over plain http to another machine") {
    Bench bench;
    core::Url endpoint;
    endpoint.host = "192.0.2.1";  // TEST-NET-1: nobody may be asked
    endpoint.port = 80;
    auto options = options_for(endpoint);
    options.credential = ApiKey{"ags_secret"};
    Transport transport{bench.context, options, bench.clock};
    for (const Evidence& evidence : {bench.send(transport), bench.connect(transport)}) {
        CHECK(evidence.failure == Failure::tls);
        CHECK_FALSE(evidence.request_written);
        CHECK(has(evidence.detail, "refusing to send a credential without TLS"));
        CHECK_FALSE(has(evidence.detail, "ags_secret"));
    }
}

TEST_CASE("allow_insecure, or having no credential, permits plain http") {
    Bench bench;
    ScriptedServer server{bench.context, answer_all};
    auto options = options_for(server.url("kiosk.example"));
    options.resolve = [](const std::string&, boost::system::error_code&) {
        return std::vector{boost::asio::ip::make_address("127.0.0.1")};
    };
    Transport without{bench.context, options, bench.clock};
    CHECK(bench.send(without).status == 201);
    options.credential = ApiKey{"ags_secret"};
    Transport refusing{bench.context, options, bench.clock};
    CHECK(bench.send(refusing).failure == Failure::tls);
    options.allow_insecure = true;
    Transport allowed{bench.context, options, bench.clock};
    CHECK(bench.send(allowed).status == 201);
    CHECK(server.requests().size() == 2);
}

TEST_CASE("a name that claims to be this machine and is not gets no credential") {
    Bench bench;
    core::Url endpoint;
    endpoint.host = "localhost";
    endpoint.port = 80;
    auto options = options_for(endpoint);
    options.credential = ApiKey{"ags_secret"};
    options.resolve = [](const std::string&, boost::system::error_code&) {
        return std::vector{boost::asio::ip::make_address("192.0.2.1")};
    };
    Transport transport{bench.context, options, bench.clock};
    const Evidence evidence = bench.send(transport);
    CHECK(evidence.failure == Failure::tls);
    CHECK(has(evidence.detail, "localhost is not this machine"));
}

TEST_CASE("a target with a line break is not sent") {
    Bench bench;
    ScriptedServer server{bench.context, answer_all};
    Transport transport{bench.context, options_for(server.url()), bench.clock};
    const Evidence evidence = bench.send(transport, get("/api/\r\nX: y"));
    CHECK(evidence.failure == Failure::malformed);
    CHECK_FALSE(evidence.request_written);
    CHECK(server.requests().empty());
}

TEST_CASE("nothing is armed once nothing is kept: the loop runs out of work") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    std::optional<ScriptedServer> server;
    server.emplace(context, [](Session& session) -> awaitable<void> {
        co_await session.request();
        co_await session.write(answer(201, "{}", "Connection: close\r\n"));
        co_await session.close();
    });
    Transport transport{context, options_for(server->url()), clock};
    CHECK(run(context, transport.send(post())).status == 201);
    server.reset();
    context.restart();
    context.run_for(10s);
    CHECK(context.stopped());
}

TEST_CASE("H27: writing to a peer that is gone raises no signal") {
    Bench bench;
    ScriptedServer server{bench.context, [](Session& session) -> awaitable<void> {
                              session.reset();
                              co_return;
                          }};
    auto options = options_for(server.url());
    options.request_timeout = 10s;
    Transport transport{bench.context, options, bench.clock};
    for (int i = 0; i < 20; ++i) {
        const Evidence evidence = bench.send(transport, post(std::string(1 << 20, 'x')));
        CHECK(evidence.failure != Failure::none);
        CHECK(evidence.failure != Failure::timeout);
    }
}
