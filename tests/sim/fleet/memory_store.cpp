#include "memory_store.hpp"

#include <algorithm>
#include <utility>

namespace agentsight::outbox {

class Store::Impl {
  public:
    explicit Impl(const core::Clock& clock_given) : clock(clock_given) {}

    const core::Clock& clock;
    std::filesystem::path path = "memory";
    std::vector<std::pair<core::OutboxMs, ClaimedRecord>> waiting;  // by due
    std::vector<ClaimedRecord> claimed;
    std::vector<std::pair<core::OutboxMs, ClaimedRecord>> unknown;
    DrainState state;
    std::size_t delivered = 0;

    std::optional<ClaimedRecord> take(std::int64_t key) {
        const auto one = std::ranges::find(claimed, key, &ClaimedRecord::key);
        if (one != claimed.end()) {
            ClaimedRecord record = std::move(*one);
            claimed.erase(one);
            return record;
        }
        const auto other = std::ranges::find_if(
            unknown, [key](const auto& entry) { return entry.second.key == key; });
        if (other == unknown.end()) {
            return std::nullopt;
        }
        ClaimedRecord record = std::move(other->second);
        unknown.erase(other);
        return record;
    }

    void settle(const Settlement& settlement) {
        auto record = take(settlement.key);
        if (!record) {
            return;
        }
        record->attempts += settlement.counts_attempt ? 1 : 0;
        record->refusals = settlement.refusals;
        if (settlement.last_status) {
            record->last_status = settlement.last_status;
        }
        switch (settlement.to) {
            case Settlement::To::waiting:
                waiting.emplace_back(settlement.due, std::move(*record));
                break;
            case Settlement::To::unknown:
                record->attempt_ended = settlement.attempt_ended;
                record->looks = settlement.looks;
                record->first_absent = settlement.first_absent;
                unknown.emplace_back(settlement.due, std::move(*record));
                break;
            case Settlement::To::delivered:
                ++delivered;
                break;
            default:
                break;
        }
    }
};

Store::Store(StoreOptions, const core::Clock& clock, core::Random&)
    : impl_(std::make_unique<Impl>(clock)) {}
Store::~Store() = default;

DrainState Store::begin_draining() {
    return impl_->state;
}

DrainReply Store::drain(DrainRequest request) {
    for (const Settlement& settlement : request.settlements) {
        impl_->settle(settlement);
    }
    if (request.save) {
        impl_->state = *request.save;
    }
    DrainReply reply;
    const core::OutboxMs now_ms = now();
    auto& waiting = impl_->waiting;
    std::ranges::stable_sort(waiting, {}, [](const auto& entry) { return entry.first; });
    while (!request.only_just_submitted && reply.claimed.size() < request.claim &&
           !waiting.empty() && (waiting.front().first <= now_ms || request.ignore_due)) {
        ClaimedRecord record = std::move(waiting.front().second);
        waiting.erase(waiting.begin());
        record.attempt_began = moment();
        record.attempt_ended.reset();
        record.origin = request.origin;
        record.server_date = request.server_date;
        impl_->claimed.push_back(record);
        reply.claimed.push_back(std::move(record));
    }
    for (const auto& [due, record] : waiting) {
        if (due <= now_ms) {
            reply.more = true;
        } else {
            reply.next_due = reply.next_due ? std::min(*reply.next_due, due) : due;
        }
    }
    for (const auto& [due, record] : impl_->unknown) {
        if (due > now_ms) {
            reply.next_due = reply.next_due ? std::min(*reply.next_due, due) : due;
        }
    }
    return reply;
}

std::vector<ClaimedRecord> Store::due_unknowns(std::size_t limit, bool) {
    std::vector<ClaimedRecord> records;
    for (const auto& [due, record] : impl_->unknown) {
        if (due <= now() && records.size() < limit) {
            records.push_back(record);
        }
    }
    return records;
}

std::vector<ClaimedRecord> Store::unknowns_of(const core::ConversationKey& conversation) {
    std::vector<ClaimedRecord> records;
    for (const auto& [due, record] : impl_->unknown) {
        if (record.feedback.conversation == conversation) {
            records.push_back(record);
        }
    }
    return records;
}

std::vector<std::string> Store::owned(const std::string&, std::span<const std::string>) {
    return {};
}
std::optional<std::string> Store::known_row(const core::ConversationKey&, const std::string&,
                                            core::UtcMs) {
    return std::nullopt;
}
core::OutboxMs Store::now() const {
    return impl_->clock.now().boot_ms;
}
core::Moment Store::moment() const {
    return impl_->clock.now();
}

/// The one way in, under the name of a member that the engine does not use.
SubmitResult Store::submit(const Submission& submission) {
    ClaimedRecord record;
    record.key = static_cast<std::int64_t>(impl_->waiting.size()) + 1;
    record.feedback = submission.feedback;
    record.kind = submission.kind;
    record.submitted = moment();
    impl_->waiting.emplace_back(now(), std::move(record));
    return {};
}

std::uint64_t Store::commits() const noexcept {
    return impl_->delivered;
}

}  // namespace agentsight::outbox

namespace agentsight::sim {

void make_backlog(outbox::Store& store, int count) {
    for (int i = 0; i < count; ++i) {
        outbox::Submission submission;
        submission.kind = Credential::Kind::api_key;
        submission.feedback.conversation.value = "=c" + std::to_string(i);
        submission.feedback.sentiment = Sentiment::positive;
        store.submit(submission);
    }
}

std::size_t delivered(const outbox::Store& store) {
    return store.commits();
}

}  // namespace agentsight::sim
