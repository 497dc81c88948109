#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agentsight/error.hpp"
#include "outbox/store.hpp"
#include "support/temporary_folder.hpp"
#include "support/test_clock.hpp"
#include "support/test_random.hpp"

namespace agentsight::test {

inline constexpr const char* origin = "https://api.example";

inline core::ConversationKey conversation(std::string_view business_id) {
    return {"=" + std::string{business_id}};
}

inline outbox::Submission submission(std::string_view business_id = "c1",
                                     std::string comment = "fine",
                                     Credential::Kind kind = Credential::Kind::none) {
    outbox::Submission made;
    made.feedback.conversation = conversation(business_id);
    made.feedback.sentiment = Sentiment::positive;
    made.feedback.comment = std::move(comment);
    made.kind = kind;
    return made;
}

inline outbox::Submission with_id(outbox::Submission given, std::string_view id) {
    given.id = core::Uuid::parse(id);
    return given;
}

/// One outbox in a folder of its own, on clocks that stand still.
struct Outboxed {
    explicit Outboxed(outbox::StoreOptions given = {}) : options(std::move(given)) {
        if (options.path.empty()) {
            options.path = folder / "feedback.db";
        }
        options.on_event = [this](const Event& event) {
            const std::lock_guard lock{mutex};
            events.push_back(event);
        };
        options.on_work = [this] { ++rings; };
        open();
    }

    void open() { store = std::make_unique<outbox::Store>(options, clock, random); }
    void reopen() {
        store.reset();
        open();
    }
    outbox::Store* operator->() { return store.get(); }

    std::string submit(std::string_view business_id = "c1", std::string comment = "fine") {
        return submit(submission(business_id, std::move(comment)));
    }
    std::string submit(const outbox::Submission& given) {
        const outbox::SubmitResult result = store->submit(given);
        if (result.error) {
            throw std::system_error(result.error, result.message);
        }
        return result.id.text();
    }

    void become_drainer() {
        if (!store->try_become_drainer()) {
            throw std::runtime_error("another drains");
        }
        store->begin_draining();
    }

    outbox::DrainRequest request(std::size_t claim) const {
        outbox::DrainRequest made;
        made.claim = claim;
        made.kind = kind;
        made.origin = origin;
        return made;
    }
    std::vector<outbox::ClaimedRecord> claim(std::size_t count) {
        return store->drain(request(count)).claimed;
    }
    outbox::DrainReply settle(outbox::Settlement settlement, std::size_t claim = 0) {
        outbox::DrainRequest made = request(claim);
        made.settlements.push_back(std::move(settlement));
        return store->drain(std::move(made));
    }
    outbox::DrainReply deliver(std::int64_t key, std::string server_id = {}) {
        outbox::Settlement settlement;
        settlement.key = key;
        settlement.to = outbox::Settlement::To::delivered;
        settlement.server_id = server_id.empty() ? "s" + std::to_string(key) : server_id;
        settlement.server_time = clock.now().utc_ms;
        settlement.origin = origin;
        return settle(std::move(settlement));
    }
    outbox::DrainReply retry(std::int64_t key, std::int64_t in_ms = 0) {
        outbox::Settlement settlement;
        settlement.key = key;
        settlement.to = outbox::Settlement::To::waiting;
        settlement.due = store->now() + in_ms;
        settlement.counts_attempt = true;
        return settle(std::move(settlement));
    }
    outbox::DrainReply settle_to(std::int64_t key, outbox::Settlement::To to) {
        outbox::Settlement settlement;
        settlement.key = key;
        settlement.to = to;
        settlement.due = store->now();
        return settle(std::move(settlement));
    }

    TemporaryFolder folder;
    TestClock clock;
    TestRandom random{7};
    std::mutex mutex;
    std::vector<Event> events;
    std::atomic<int> rings{0};
    outbox::StoreOptions options;
    Credential::Kind kind = Credential::Kind::api_key;
    std::unique_ptr<outbox::Store> store;
};

/// The code a call fails with; none where it does not.
template <class Call>
std::error_code code_of(Call&& call) {
    try {
        std::forward<Call>(call)();
    } catch (const Error& error) {
        return error.code();
    }
    return {};
}

}  // namespace agentsight::test
