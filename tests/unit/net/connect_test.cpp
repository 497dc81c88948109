#include <doctest/doctest.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>
#include <latch>
#include <optional>

#include "net/resolver.hpp"
#include "net/transport.hpp"
#include "os/clock.hpp"
#include "scripted_server.hpp"

using namespace agentsight;
using namespace agentsight::test;
using namespace std::chrono_literals;
using boost::asio::awaitable;
using boost::asio::ip::address;
using boost::asio::ip::make_address;
using boost::asio::ip::tcp;
using core::Evidence;
using core::Failure;
using net::Transport;

namespace {

awaitable<void> answer_all(Session& session) {
    for (;;) {
        const std::string request = co_await session.request();
        if (request.empty()) {
            co_return;
        }
        co_await session.write(answer(201, R"({"id":10})"));
    }
}

bool has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

/// Accepts nothing and has its queue full, so that the kernel drops every further SYN: to
/// a client it looks like a network that swallows packets.
class BlackHole {
  public:
    BlackHole(boost::asio::io_context& context, const std::string& where, std::uint16_t port = 0)
        : acceptor_(context) {
        const tcp::endpoint endpoint{make_address(where), port};
        acceptor_.open(endpoint.protocol());
        acceptor_.set_option(tcp::acceptor::reuse_address{true});
        acceptor_.bind(endpoint);
        acceptor_.listen(0);
        fillers_.reserve(4);
        for (int i = 0; i < 4; ++i) {
            // The SYN leaves when the operation starts; its end does not matter.
            fillers_.emplace_back(context).async_connect(acceptor_.local_endpoint(),
                                                         [](const boost::system::error_code&) {});
        }
    }
    std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

  private:
    tcp::acceptor acceptor_;
    std::vector<tcp::socket> fillers_;
};

core::Url url_of(const std::string& host, std::uint16_t port) {
    core::Url url;
    url.host = host;
    url.port = port;
    return url;
}

net::ResolveFunction always(std::vector<std::string> list) {
    return [list](const std::string&, boost::system::error_code&) {
        std::vector<address> found;
        for (const auto& text : list) {
            found.push_back(make_address(text));
        }
        return found;
    };
}

}  // namespace

TEST_CASE("families alternate, the first one first, and their number is bounded") {
    const auto list = [](std::initializer_list<const char*> texts) {
        std::vector<address> found;
        for (const char* text : texts) {
            found.push_back(make_address(text));
        }
        return found;
    };
    CHECK(net::interleave(list({"::1", "::2", "::3", "1.1.1.1", "2.2.2.2"}), 8) ==
          list({"::1", "1.1.1.1", "::2", "2.2.2.2", "::3"}));
    CHECK(net::interleave(list({"1.1.1.1", "::1"}), 8) == list({"1.1.1.1", "::1"}));
    CHECK(net::interleave(list({"1.1.1.1", "2.2.2.2", "::1"}), 2) == list({"1.1.1.1", "::1"}));
    CHECK(net::interleave({}, 8).empty());
}

TEST_CASE("a refused connection is told at once, and nothing was written") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    std::uint16_t port = 0;
    {
        const tcp::acceptor closed{context, {make_address("127.0.0.1"), 0}};
        port = closed.local_endpoint().port();
    }
    Transport transport{context, options_for(url_of("127.0.0.1", port)), clock};
    const Evidence evidence = run(context, transport.send(post()));
    CHECK(evidence.failure == Failure::connect);
    CHECK_FALSE(evidence.request_written);
    CHECK(evidence.detail ==
          "no connection to 127.0.0.1:" + std::to_string(port) + ": Connection refused");
}

TEST_CASE("a network that swallows packets ends by the connect deadline") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    const BlackHole hole{context, "127.0.0.1"};
    auto options = options_for(url_of("127.0.0.1", hole.port()));
    options.connect_timeout = 100ms;
    Transport transport{context, options, clock};
    const auto began = std::chrono::steady_clock::now();
    const Evidence evidence = run(context, transport.connect());
    CHECK(evidence.failure == Failure::timeout);
    CHECK(has(evidence.detail, "not done within 100 ms (connecting"));
    CHECK(std::chrono::steady_clock::now() - began < 5s);
}

TEST_CASE("H30: an address that swallows packets costs a quarter of a second") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    ScriptedServer server{context, answer_all, {}, "127.0.0.1"};
    const BlackHole hole{context, "127.0.0.2", server.port()};
    auto options = options_for(server.url("kiosk.example"));
    options.resolve = always({"127.0.0.2", "127.0.0.1"});
    Transport transport{context, options, clock};
    const auto began = std::chrono::steady_clock::now();
    CHECK(run(context, transport.send(post())).status == 201);
    const auto took = std::chrono::steady_clock::now() - began;
    CHECK(took >= 240ms);
    CHECK(took < 5s);
}

TEST_CASE("an address that refuses costs nothing") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    ScriptedServer server{context, answer_all, {}, "127.0.0.1"};
    auto options = options_for(server.url("kiosk.example"));
    options.resolve = always({"127.0.0.2", "127.0.0.3", "127.0.0.1"});
    options.connect_timeout = 200ms;  // less than one stagger
    Transport transport{context, options, clock};
    CHECK(run(context, transport.send(post())).status == 201);
}

TEST_CASE("where all addresses fail, one sentence says so") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    std::uint16_t port = 0;
    {
        const tcp::acceptor closed{context, {make_address("127.0.0.1"), 0}};
        port = closed.local_endpoint().port();
    }
    auto options = options_for(url_of("kiosk.example", port));
    options.resolve = always({"127.0.0.2", "127.0.0.1"});
    Transport transport{context, options, clock};
    const Evidence evidence = run(context, transport.send(post()));
    CHECK(evidence.failure == Failure::connect);
    CHECK(evidence.detail == "no connection to kiosk.example:" + std::to_string(port) +
                                 ": Connection refused (2 addresses)");
}

TEST_CASE("H31: a name without an address is a failure to resolve") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    auto options = options_for(url_of("kiosk.example", 80));
    options.resolve = [](const std::string&, boost::system::error_code& error) {
        error = boost::asio::error::host_not_found_try_again;
        return std::vector<address>{};
    };
    Transport transport{context, options, clock};
    const Evidence evidence = run(context, transport.send(post()));
    CHECK(evidence.failure == Failure::resolve);
    CHECK_FALSE(evidence.request_written);
    CHECK(evidence.detail.starts_with("no address for kiosk.example: "));
}

TEST_CASE("the system's resolver knows localhost") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    ScriptedServer server{context, answer_all};
    Transport transport{context, options_for(server.url("localhost")), clock};
    CHECK(run(context, transport.send(post())).status == 201);
}

TEST_CASE("callers who look for one name at once share one lookup") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    ScriptedServer server{context, answer_all};
    auto options = options_for(server.url("kiosk.example"));
    std::atomic<int> lookups = 0;
    std::promise<void> all_asked;
    options.resolve = [&, asked = all_asked.get_future().share()](const std::string&,
                                                                  boost::system::error_code&) {
        ++lookups;
        asked.wait();
        return std::vector{make_address("127.0.0.1")};
    };
    Transport transport{context, options, clock};
    std::vector<awaitable<Evidence>> work;
    for (int i = 0; i < 4; ++i) {
        work.push_back(transport.send(post()));
    }
    // Posted behind the four coroutines' start.
    boost::asio::steady_timer last{context, 1ms};
    last.async_wait([&](const boost::system::error_code&) { all_asked.set_value(); });
    for (const Evidence& evidence : run_all(context, std::move(work))) {
        CHECK(evidence.status == 201);
    }
    CHECK(lookups == 1);
}

TEST_CASE("H32: a resolver that hangs delays neither the deadline nor the destructor") {
    std::promise<void> release;
    auto hung = release.get_future().share();
    // One lookup of the transport's, and as many as the other resolver may have.
    const auto ended = std::make_shared<std::latch>(net::Resolver::most_lookups + 1);
    {
        boost::asio::io_context context{1};
        const os::SystemClock clock;
        auto options = options_for(url_of("kiosk.example", 80));
        options.connect_timeout = 50ms;
        options.resolve = [hung, ended](const std::string&, boost::system::error_code&) {
            hung.wait();
            ended->count_down();
            return std::vector{make_address("127.0.0.1")};
        };
        Transport transport{context, options, clock};
        const Evidence evidence = run(context, transport.send(post()));
        CHECK(evidence.failure == Failure::timeout);
        CHECK_FALSE(evidence.request_written);
        CHECK(has(evidence.detail, "looking up the name"));

        // Each name has its own lookup, but their number is bounded.
        net::Resolver resolver{context, options.resolve};
        net::Leash leash;
        std::vector<boost::system::error_code> errors;
        for (int i = 0; i < net::Resolver::most_lookups + 1; ++i) {
            boost::asio::co_spawn(
                context, resolver.resolve("host" + std::to_string(i), leash),
                [&](std::exception_ptr, net::Addresses found) { errors.push_back(found.error); });
        }
        REQUIRE(run_until(context, [&] { return errors.size() == 1; }));
        CHECK(errors[0] == boost::asio::error::try_again);

        boost::asio::co_spawn(context, transport.send(post()), boost::asio::detached);
        context.restart();
        context.poll();
        const auto began = std::chrono::steady_clock::now();
        transport.abort();
        CHECK(std::chrono::steady_clock::now() - began < 1s);
    }  // all destroyed while four threads hang
    release.set_value();
    ended->wait();
}

TEST_CASE("abort ends a lookup and a connection attempt") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    const BlackHole hole{context, "127.0.0.1"};
    auto options = options_for(url_of("kiosk.example", hole.port()));
    std::promise<void> release;
    std::atomic<bool> asked = false;
    options.resolve = [&, hung = release.get_future().share()](const std::string&,
                                                               boost::system::error_code&) {
        if (!asked.exchange(true)) {
            hung.wait();
        }
        return std::vector{make_address("127.0.0.1")};
    };
    Transport transport{context, options, clock};
    for (int i = 0; i < 2; ++i) {
        std::optional<Evidence> result;
        boost::asio::co_spawn(
            context, transport.send(post()),
            [&](std::exception_ptr, Evidence evidence) { result = std::move(evidence); });
        boost::asio::steady_timer soon{context, 20ms};
        soon.async_wait([&](const boost::system::error_code&) { transport.abort(); });
        REQUIRE(run_until(context, [&] { return result.has_value(); }));
        CHECK(result->failure == Failure::aborted);
        CHECK_FALSE(result->request_written);
        CHECK(has(result->detail, i == 0 ? "looking up the name" : "connecting"));
        if (i == 0) {
            // The hung lookup of before must end, or the next send would join it.
            release.set_value();
            boost::asio::steady_timer settle{context, 20ms};
            bool settled = false;
            settle.async_wait([&](const boost::system::error_code&) { settled = true; });
            REQUIRE(run_until(context, [&] { return settled; }));
        }
    }
}
