#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
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
    CHECK(seen == Relay::max_queued);
    relay->run();
    CHECK(alarm.find("7 events") != std::string::npos);
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
