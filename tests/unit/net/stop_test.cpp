#include <doctest/doctest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdlib>
#include <future>
#include <optional>
#include <random>
#include <thread>

#include "net/transport.hpp"
#include "os/clock.hpp"
#include "scripted_server.hpp"

/// Stopping at random moments of exchanges with servers that stall in all the ways there are.

using namespace agentsight;
using namespace agentsight::test;
using namespace std::chrono_literals;
using boost::asio::awaitable;
using core::Evidence;
using core::Failure;
using net::Transport;

namespace {

unsigned seed() {
    const char* given = std::getenv("AGENTSIGHT_SEED");
    return given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10))
                            : std::random_device{}();
}

enum class Stall { resolver, reads_nothing, answers_nothing, half_head, half_body, drips, none };
constexpr int stalls = 7;

awaitable<void> stall(Session& session, Stall how) {
    const std::string created = answer(201, R"({"id":10})");
    for (;;) {
        if (how == Stall::reads_nothing) {
            boost::asio::steady_timer never{co_await boost::asio::this_coro::executor, 1h};
            co_await never.async_wait(boost::asio::use_awaitable);
        }
        const std::string request = co_await session.request();
        if (request.empty()) {
            co_return;
        }
        switch (how) {
            case Stall::half_head:
                co_await session.write(created.substr(0, 20));
                break;
            case Stall::half_body:
                co_await session.write(created.substr(0, created.size() - 3));
                break;
            case Stall::drips:
                for (std::size_t i = 0; i + 1 < created.size(); ++i) {
                    co_await session.write(created.substr(i, 1));
                }
                break;
            case Stall::none:
                co_await session.write(created);
                break;
            default:
                break;
        }
    }
}

}  // namespace

TEST_CASE("P1: stopping at any moment ends at once, and what was written is told truthfully") {
    const unsigned used = seed();
    CAPTURE(used);
    std::mt19937 random{used};
    std::promise<void> release;
    const auto hung = release.get_future().share();
    std::chrono::steady_clock::duration slowest{};
    for (int round = 0; round < 1'000; ++round) {
        CAPTURE(round);
        const auto how = static_cast<Stall>(random() % stalls);
        boost::asio::io_context context{1};
        const os::SystemClock clock;
        ScriptedServer server{context, [how](Session& session) { return stall(session, how); }};
        auto options = options_for(server.url("kiosk.example"));
        options.connections = 1 + random() % 4;
        options.resolve = [how, hung](const std::string&, boost::system::error_code&) {
            if (how == Stall::resolver) {
                hung.wait();
            }
            return std::vector{boost::asio::ip::make_address("127.0.0.1")};
        };
        std::optional<Transport> transport;
        transport.emplace(context, options, clock);
        const std::size_t calls = 1 + random() % 6;
        std::vector<Evidence> results;
        for (std::size_t i = 0; i < calls; ++i) {
            const bool large = how == Stall::reads_nothing && i % 2 == 0;
            boost::asio::co_spawn(context,
                                  transport->send(post(large ? std::string(4 << 20, 'x') : "{}")),
                                  [&](std::exception_ptr, Evidence evidence) {
                                      results.push_back(std::move(evidence));
                                  });
        }
        context.poll();  // all have begun: abort() ends what is in progress, not what comes
        // The moment: after some number of the loop's steps, so that any may be the one.
        for (int steps = static_cast<int>(random() % 80); steps > 0; --steps) {
            context.poll_one();
            std::this_thread::yield();  // to the resolver's thread
        }
        const auto began = std::chrono::steady_clock::now();
        const bool destroyed = random() % 2 == 0;
        if (destroyed) {
            transport.reset();
        } else {
            transport->abort();
        }
        REQUIRE(run_until(context, [&] { return results.size() == calls; }));
        slowest = std::max(slowest, std::chrono::steady_clock::now() - began);
        std::size_t written = 0;
        for (const Evidence& evidence : results) {
            CAPTURE(evidence.detail);
            CAPTURE(static_cast<int>(how));
            CHECK((evidence.failure == Failure::aborted || evidence.status == 201));
            written += evidence.request_written ? 1U : 0U;
        }
        // Whoever says that nothing was written is right: the server has read no more.
        CHECK(server.requests().size() <= written);
    }
    release.set_value();
    CHECK(slowest < 200ms);
}
