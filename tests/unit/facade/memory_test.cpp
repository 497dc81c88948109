// The worker's thread without memory: its n-th allocation fails, for every n of a delivery.

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "core/json_tree.hpp"
#include "failing_memory.hpp"
#include "os/clock.hpp"
#include "outbox/store.hpp"
#include "relay.hpp"
#include "sandbox/server.hpp"
#include "settings.hpp"
#include "store_options.hpp"
#include "support/temporary_folder.hpp"
#include "support/test_random.hpp"
#include "worker.hpp"

using namespace agentsight;
using namespace agentsight::test;
using namespace std::chrono_literals;

namespace {

/// Only a worker asks it, so it knows which thread is one.
class WorkersClock final : public core::Clock {
  public:
    core::Moment now() const override {
        FailingMemory::here(std::this_thread::get_id() != test_thread_);
        return clock_.now();
    }

  private:
    const std::thread::id test_thread_ = std::this_thread::get_id();
    const os::SystemClock clock_;
};

/// nlohmann's destructor allocates, and ends the process where it cannot: not ours to mend.
void spare_json_destructors() {
    for (const char* text : {R"({"a":{"b":1}})", "[[1]]"}) {
        auto tree = std::make_unique<nlohmann::json>(core::parse_json(text));
        FailingMemory::learn(true);
        tree.reset();
        FailingMemory::learn(false);
    }
}

struct Delivery {
    bool done = false;
    std::size_t rows = 0;
    std::uint64_t allocations = 0;
    int callbacks = 0;
};

Delivery deliver_while_failing(std::uint64_t from, std::uint64_t to) {
    const TemporaryFolder folder;
    const os::SystemClock clock;
    const WorkersClock workers_clock;
    os::SystemRandom random;
    sandbox::Server server{sandbox::ServerOptions{}};
    Options options;
    options.outbox_path = folder.path() / "feedback.db";
    options.endpoint = server.url();
    options.credential = ApiKey{"ags_0123456789"};
    options.proxy = "direct";
    options.backoff_base = options.backoff_cap = 1ms;
    options.reconcile_after = 0ms;
    options.durability = Durability::relaxed;
    Settings settings = resolve(options);
    settings.restart_after = 1ms;
    const auto store = std::make_shared<outbox::Store>(
        store_options(options.outbox_path, OutboxMode::create, options), clock, random);
    const auto relay =
        std::make_shared<Relay>([](const Event&) {}, [](LogLevel, std::string_view) {}, nullptr);
    const auto worker = std::make_shared<Worker>(settings, store, relay, workers_clock, random);
    std::atomic<int> callbacks = 0;
    QueuedSubmit submit;
    submit.submission.feedback.conversation = {"=conv"};
    submit.submission.feedback.sentiment = Sentiment::positive;
    submit.submission.kind = Credential::Kind::api_key;
    submit.callback = [&](std::error_code error, const Receipt& receipt) {
        CHECK((error ? error == errc::out_of_memory : receipt.stored));
        ++callbacks;
    };
    const std::string id = store->submit(submit.submission).id.text();
    FailingMemory::arm(from, to);
    worker->enqueue(submit);
    worker->start();
    Delivery result;
    const auto end = std::chrono::steady_clock::now() + 60s;
    while (!result.done && std::chrono::steady_clock::now() < end) {
        const Status status = store->status();
        result.done = store->state_of(id) == RecordState::delivered && callbacks == 1 &&
                      status.accepted == status.delivered;
        if (!result.done) {
            worker->flush(200ms);  // without the spread of a fleet that comes back
        }
    }
    result.allocations = FailingMemory::disarm();
    worker->shut(10s);
    result.rows = server.rows().size();
    result.callbacks = callbacks;
    result.done = result.done && store->status().accepted == result.rows;
    return result;
}

}  // namespace

TEST_CASE("P4: without memory the worker starts again, and everything arrives once") {
    spare_json_destructors();
    std::uint64_t in_a_row = 1;
    std::uint64_t step = 10;
    SUBCASE("the n-th allocation fails, for one n in five, another each time") {
        step = 5;
    }
    SUBCASE("ten in a row fail") {
        in_a_row = 10;
    }
    const std::uint64_t all = deliver_while_failing(1'000'000'000, 0).allocations;
    REQUIRE(all > 50);
    for (std::uint64_t n = 1 + test_seed() % step; n <= all; n += step) {
        CAPTURE(n);
        const Delivery delivery = deliver_while_failing(n, n + in_a_row);
        REQUIRE(delivery.done);
        REQUIRE(delivery.callbacks == 1);
    }
}

TEST_CASE(
    "S38: a submit that fails for want of memory has stored nothing, and one that did says so") {
    const TemporaryFolder folder;
    Options options;
    options.outbox_path = folder.path() / "feedback.db";
    options.endpoint = "http://127.0.0.1:1";
    options.durability = Durability::relaxed;
    options.observer = [](const Event&) {};
    options.log = [](LogLevel, std::string_view) {};
    ConversationManager manager{options};
    std::uint64_t stored = 0;
    bool failed = true;
    for (std::uint64_t n = 1; failed; ++n) {
        CAPTURE(n);
        Feedback feedback{"conv", Sentiment::positive};
        std::error_code error;
        FailingMemory::here(true);
        FailingMemory::arm(n, n + 1);
        const Receipt receipt = manager.submit_feedback(feedback, error);
        failed = FailingMemory::disarm() >= n;
        FailingMemory::here(false);
        stored += error ? 0 : 1;
        CHECK((!error || error == errc::out_of_memory));
        CHECK((error || (receipt.stored && receipt.id.size() == 36)));
        REQUIRE(manager.stats().accepted == stored);
    }
}
