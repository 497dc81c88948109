#include "actor.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>
#include <variant>

#include "agentsight/error.hpp"

namespace agentsight::test {

namespace {

constexpr const char* api = "https://api.example";

std::string letters(TestRandom& random, std::size_t size) {
    std::string text(size, ' ');
    for (char& letter : text) {
        letter = static_cast<char>('a' + random.below(26));
    }
    return text;
}

/// Mostly small; now and then several pages.
std::size_t text_size(TestRandom& random) {
    return random.one_in(12) ? 2000 + random.below(9000) : random.below(300);
}

core::Uuid any_uuid(TestRandom& random) {
    core::Uuid id;
    for (auto& byte : id.bytes) {
        byte = static_cast<std::uint8_t>(random.next());
    }
    return id;
}

Place place_of(outbox::Settlement::To to) {
    switch (to) {
        case outbox::Settlement::To::waiting:
            return Place::waiting;
        case outbox::Settlement::To::unknown:
            return Place::unknown;
        case outbox::Settlement::To::left:
            return Place::left;
        case outbox::Settlement::To::delivered:
            return Place::delivered;
        case outbox::Settlement::To::dead:
            return Place::dead;
    }
    return Place::waiting;
}

}  // namespace

Actor::Actor(outbox::StoreOptions options, Truth truth, TestClock& clock, std::uint64_t seed)
    : options_{std::move(options)},
      truth_{std::move(truth)},
      clock_{clock},
      random_{seed},
      store_random_{seed ^ 0x5851F42D4C957F2DULL} {
    // Server ids differ from process to process, as on the real server.
    next_server_id_ = random_.next() >> 1;
    options_.on_event = [this](const Event& event) {
        if (const auto* alarm = std::get_if<event::Alarm>(&event)) {
            alarms_.push_back(alarm->detail);
        } else if (std::holds_alternative<event::Salvaged>(event)) {
            alarms_.push_back("the file was damaged");
        }
    };
}

Actor::~Actor() = default;

void Actor::expect(bool holds, const std::string& what) {
    if (!holds) {
        throw Finding{Finding::Kind::lost, what};
    }
}

void Actor::open() {
    store_ = std::make_unique<outbox::Store>(options_, clock_, store_random_);
    drains_ = false;
    held_.clear();
}

void Actor::close() {
    store_.reset();
    drains_ = false;
    held_.clear();
}

void Actor::returned() {
    if (store_->commits() != commits_before_) {
        truth_.acknowledged();
        commits_before_ = store_->commits();
    }
}

void Actor::check(Truth::Seen seen, bool thoroughly) {
    const std::vector<std::string> wrong =
        thoroughly ? store_->verify() : std::vector<std::string>{};
    if (!wrong.empty()) {
        throw Finding{Finding::Kind::corrupt, "verify: " + wrong.front()};
    }
    if (!alarms_.empty()) {
        throw Finding{Finding::Kind::corrupt, "alarm: " + alarms_.front()};
    }
    const std::string contradiction = truth_.compare(*store_, options_.keep_delivered, seen);
    expect(contradiction.empty(), contradiction);
}

void Actor::step() {
    if (!store_) {
        open();
        commits_before_ = store_->commits();
        return;
    }
    clock_.advance(static_cast<std::int64_t>(random_.below(2000)));
    const std::uint64_t draw = random_.below(100);
    if (draw < 34) {
        submit();
    } else if (draw < 38) {
        submit_many();
    } else if (draw < 43) {
        submit_again();
    } else if (draw < 45) {
        submit_other_content();
    } else if (draw < 75) {
        drains_ ? drain() : become_drainer();
    } else if (draw < 82) {
        look_at_unknowns();
    } else if (draw < 92) {
        act_as_person();
    } else if (draw < 96) {
        tidy();
    } else if (draw < 98) {
        check(Truth::Seen::after_kill);
    } else {
        close();
    }
}

// --- the application ---------------------------------------------------------------------

outbox::Submission Actor::new_submission() {
    outbox::Submission made;
    const std::uint64_t number = random_.below(6);
    made.feedback.conversation.value =
        number < 2 ? "#" + std::to_string(number + 40) : "=c" + std::to_string(number);
    made.feedback.sentiment = static_cast<Sentiment>(random_.below(3));
    made.feedback.comment = letters(random_, text_size(random_));
    if (random_.one_in(3)) {
        made.feedback.metadata = R"({"k":")" + letters(random_, text_size(random_)) + "\"}";
    }
    made.kind = static_cast<Credential::Kind>(random_.below(3));
    if (random_.one_in(3)) {
        made.id = any_uuid(random_);
    }
    return made;
}

void Actor::submit() {
    submit(new_submission());
}

void Actor::submit(const outbox::Submission& submission) {
    const bool full = truth_.open_count() >= options_.max_records;
    truth_.may_appear(submission);
    if (acknowledges_early && submission.id) {
        truth_.appeared(*submission.id, submission);
        truth_.acknowledged();
    }
    if (full && options_.when_full == WhenFull::drop_oldest) {
        if (const auto oldest = truth_.oldest_waiting()) {
            truth_.may_become(*oldest, Place::dropped);
        }
    }
    const outbox::SubmitResult result = store_->submit(submission);
    took(submission, result);
    returned();
}

/// Takes over what a submit answered for one submission.
void Actor::took(const outbox::Submission& submission, const outbox::SubmitResult& result) {
    const bool full = truth_.open_count() >= options_.max_records;
    const auto oldest = truth_.oldest_waiting();
    if (full && (options_.when_full == WhenFull::refuse || !oldest)) {
        expect(result.error == errc::outbox_full, "a full outbox took a record");
        return;
    }
    expect(!result.error, "submit: " + result.message);
    expect(result.stored, "a new record was said to be there already");
    expect(!truth_.records().contains(result.id), "an id was given twice");
    if (submission.id) {
        expect(result.id == *submission.id, "another id than the caller's");
    } else {
        expect(result.id > truth_.last_own_id(), "an id went back");
    }
    if (full) {
        truth_.became(*oldest, Place::dropped);
    }
    truth_.appeared(result.id, submission);
}

void Actor::submit_many() {
    std::vector<outbox::Submission> submissions(2 + random_.below(random_.one_in(4) ? 80 : 10));
    const bool near_full = truth_.open_count() + submissions.size() > options_.max_records;
    if (near_full) {
        return;
    }
    for (auto& submission : submissions) {
        submission = new_submission();
        truth_.may_appear(submission);
    }
    const auto results = store_->submit_many(submissions);
    expect(results.size() == submissions.size(), "not as many results as submissions");
    for (std::size_t i = 0; i < results.size(); ++i) {
        took(submissions[i], results[i]);
    }
    returned();
}

core::Uuid Actor::any_of(const std::vector<core::Uuid>& ids) {
    return ids[random_.below(ids.size())];
}

void Actor::submit_again() {
    const auto& records = truth_.records();
    if (records.empty()) {
        return;
    }
    const auto chosen =
        std::next(records.begin(), static_cast<std::ptrdiff_t>(random_.below(records.size())));
    const core::Uuid id = chosen->first;
    const Place place = chosen->second.seen;
    if (place == Place::dropped || place == Place::delivered || place == Place::discarded) {
        return;  // its row may be gone: then it is a new record
    }
    outbox::Submission again = chosen->second.submission;
    again.id = id;
    const outbox::SubmitResult result = store_->submit(again);
    expect(!result.error, "submitting again: " + result.message);
    expect(!result.stored && result.id == id, "submitting again stored it again");
    returned();
    truth_.acknowledged(id);
}

void Actor::submit_other_content() {
    const auto waiting = truth_.ids_in(Place::waiting);
    if (waiting.empty()) {
        return;
    }
    outbox::Submission other = new_submission();
    other.id = any_of(waiting);
    other.feedback.comment = "other words";
    const outbox::SubmitResult result = store_->submit(other);
    expect(result.error == errc::id_conflict, "an id took other content");
}

// --- the drainer -------------------------------------------------------------------------

void Actor::become_drainer() {
    for (const core::Uuid& id : truth_.ids_in(Place::claimed)) {
        truth_.may_become(id, Place::unknown);
    }
    expect(store_->try_become_drainer(), "nobody drains, and yet the lock is taken");
    store_->begin_draining();
    for (const core::Uuid& id : truth_.ids_in(Place::claimed)) {
        truth_.became(id, Place::unknown);
    }
    drains_ = true;
    returned();
}

outbox::DrainRequest Actor::request(std::size_t claim) {
    outbox::DrainRequest made;
    made.claim = claim;
    made.kind = random_.one_in(2) ? Credential::Kind::api_key : Credential::Kind::jwt;
    made.origin = api;
    made.ignore_due = random_.one_in(2);
    if (random_.one_in(2)) {
        made.server_date = clock_.now().utc_ms;
    }
    if (random_.one_in(6)) {
        outbox::DrainState state;
        state.route = static_cast<int>(random_.below(2));
        state.holds.push_back({.reason = HoldReason::link_down, .since = clock_.now().utc_ms});
        made.save = state;
    }
    return made;
}

outbox::Settlement Actor::settlement_of(const outbox::ClaimedRecord& record, bool was_unknown) {
    using To = outbox::Settlement::To;
    static constexpr std::array<To, 8> fates{To::delivered, To::delivered, To::delivered,
                                             To::delivered, To::waiting,   To::unknown,
                                             To::dead,      To::left};
    outbox::Settlement made;
    made.key = record.key;
    made.to = fates[random_.below(fates.size())];
    if (made.to == To::left && !was_unknown) {
        made.to = To::unknown;
    }
    made.due = store_->now() + static_cast<std::int64_t>(random_.below(3000));
    made.counts_attempt = random_.one_in(2);
    made.attempt_ended = clock_.now();
    if (made.to == To::delivered) {
        made.server_id = std::to_string(next_server_id_++);
        made.server_time = clock_.now().utc_ms;
        made.origin = api;
    } else {
        made.last_status = 500;
        made.last_error = "the server said no";
    }
    if (random_.one_in(2)) {
        made.note = outbox::AttemptNote{.began = record.attempt_began.utc_ms,
                                        .ended = clock_.now().utc_ms,
                                        .outcome = "unknown",
                                        .status = 500,
                                        .detail = "words"};
    }
    return made;
}

void Actor::plan(Plan& plan, const outbox::ClaimedRecord& record, bool was_unknown) {
    plan.request.settlements.push_back(settlement_of(record, was_unknown));
    const Place place = place_of(plan.request.settlements.back().to);
    plan.settled.emplace_back(record.id, place);
    truth_.may_become(record.id, place);
    if (place == Place::waiting && plan.request.claim > 0) {
        // Claimed again in the same transaction.
        truth_.may_become(record.id, Place::claimed);
    }
}

void Actor::drain() {
    Plan made{.request = request(random_.below(9)), .settled = {}};
    while (!held_.empty() && !random_.one_in(5)) {
        plan(made, held_.back(), false);
        held_.pop_back();
    }
    drain(std::move(made));
}

void Actor::look_at_unknowns() {
    if (!drains_) {
        return;
    }
    Plan made{.request = request(0), .settled = {}};
    for (const auto& record : store_->due_unknowns(1 + random_.below(40), true)) {
        plan(made, record, true);
    }
    drain(std::move(made));
}

void Actor::drain(Plan plan) {
    const std::size_t limit = plan.request.claim;
    truth_.may_claim(limit);
    const outbox::DrainReply reply = store_->drain(std::move(plan.request));
    for (const auto& [id, place] : plan.settled) {
        truth_.became(id, place);
    }
    expect(reply.claimed.size() <= limit, "more claimed than asked for");
    for (const outbox::ClaimedRecord& record : reply.claimed) {
        const auto found = truth_.records().find(record.id);
        expect(found != truth_.records().end(), "claimed what was never submitted");
        expect(found->second.seen == Place::waiting, "claimed what was not waiting");
        expect(found->second.submission.feedback == record.feedback, "claimed with other bytes");
        truth_.became(record.id, Place::claimed);
        held_.push_back(record);
    }
    returned();
}

// --- a person ----------------------------------------------------------------------------

void Actor::act_as_person() {
    const auto waiting = truth_.ids_in(Place::waiting);
    const auto dead = truth_.ids_in(Place::dead);
    auto unknown = truth_.ids_in(Place::unknown);
    const auto left = truth_.ids_in(Place::left);
    unknown.insert(unknown.end(), left.begin(), left.end());
    switch (random_.below(6)) {
        case 0:
            return dead.empty() ? void() : requeue(any_of(dead), false);
        case 1:
            return unknown.empty() ? void() : requeue(any_of(unknown), true);
        case 2:
            return waiting.empty() || random_.one_in(2)
                       ? (dead.empty() ? void() : discard(any_of(dead)))
                       : discard(any_of(waiting));
        case 3:
            return unknown.empty() ? void() : discard(any_of(unknown));
        case 4:
            return unknown.empty() ? void() : resolve(any_of(unknown));
        default:
            return hold_or_release();
    }
}

void Actor::requeue(const core::Uuid& id, bool force) {
    truth_.may_become(id, Place::waiting);
    store_->requeue(id.text(), force);
    truth_.became(id, Place::waiting);
    returned();
}

void Actor::discard(const core::Uuid& id) {
    truth_.may_become(id, Place::discarded);
    store_->discard(id.text(), true);
    truth_.became(id, Place::discarded);
    returned();
}

void Actor::resolve(const core::Uuid& id) {
    const bool delivered = random_.one_in(2);
    const Place place = delivered ? Place::delivered : Place::waiting;
    truth_.may_become(id, place);
    if (delivered) {
        store_->resolve_delivered(id.text(), std::to_string(next_server_id_++));
    } else {
        store_->resolve_resend(id.text());
    }
    truth_.became(id, place);
    returned();
}

void Actor::hold_or_release() {
    held_back_ ? store_->release() : store_->hold();
    held_back_ = !held_back_;
    returned();
}

void Actor::tidy() {
    store_->tidy();
}

// --- after a stop ------------------------------------------------------------------------

void Actor::recover(bool durable) {
    const std::vector<outbox::Submission> under_way = truth_.in_flight();
    open();
    commits_before_ = store_->commits();
    check(durable ? Truth::Seen::after_power_cut : Truth::Seen::after_kill);
    // Submitting again comes first now and then: then nothing was committed in between.
    const bool again_first = random_.one_in(2);
    if (again_first) {
        submit_what_was_under_way(under_way);
    }
    become_drainer();
    if (!again_first) {
        submit_what_was_under_way(under_way);
    }
    submit();
    release();
    drain();
    if (random_.one_in(4)) {
        tidy();
    }
    check(Truth::Seen::after_kill, random_.one_in(4));
    if (random_.one_in(2)) {
        close();
    }
}

void Actor::submit_what_was_under_way(const std::vector<outbox::Submission>& under_way) {
    for (const outbox::Submission& submission : under_way) {
        if (!submission.id) {
            continue;  // its caller has no name to ask for it by: it may submit it anew
        }
        const bool there = truth_.records().contains(*submission.id);
        if (!there) {
            if (truth_.open_count() < options_.max_records) {
                submit(submission);
            }
            continue;
        }
        const outbox::SubmitResult result = store_->submit(submission);
        expect(!result.error, "submitting again: " + result.message);
        expect(!result.stored, "submitting again stored it again");
        returned();
        truth_.acknowledged(*submission.id);
    }
}

void Actor::release() {
    store_->release();
    held_back_ = false;
    returned();
}

}  // namespace agentsight::test
