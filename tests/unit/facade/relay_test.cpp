#include <doctest/doctest.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "relay.hpp"

using namespace agentsight;

TEST_CASE("events and callbacks reach the application in the order they were posted") {
    std::vector<std::string> seen;
    const auto relay = std::make_shared<Relay>(
        [&](const Event& event) { seen.push_back(std::get<event::Submitted>(event).id); },
        LogSink{}, nullptr);
    relay->post(event::Submitted{"1"});
    relay->call([&] { seen.push_back("call"); });
    relay->post(event::Submitted{"2"});
    CHECK(seen.empty());
    relay->run();
    CHECK(seen == std::vector<std::string>{"1", "call", "2"});
    relay->run();
    CHECK(seen.size() == 3);
}

TEST_CASE("an exception of a callback stops there and is counted") {
    const auto relay = std::make_shared<Relay>(Observer{}, LogSink{}, nullptr);
    bool later = false;
    relay->call([] { throw std::runtime_error("of the application"); });
    relay->call([] { throw 1; });
    relay->call([&] { later = true; });
    relay->run();
    CHECK(later);
    CHECK(relay->exceptions() == 2);
}

TEST_CASE("a slow observer costs bounded memory and is told what it missed") {
    std::uint64_t seen = 0;
    std::string alarm;
    const auto relay = std::make_shared<Relay>(
        [&](const Event& event) {
            ++seen;
            if (const auto* told = std::get_if<event::Alarm>(&event)) {
                alarm = told->detail;
            }
        },
        LogSink{}, nullptr);
    for (std::size_t i = 0; i < Relay::max_queued + 7; ++i) {
        relay->post(event::Submitted{"x"});
    }
    relay->run();
    CHECK(seen == Relay::max_queued + 1);  // at once: after a close there is no other run
    CHECK(alarm.find("7 events") != std::string::npos);
}

TEST_CASE("a loop of the application's that stands still holds a bounded number of events") {
    std::vector<std::function<void()>> loop;
    std::vector<Event> seen;
    const auto relay = std::make_shared<Relay>(
        [&](const Event& event) { seen.push_back(event); }, LogSink{},
        [&](std::function<void()> task) { loop.push_back(std::move(task)); });
    for (std::size_t i = 0; i < Relay::max_queued; ++i) {
        relay->post(event::Submitted{"x"});
        relay->run();
    }
    int callbacks = 0;
    for (int i = 0; i < 3; ++i) {
        relay->post(event::Submitted{"dropped"});
        relay->call([&] { ++callbacks; });
        relay->run();
    }
    CHECK(loop.size() == Relay::max_queued + 3 + 1);  // the callbacks, and one alarm
    const auto go_on = [&] {
        for (const auto& task : std::exchange(loop, {})) {
            task();
        }
    };
    go_on();
    CHECK(callbacks == 3);
    REQUIRE(seen.size() == Relay::max_queued + 1);
    REQUIRE(std::holds_alternative<event::Alarm>(seen.back()));
    CHECK(std::get<event::Alarm>(seen.back()).detail.starts_with("3 events"));

    SUBCASE("and takes more once it goes on") {}
    SUBCASE("also where it throws away what it holds") {
        for (std::size_t i = 0; i < Relay::max_queued; ++i) {
            relay->post(event::Submitted{"x"});
        }
        relay->run();
        loop.clear();
    }
    seen.clear();
    relay->post(event::Submitted{"again"});
    relay->run();
    go_on();
    REQUIRE(seen.size() == 1);
    CHECK(std::holds_alternative<event::Submitted>(seen.front()));
}

TEST_CASE("what dispatch refuses by an exception runs all the same, and once") {
    std::vector<std::function<void()>> loop;
    bool keeps = false;
    SUBCASE("it threw before it took the task") {}
    SUBCASE("it took the task and threw") {
        keeps = true;
    }
    int events = 0;
    int callbacks = 0;
    const auto relay = std::make_shared<Relay>([&](const Event&) { ++events; }, LogSink{},
                                               [&](std::function<void()> task) {
                                                   if (keeps) {
                                                       loop.push_back(std::move(task));
                                                   }
                                                   throw std::runtime_error("no loop");
                                               });
    relay->post(event::Submitted{"x"});
    relay->call([&] { ++callbacks; });
    relay->run();
    for (const auto& task : loop) {
        task();
    }
    CHECK(events == 1);
    CHECK(callbacks == 1);
    CHECK(relay->exceptions() == 2);
}

TEST_CASE("what was handed to the application's loop runs after the relay's owner is gone") {
    std::vector<std::function<void()>> loop;
    int seen = 0;
    {
        const auto relay = std::make_shared<Relay>(
            [&](const Event&) { ++seen; }, LogSink{},
            [&](std::function<void()> task) { loop.push_back(std::move(task)); });
        relay->post(event::Submitted{"x"});
        relay->call([] { throw std::runtime_error("later"); });
        relay->run();
    }
    CHECK(seen == 0);
    for (auto& task : loop) {
        task();
    }
    CHECK(seen == 1);
}

TEST_CASE("log lines name ids and the server's words") {
    std::vector<std::string> lines;
    const auto relay = std::make_shared<Relay>(
        Observer{}, [&](LogLevel, std::string_view line) { lines.emplace_back(line); }, nullptr);
    CHECK(relay->listens());
    relay->post(event::Held{HoldReason::credential_refused, 401, "Invalid API key."});
    relay->post(event::DeadLetter{"an-id", 400, "words"});
    relay->post(event::Alarm{"look"});
    CHECK(lines ==
          std::vector<std::string>{"outbox holds: credential_refused (401 Invalid API key.)",
                                   "record an-id is a dead letter (400 words)", "look"});
}
