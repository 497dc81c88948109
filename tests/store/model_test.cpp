#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "support.hpp"

using namespace agentsight;
using namespace agentsight::test;
using outbox::Settlement;

namespace {

enum class Is { waiting, claimed, unknown, left, dead, delivered, discarded, dropped };

struct Modelled {
    std::int64_t key = 0;
    std::string id;
    std::string conversation;
    std::string comment;
    Credential::Kind kind = Credential::Kind::none;
    Is is = Is::waiting;
    std::int64_t turn = 0;
    core::OutboxMs due = 0;
    bool erased = false;  ///< was discarded once
};

RecordState state_of(Is is) {
    switch (is) {
        case Is::waiting:
            return RecordState::waiting;
        case Is::claimed:
            return RecordState::claimed;
        case Is::unknown:
        case Is::left:
            return RecordState::unknown;
        case Is::dead:
            return RecordState::dead;
        case Is::delivered:
            return RecordState::delivered;
        default:
            return RecordState::discarded;
    }
}

/// The outbox as a list: what the store must look like after the same operations.
class Model {
  public:
    explicit Model(std::uint64_t seed, const outbox::StoreOptions& options)
        : random_(seed), box_(options) {}

    void step() {
        switch (random_.below(20)) {
            case 0:
            case 1:
            case 2:
            case 3:
                return submit();
            case 4:
            case 5:
            case 6:
                return claim();
            case 7:
            case 8:
            case 9:
            case 10:
            case 11:
                return settle();
            case 12:
                return requeue();
            case 13:
                return discard();
            case 14:
                return resolve();
            case 15:
                return repeat();
            case 16:
                box_.clock.advance(static_cast<std::int64_t>(random_.below(3'000)));
                return;
            case 17:
                return restart();
            case 18:
                return stale_settle();
            default:
                if (random_.one_in(3)) {
                    hold();
                } else {
                    change_kind();
                }
        }
    }

    void check() {
        const Status status = box_->status();
        std::map<Is, std::uint64_t> counts;
        for (const auto& [key, record] : records_) {
            ++counts[record.is];
        }
        REQUIRE(status.accepted == records_.size());
        REQUIRE(status.waiting == counts[Is::waiting]);
        REQUIRE(status.claimed == counts[Is::claimed]);
        REQUIRE(status.unknown == counts[Is::unknown] + counts[Is::left]);
        REQUIRE(status.dead == counts[Is::dead]);
        REQUIRE(status.delivered == counts[Is::delivered]);
        REQUIRE(status.discarded == counts[Is::discarded]);
        REQUIRE(status.dropped == counts[Is::dropped]);
        REQUIRE(status.possible_duplicates == possible_duplicates_);
        std::optional<core::UtcMs> oldest;
        for (const auto& [key, record] : records_) {
            if (record.is <= Is::left) {
                oldest = submitted_.at(key);
                break;
            }
        }
        REQUIRE(status.oldest_submitted_at == oldest);
    }

    void check_deeply() {
        check();
        const std::vector<std::string> findings = box_->verify();
        INFO((findings.empty() ? std::string{} : findings.front()));
        REQUIRE(findings.empty());
        check_lists();
    }

    /// Nothing may be left that could be sent now.
    void drain_all() {
        release();
        for (int rounds = 0;; ++rounds) {
            REQUIRE(rounds < 10'000);
            outbox::DrainRequest request = box_.request(1 + random_.below(8));
            request.ignore_due = true;
            const outbox::DrainReply reply = box_->drain(request);
            take(reply, true);
            bool again = reply.more || pick({Is::claimed}) != nullptr;
            settle_all_delivered();
            for (auto& [key, record] : records_) {
                if (record.is == Is::unknown) {
                    again = true;
                    settle_one(record, Settlement::To::waiting, false);
                }
            }
            if (!again) {
                break;
            }
        }
        for (const auto& [key, record] : records_) {
            CAPTURE(key);
            if (record.is == Is::waiting) {
                REQUIRE(!mine(record));
            }
        }
        check_deeply();
    }

    Outboxed& box() { return box_; }

  private:
    bool mine(const Modelled& record) const {
        return record.kind == box_.kind || record.kind == Credential::Kind::none;
    }

    Modelled* pick(std::initializer_list<Is> states) {
        std::vector<Modelled*> found;
        for (auto& [key, record] : records_) {
            if (std::find(states.begin(), states.end(), record.is) != states.end()) {
                found.push_back(&record);
            }
        }
        return found.empty() ? nullptr : found[random_.below(found.size())];
    }

    void submit() {
        const auto kind = random_.one_in(4)   ? Credential::Kind::jwt
                          : random_.one_in(4) ? Credential::Kind::none
                                              : Credential::Kind::api_key;
        outbox::Submission made =
            submission("c" + std::to_string(random_.below(6)),
                       std::string(random_.below(40), 'x') + std::to_string(random_.next()), kind);
        if (random_.one_in(3)) {
            core::Uuid id;
            for (auto& byte : id.bytes) {
                byte = static_cast<std::uint8_t>(random_.next());
            }
            made.id = id;
        }
        const outbox::SubmitResult result = box_->submit(made);
        std::uint64_t open = 0;
        Modelled* oldest = nullptr;
        for (auto& [key, record] : records_) {
            if (record.is <= Is::dead) {
                ++open;
            }
            if (record.is == Is::waiting && oldest == nullptr) {
                oldest = &record;
            }
        }
        if (open >= box_.options.max_records) {
            if (box_.options.when_full == WhenFull::refuse || oldest == nullptr) {
                REQUIRE(result.error == errc::outbox_full);
                return;
            }
            oldest->is = Is::dropped;
        }
        REQUIRE(!result.error);
        REQUIRE(result.stored);
        Modelled record;
        record.key = static_cast<std::int64_t>(records_.size()) + 1;
        record.id = result.id.text();
        record.conversation = made.feedback.conversation.value;
        record.comment = made.feedback.comment;
        record.kind = kind;
        record.turn = 2 * record.key;
        submitted_[record.key] = box_.clock.now().utc_ms;
        records_[record.key] = record;
    }

    void repeat() {
        Modelled* record =
            pick({Is::waiting, Is::claimed, Is::unknown, Is::left, Is::dead, Is::discarded});
        if (record == nullptr || (record->is == Is::discarded && !exists(*record))) {
            return;
        }
        outbox::Submission again = submission(record->conversation.substr(1), record->comment);
        const bool conflict = random_.one_in(3);
        if (conflict) {
            again.feedback.comment += "!";
        }
        const outbox::SubmitResult result = box_->submit(with_id(again, record->id));
        REQUIRE(!result.stored);
        REQUIRE(result.error ==
                (conflict ? make_error_code(errc::id_conflict) : std::error_code{}));
    }

    bool exists(const Modelled& record) {
        return code_of([&] { box_->get(record.id); }) != errc::not_found;
    }

    void claim() {
        outbox::DrainRequest request = box_.request(random_.below(6));
        request.ignore_due = random_.one_in(4);
        take(box_->drain(request), request.ignore_due);
    }

    void take(const outbox::DrainReply& reply, bool ignore_due) {
        for (const outbox::ClaimedRecord& claimed : reply.claimed) {
            CAPTURE(claimed.key);
            Modelled& record = records_.at(claimed.key);
            REQUIRE(!held_);
            REQUIRE(record.is == Is::waiting);
            REQUIRE(mine(record));
            REQUIRE((ignore_due || record.due <= box_->now()));
            REQUIRE(claimed.feedback.comment == record.comment);
            REQUIRE(claimed.id.text() == record.id);
            for (const auto& [key, other] : records_) {
                if (key == claimed.key || other.conversation != record.conversation) {
                    continue;
                }
                CAPTURE(key);
                REQUIRE(other.is != Is::claimed);
                REQUIRE(other.is != Is::unknown);
                const bool delays = other.is == Is::waiting && mine(other) && !kinds_change_;
                REQUIRE((!delays || other.turn >= record.turn));
            }
            record.is = Is::claimed;
        }
    }

    void settle_one(Modelled& record, Settlement::To to, bool possible_duplicate) {
        Settlement settlement;
        settlement.key = record.key;
        settlement.to = to;
        settlement.possible_duplicate = possible_duplicate;
        settlement.due = box_->now() + static_cast<std::int64_t>(random_.below(4'000));
        settlement.counts_attempt = random_.one_in(2);
        if (random_.one_in(2)) {
            settlement.note = outbox::AttemptNote{1, 2, "throttled", 429, "wait"};
        }
        if (to == Settlement::To::delivered) {
            settlement.server_id = std::to_string(++server_ids_);
            settlement.server_time = box_.clock.now().utc_ms;
            settlement.origin = origin;
        }
        const outbox::DrainReply reply = box_.settle(settlement);
        REQUIRE(reply.duplicate_server_ids.empty());
        possible_duplicates_ += possible_duplicate ? 1 : 0;
        switch (to) {
            case Settlement::To::waiting:
                record.is = Is::waiting;
                record.due = settlement.due;
                break;
            case Settlement::To::unknown:
                record.is = Is::unknown;
                break;
            case Settlement::To::left:
                record.is = Is::left;
                break;
            case Settlement::To::delivered:
                record.is = Is::delivered;
                break;
            case Settlement::To::dead:
                record.is = Is::dead;
                break;
        }
    }

    void settle() {
        Modelled* record = pick({Is::claimed, Is::unknown});
        if (record == nullptr) {
            return;
        }
        constexpr std::array all{Settlement::To::waiting,   Settlement::To::unknown,
                                 Settlement::To::left,      Settlement::To::delivered,
                                 Settlement::To::delivered, Settlement::To::dead};
        settle_one(*record, all[random_.below(all.size())], random_.one_in(5));
    }

    void settle_all_delivered() {
        for (auto& [key, record] : records_) {
            if (record.is == Is::claimed) {
                settle_one(record, Settlement::To::delivered, false);
            }
        }
    }

    /// Only a proof of delivery may change what the drainer does not hold.
    void stale_settle() {
        Modelled* record = pick({Is::waiting, Is::left, Is::dead, Is::discarded, Is::delivered});
        if (record == nullptr) {
            return;
        }
        Settlement settlement;
        settlement.key = record->key;
        settlement.to = Settlement::To::dead;
        if (random_.one_in(3)) {
            settlement.to = Settlement::To::delivered;
            settlement.origin = origin;
            settlement.server_id = std::to_string(++server_ids_);
            if (exists(*record)) {
                record->is = Is::delivered;
            }
        }
        box_.settle(settlement);
    }

    void requeue() {
        Modelled* record = pick({Is::waiting, Is::claimed, Is::unknown, Is::left, Is::dead});
        if (record == nullptr) {
            return;
        }
        const bool force = random_.one_in(2);
        const bool unknown = record->is == Is::unknown || record->is == Is::left;
        const bool allowed = record->is == Is::dead || (unknown && force);
        const auto code = code_of([&] { box_->requeue(record->id, force); });
        REQUIRE(code == (allowed ? std::error_code{} : make_error_code(errc::refused_state)));
        if (allowed) {
            possible_duplicates_ += unknown ? 1 : 0;
            record->is = Is::waiting;
            record->due = 0;
            record->turn = 2 * static_cast<std::int64_t>(records_.size()) + 1;
        }
    }

    void discard() {
        Modelled* record = pick({Is::waiting, Is::claimed, Is::unknown, Is::left, Is::dead});
        if (record == nullptr) {
            return;
        }
        const bool force = random_.one_in(2);
        const bool unknown = record->is == Is::unknown || record->is == Is::left;
        const bool allowed = record->is != Is::claimed && (!unknown || force);
        const auto code = code_of([&] { box_->discard(record->id, force); });
        REQUIRE(code == (allowed ? std::error_code{} : make_error_code(errc::refused_state)));
        if (allowed) {
            record->is = Is::discarded;
            record->erased = true;
        }
    }

    void resolve() {
        Modelled* record = pick({Is::unknown, Is::left});
        if (record == nullptr) {
            return;
        }
        if (random_.one_in(2)) {
            box_->resolve_delivered(record->id, std::to_string(++server_ids_));
            record->is = Is::delivered;
        } else {
            box_->resolve_resend(record->id);
            ++possible_duplicates_;
            if (record->is == Is::left) {
                record->turn = 2 * static_cast<std::int64_t>(records_.size()) + 1;
            }
            record->is = Is::waiting;
            record->due = 0;
        }
    }

    void restart() {
        if (random_.one_in(3)) {
            box_.clock.reboot(static_cast<std::int64_t>(random_.below(100'000)));
        }
        if (random_.one_in(3)) {
            box_.clock.jump_utc(static_cast<std::int64_t>(random_.below(1'000'000)) - 500'000);
        }
        box_.reopen();
        box_.become_drainer();
        for (auto& [key, record] : records_) {
            if (record.is == Is::claimed) {
                record.is = Is::unknown;
            }
        }
    }

    void hold() {
        if (random_.one_in(2)) {
            box_->hold();
            held_ = true;
        } else {
            release();
        }
    }

    void release() {
        box_->release();
        held_ = false;
    }

    void change_kind() {
        box_.kind = random_.one_in(2) ? Credential::Kind::api_key : Credential::Kind::jwt;
        kinds_change_ = true;
    }

    void check_lists() {
        std::vector<std::string> all;
        for (const Record& record : box_->list({}, 1'000'000)) {
            all.push_back(record.id);
        }
        std::vector<std::string> expected;
        std::uint64_t delivered = 0;
        std::uint64_t discarded = 0;
        for (const auto& [key, record] : records_) {
            if (record.is == Is::dropped) {
                REQUIRE(!exists(record));
                continue;
            }
            const bool present = exists(record);
            if (record.is == Is::delivered || record.is == Is::discarded) {
                (record.is == Is::delivered ? delivered : discarded) += present ? 1 : 0;
            } else {
                REQUIRE(present);
            }
            if (present) {
                expected.push_back(record.id);
                const Record read = box_->get(record.id);
                REQUIRE(read.state == state_of(record.is));
                REQUIRE(box_->state_of(record.id) == read.state);
                REQUIRE(read.comment == (record.erased ? "" : record.comment));
            }
        }
        REQUIRE(all == expected);
        check_filters(expected.size());
        // The step that settles last prunes; what people settle waits for it.
        const Status status = box_->status();
        REQUIRE(delivered >= std::min(status.delivered, box_.options.keep_delivered));
    }

    void check_filters(std::size_t total) {
        std::size_t sum = 0;
        for (const RecordState state :
             {RecordState::waiting, RecordState::claimed, RecordState::unknown, RecordState::dead,
              RecordState::delivered, RecordState::discarded}) {
            Filter filter;
            filter.state = state;
            std::vector<std::string> paged;
            for (;;) {
                const std::vector<Record> page = box_->list(filter, 3);
                for (const Record& record : page) {
                    REQUIRE(record.state == state);
                    paged.push_back(record.id);
                }
                if (page.size() < 3) {
                    break;
                }
                filter.after = page.back().id;
            }
            REQUIRE(std::set<std::string>(paged.begin(), paged.end()).size() == paged.size());
            filter.after.clear();
            REQUIRE(box_->count(filter) == paged.size());
            sum += paged.size();
        }
        REQUIRE(sum == total);
    }

    TestRandom random_;
    Outboxed box_;
    std::map<std::int64_t, Modelled> records_;
    std::map<std::int64_t, core::UtcMs> submitted_;
    std::uint64_t possible_duplicates_ = 0;
    std::uint64_t server_ids_ = 0;
    bool held_ = false;
    bool kinds_change_ = false;
};

void run(std::uint64_t seed, outbox::StoreOptions options, int steps) {
    CAPTURE(seed);
    options.durability = Durability::relaxed;  // nothing crashes here: no syncs
    Model model{seed, options};
    model.box().become_drainer();
    for (int i = 0; i < steps; ++i) {
        CAPTURE(i);
        model.step();
        model.check();
        if (i % 50 == 49) {
            model.check_deeply();
        }
    }
    model.drain_all();
    for (const Event& event : model.box().events) {
        REQUIRE(!std::holds_alternative<event::Alarm>(event));
    }
}

}  // namespace

TEST_CASE("after any operations the outbox is what a plain list says it is") {
    const std::uint64_t base = test_seed();
    for (std::uint64_t i = 0; i < 12; ++i) {
        outbox::StoreOptions options;
        run(base + i, options, 300);
    }
}

TEST_CASE("the same with a full outbox that refuses, or drops its oldest") {
    const std::uint64_t base = test_seed();
    for (std::uint64_t i = 0; i < 12; ++i) {
        outbox::StoreOptions options;
        options.max_records = 12;
        options.when_full = i % 2 == 0 ? WhenFull::refuse : WhenFull::drop_oldest;
        run(base + i, options, 300);
    }
}

TEST_CASE("the same with little history kept") {
    const std::uint64_t base = test_seed();
    for (std::uint64_t i = 0; i < 12; ++i) {
        outbox::StoreOptions options;
        options.keep_delivered = i % 5;
        run(base + i, options, 300);
    }
}
