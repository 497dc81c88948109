// The worker's thread against what an application may do to it: callbacks that call back,
// endless deadlines, credentials that come and go.

#include <future>
#include <thread>

#include "e2e/support.hpp"

using namespace agentsight;
using namespace agentsight::test;

TEST_CASE("a deadline without end is no deadline in the past") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    ConversationManager manager{options_for(folder, server.url())};
    const Receipt receipt = manager.submit_feedback("conv", "positive");
    CHECK(manager.wait(receipt.id, std::chrono::milliseconds::max()) == RecordState::delivered);
    CHECK(manager.flush(std::chrono::milliseconds::max()));
    manager.submit_feedback("conv", "positive");
    manager.close(std::chrono::milliseconds::max());
    CHECK(server.errors().empty());
}

TEST_CASE("a deadline before all time is now") {
    const TemporaryFolder folder;
    const sandbox::Server server;
    // In nanoseconds the first wraps around to a time in the far future.
    for (const auto past : {-10'000'000'000'000ms, std::chrono::milliseconds::min()}) {
        ConversationManager manager{options_for(folder, server.url())};
        manager.pause();
        const Receipt receipt = manager.submit_feedback("conv", "positive");
        CHECK(manager.wait(receipt.id, past) == RecordState::waiting);
        CHECK_FALSE(manager.flush(past));
        manager.close(past);
    }
}

TEST_CASE("flush and wait inside a callback return at once; close there ends the manager") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    ConversationManager manager{options_for(folder, server.url())};
    server.set_link(sandbox::Link::refused);
    std::promise<std::chrono::milliseconds> took;
    manager.async_submit_feedback("conv", "positive", [&](std::error_code, const Receipt& receipt) {
        const auto start = std::chrono::steady_clock::now();
        CHECK_FALSE(manager.flush(60s));
        CHECK(manager.wait(receipt.id, 60s) == RecordState::waiting);
        manager.close(60s);
        took.set_value(since(start));
    });
    CHECK(took.get_future().get() < 30s);
    CHECK_THROWS_AS(manager.submit_feedback("conv", "positive"), Error);
}

TEST_CASE("P6: a manager destroyed inside a callback ends by itself") {
    TemporaryFolder folder;
    auto manager = std::make_unique<ConversationManager>(options_for(folder, "http://127.0.0.1:1"));
    std::promise<void> gone;
    manager->async_submit_feedback("conv", "positive", [&](std::error_code, const Receipt&) {
        manager.reset();
        gone.set_value();
    });
    gone.get_future().get();
    CHECK(Outbox{folder.path() / "feedback.db"}.status().accepted == 1);
}

TEST_CASE("close from a callback and from outside at the same time does not wait in a circle") {
    TemporaryFolder folder;
    ConversationManager manager{options_for(folder, "http://127.0.0.1:1")};
    std::promise<void> inside;
    std::promise<void> go_on;
    manager.async_submit_feedback("conv", "positive", [&](std::error_code, const Receipt&) {
        inside.set_value();
        go_on.get_future().get();
        manager.close(60s);
    });
    inside.get_future().get();
    const auto start = std::chrono::steady_clock::now();
    std::thread other([&] { manager.close(60s); });
    go_on.set_value();
    other.join();
    CHECK(since(start) < 30s);
}

TEST_CASE("a manager whose credential is taken away gives the drain to another") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    Options options = options_for(folder, server.url());
    ConversationManager first{options};
    first.set_credential(Credential{});
    CHECK_FALSE(first.flush(patience));
    first.set_credential(ApiKey{"ags_again"});
    const Receipt one = first.submit_feedback("conv", "positive");
    CHECK(first.wait(one.id, patience) == RecordState::delivered);
    first.set_credential(Credential{});
    CHECK_FALSE(first.flush(patience));

    ConversationManager second{options};
    const Receipt two = first.submit_feedback("conv", "positive");
    CHECK(second.wait(two.id, patience) == RecordState::delivered);
}

TEST_CASE("who flushes while another drains has that one look at the link at once") {
    TemporaryFolder folder;
    const std::uint16_t port = free_port();
    Options options = options_for(folder, url_of(port));
    options.backoff_base = options.backoff_cap = 1h;
    ConversationManager drainer{options};
    const Receipt receipt = drainer.submit_feedback("conv", "positive");
    CHECK_FALSE(drainer.flush(1s));
    REQUIRE(drainer.stats().hold.has_value());
    REQUIRE(drainer.stats().hold->reason == HoldReason::link_down);

    sandbox::ServerOptions server_options;
    server_options.port = port;
    sandbox::Server server{server_options};
    ConversationManager other{options};
    CHECK(other.flush(patience));
    CHECK(other.stats().delivered == 1);
    CHECK(drainer.wait(receipt.id, 0ms) == RecordState::delivered);
}

TEST_CASE("a drainer whose key is refused makes room for a process with another key") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    server.change_settings([](sandbox::Settings& s) { s.api_keys = {"ags_good"}; });
    Options options = options_for(folder, server.url());
    options.credential = ApiKey{"ags_bad"};
    ConversationManager refused{options};
    const Receipt receipt = refused.submit_feedback("conv", "positive");
    CHECK_FALSE(refused.flush(patience));
    REQUIRE(refused.stats().hold.has_value());
    CHECK(refused.stats().hold->reason == HoldReason::credential_refused);

    options.credential = ApiKey{"ags_good"};
    ConversationManager good{options};
    CHECK(good.wait(receipt.id, patience) == RecordState::delivered);
    CHECK(server.rows().size() == 1);
}

TEST_CASE("a log sink that calls the library does not wait for itself") {
    TemporaryFolder folder;
    ConversationManager* target = nullptr;
    Options options = options_for(folder, "http://127.0.0.1:1");
    std::atomic<int> lines = 0;
    options.log = [&](LogLevel, std::string_view) {
        if (target && lines++ < 3) {
            target->submit_feedback("from the sink", "neutral");
        }
    };
    ConversationManager manager{options};
    target = &manager;
    manager.submit_feedback("conv", "positive");
    CHECK(manager.stats().accepted >= 2);
}
