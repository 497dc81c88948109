#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/text.hpp"
#include "delivery/engine.hpp"
#include "outbox/store.hpp"
#include "support/temporary_folder.hpp"
#include "support/test_clock.hpp"
#include "support/test_random.hpp"

namespace agentsight::delivery {

/// The engine over a real store in a folder of its own; the test is the shell, the network
/// and the server.
class Drain {
  public:
    explicit Drain(Policy policy = usual()) : policy_(std::move(policy)) { open(); }

    static Policy usual() {
        Policy policy;
        policy.connections = 2;
        policy.kind = Credential::Kind::api_key;
        policy.origin = "https://api.example";
        return policy;
    }

    void open() {
        outbox::StoreOptions options;
        options.path = folder_ / "feedback.db";
        options.durability = Durability::relaxed;
        store_ = std::make_unique<outbox::Store>(std::move(options), clock, random);
        REQUIRE(store_->try_become_drainer());
        engine_ = std::make_unique<Engine>(*store_, policy_, random);
        engine_->start();
        tasks.clear();
    }
    /// The process dies: nothing is given back.
    void die() {
        engine_.reset();
        store_.reset();
    }
    void restart() {
        die();
        open();
    }

    Engine& engine() { return *engine_; }
    outbox::Store& store() { return *store_; }
    Policy& policy() { return policy_; }

    std::string submit(const std::string& conversation = "=c", const std::string& comment = "good",
                       Credential::Kind kind = Credential::Kind::api_key) {
        outbox::Submission submission;
        submission.kind = kind;
        submission.feedback.conversation.value = conversation;
        submission.feedback.sentiment = Sentiment::positive;
        submission.feedback.comment = comment;
        const auto result = store_->submit(submission);
        REQUIRE_FALSE(result.error);
        engine_->rung();
        return result.id.text();
    }
    /// One in each of so many conversations.
    std::vector<std::string> submit_each(std::size_t count, const std::string& comment = "good") {
        std::vector<std::string> ids;
        for (std::size_t i = 0; i < count; ++i) {
            ids.push_back(submit("=c" + std::to_string(i), comment));
        }
        return ids;
    }
    /// As another thread of the drainer's own process would.
    void submit_here(const std::string& conversation) {
        outbox::Submission submission;
        submission.feedback.conversation.value = conversation;
        REQUIRE_FALSE(store_->submit(submission).error);
        engine_->submitted();
    }

    /// One step; what it started is added to `tasks`.
    void step() {
        Engine::Step done = engine_->step();
        wake_at = done.wake_at;
        for (Task& task : done.start) {
            tasks.push_back(std::move(task));
        }
        for (Event& event : engine_->take_events()) {
            events.push_back(std::move(event));
        }
    }

    Task take(std::size_t index = 0) {
        REQUIRE(index < tasks.size());
        Task task = std::move(tasks[index]);
        tasks.erase(tasks.begin() + static_cast<std::ptrdiff_t>(index));
        return task;
    }

    static core::Evidence reply(int status, std::string body = "{}", bool json = true) {
        core::Evidence evidence;
        evidence.request_written = true;
        evidence.status = status;
        evidence.json = json;
        evidence.body = std::move(body);
        return evidence;
    }
    static core::Evidence throttled(std::string retry_after,
                                    std::string body = R"({"detail": "later"})") {
        core::Evidence evidence = reply(429, std::move(body));
        evidence.retry_after = std::move(retry_after);
        return evidence;
    }
    static core::Evidence html(int status) { return reply(status, "<html></html>", false); }
    static core::Evidence failed(core::Failure failure, bool written) {
        core::Evidence evidence;
        evidence.failure = failure;
        evidence.request_written = written;
        return evidence;
    }
    core::Evidence created() {
        return reply(201, R"({"id": )" + std::to_string(++last_server_id) + "}");
    }

    /// Answers the first task of the list, and steps.
    void answer(core::Evidence evidence) {
        const Task task = take();
        evidence.began = clock.now();
        clock.advance(5);
        evidence.ended = clock.now();
        if (evidence.status != 0) {
            evidence.date = (clock.now().utc_ms + server_ahead_ms) / 1'000 * 1'000;
        }
        engine_->finished(task.id, std::move(evidence));
        steps();
    }
    /// The first task's feedback is created, in no time at all; the caller steps.
    void deliver_at_once() {
        const Task task = take();
        core::Evidence evidence = created();
        evidence.began = evidence.ended = clock.now();
        engine_->finished(task.id, std::move(evidence));
    }
    void connected() {
        REQUIRE_FALSE(tasks.empty());
        REQUIRE(tasks.front().kind == Task::Kind::connect);
        answer(core::Evidence{});
    }

    /// Steps, again where the engine asks for it.
    void steps() {
        for (int i = 0; i < 10; ++i) {
            step();
            if (!wake_at || *wake_at > store_->now() || !tasks.empty()) {
                break;
            }
        }
    }
    /// Steps; answers a connect, so that sends are out where there is something to send.
    void run() {
        steps();
        if (!tasks.empty() && tasks.front().kind == Task::Kind::connect) {
            connected();
        }
    }
    /// Time goes on to where the engine wants to be woken.
    void sleep() {
        doze();
        run();
    }
    void doze() {
        REQUIRE(wake_at.has_value());
        const std::int64_t wait = *wake_at - store_->now();
        if (wait > 0) {
            clock.advance(wait);
        }
    }
    void pass(std::int64_t ms) {
        clock.advance(ms);
        run();
    }

    std::optional<HoldReason> hold() {
        const auto hold = store_->status().hold;
        return hold ? std::optional{hold->reason} : std::nullopt;
    }
    RecordState state(const std::string& id) { return store_->state_of(id); }

    /// A page of the server's list for conversation "c".
    core::Evidence listed(const std::vector<std::string>& rows) {
        std::string body = R"({"count": 1, "next": null, "previous": null, "results": [)";
        for (std::size_t i = 0; i < rows.size(); ++i) {
            body += (i == 0 ? "" : ",") + rows[i];
        }
        return reply(200, body + "]}");
    }
    std::string row(int id, const std::string& comment = "good") {
        return R"({"id": )" + std::to_string(id) +
               R"(, "conversation": 7, "conversation_id": "c", "sentiment": "positive",)" +
               R"( "comment": ")" + comment + R"(", "created_at": ")" +
               core::iso8601(clock.now().utc_ms + server_ahead_ms) + "\"}";
    }

    test::TestClock clock;
    test::TestRandom random{7};
    std::vector<Task> tasks;
    std::vector<Event> events;
    std::optional<core::OutboxMs> wake_at;
    std::int64_t server_ahead_ms = 0;
    int last_server_id = 100;

  private:
    test::TemporaryFolder folder_;
    Policy policy_;
    std::unique_ptr<outbox::Store> store_;
    std::unique_ptr<Engine> engine_;
};

}  // namespace agentsight::delivery
