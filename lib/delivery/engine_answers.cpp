#include <algorithm>
#include <utility>

#include "core/masking.hpp"
#include "delivery/engine_impl.hpp"

/// What the answer to an attempt means for its record, and for all the others.
namespace agentsight::delivery {

namespace {

/// A row that is there at all is nearly always there by now.
constexpr std::int64_t first_look_ms = 2'000;

/// Answers of one kind to one record, with deliveries of others between, until the record
/// is judged alone. A firewall's or a key's answer is plain; what a server in trouble says
/// may pass.
constexpr int plain_answers = 3;
constexpr int passing_answers = 8;

/// Refusals of different records in a row: not the feedback is wrong, the API changed.
constexpr int refusals_until_hold = 5;

/// Unknown outcomes in a row: the server is in trouble, and each more would only make one
/// more record unknown.
constexpr int unknowns_until_hold = 3;

/// "Try again" to everything, as often in a row: more than can be under way at once, so that a
/// server that only ends its connections is not taken for one in trouble.
constexpr int not_processed_until_hold = 16;
/// As often from one record until others of its conversation may try: this may be about it.
constexpr int not_processed_until_aside = 16;

constexpr std::size_t remembered_bad_answers = 4'096;
constexpr std::size_t remembered_missing = 1'024;

/// A bound for devices whose boots are too short to prove how long ago something was.
constexpr std::int64_t least_grace_attempts = 16;

bool is_server_error(std::optional<int> status) {
    return status && *status >= 500 && *status < 600;
}

bool judges_the_record(Class what) {
    return what == Class::delivered || what == Class::not_found || what == Class::refused;
}

outbox::AttemptNote note_of(const core::Evidence& evidence, const Outcome& outcome) {
    outbox::AttemptNote note;
    note.began = evidence.began.utc_ms;
    note.ended = evidence.ended.utc_ms;
    note.outcome = std::string{to_string(outcome.what)};
    if (outcome.status != 0) {
        note.status = outcome.status;
    }
    note.detail = outcome.detail;
    return note;
}

}  // namespace

void keep_proof(outbox::Store& store, const std::string& origin, std::int64_t record,
                const Sent& sent, const core::Evidence& evidence) {
    Outcome outcome = classify(evidence, sent);
    if (record == 0 || outcome.what != Class::delivered) {
        return;
    }
    outbox::Settlement settlement;
    settlement.key = record;
    settlement.to = outbox::Settlement::To::delivered;
    settlement.counts_attempt = true;
    settlement.server_id = std::move(outcome.server_id);
    settlement.server_time = outcome.server_time;
    settlement.origin = origin;
    settlement.note = note_of(evidence, outcome);
    outbox::DrainRequest request;
    request.settlements.push_back(std::move(settlement));
    request.origin = origin;
    request.server_date = evidence.date;
    store.drain(std::move(request));
}

void Engine::Impl::finished(std::uint64_t task, core::Evidence evidence) {
    const auto entry = flights_.find(task);
    if (entry == flights_.end()) {
        return;
    }
    Flight flight = std::move(entry->second);
    flights_.erase(entry);
    now_ = store_.now();
    moment_ = store_.moment();
    if (flight.kind == Task::Kind::connect) {
        connect_finished(flight, evidence);
    } else if (evidence.failure == core::Failure::aborted && !evidence.request_written) {
        not_sent(flight);
    } else if (flight.record) {
        note_exchange(evidence);
        send_finished(std::move(flight), evidence);
    } else if (flight.conversation.empty()) {
        note_exchange(evidence);
        flight.probe ? ask_finished(evidence) : time_finished(evidence);
    } else {
        note_exchange(evidence);
        const bool refused = evidence.status == 401 || evidence.status == 403;
        if (evidence.failure == core::Failure::aborted ||
            (refused && flight.credential != credential_)) {
            // We stopped it, or the credential it went out under has been replaced.
            readings_.erase(flight.conversation);
            look_ = true;
        } else {
            read_finished(flight.conversation, evidence);
        }
    }
}

/// We stopped it before the server could know of it: nothing happened.
void Engine::Impl::not_sent(const Flight& flight) {
    if (flight.record) {
        give_back(*flight.record, now_);
    } else if (!flight.conversation.empty()) {
        readings_.erase(flight.conversation);
        look_ = true;
    } else if (!flight.probe) {
        asked_time_ = false;
    }
}

void Engine::Impl::connect_finished(const Flight& flight, const core::Evidence& evidence) {
    if (evidence.failure == core::Failure::none) {
        last_contact_boot_ms_ = moment_.boot_ms;
        if (const outbox::HoldRow* const row = holds_.find(HoldReason::link_down)) {
            // Not forgotten until an answer comes: a way that only lets us connect is none.
            holds_.remember_step(HoldReason::link_down, row->step);
            unhold(HoldReason::link_down, true);
        }
        return;
    }
    core::Evidence unwritten = evidence;
    unwritten.request_written = false;
    const Outcome outcome = classify(unwritten, {});
    if (evidence.failure == core::Failure::aborted || flight.network != network_) {
        return;  // it says nothing about the network there is now
    }
    if (outcome.what == Class::proxy) {
        hold(HoldReason::proxy, outcome.status, outcome.detail);
    } else {
        link_failed(outcome.detail);
    }
}

/// A response proves the way; a request that got none makes it doubtful.
void Engine::Impl::note_exchange(const core::Evidence& evidence) {
    if (evidence.failure == core::Failure::none && evidence.status != 0) {
        last_contact_boot_ms_ = moment_.boot_ms;
        const auto took = static_cast<double>(evidence.ended.boot_ms - evidence.began.boot_ms);
        mean_exchange_ms_ += (std::max(took, 0.0) - mean_exchange_ms_) / 8;
    } else {
        last_contact_boot_ms_.reset();
    }
}

/// Only from answers that the API itself gave: a portal's clock is nobody's.
void Engine::Impl::note_date(const core::Evidence& evidence) {
    if (!evidence.date) {
        return;
    }
    date_seen_ = *evidence.date;
    date_seen_at_ = evidence.ended;
    server_date_ = evidence.date;
}

outbox::Settlement Engine::Impl::decision_about(const outbox::ClaimedRecord& record) {
    Settlement settlement;
    settlement.key = record.key;
    settlement.attempt = record.attempt_began;
    settlement.refusals = record.refusals;
    return settlement;
}

void Engine::Impl::settle(Settlement settlement) {
    if (pending_.empty()) {
        pending_since_ = now_;
    }
    if (at_full_speed() && settlement.to == Settlement::To::waiting && settlement.due > now_) {
        retried_[settlement.key] = settlement.due;
    }
    pending_.push_back(std::move(settlement));
}

void Engine::Impl::send_finished(Flight flight, const core::Evidence& evidence) {
    const outbox::ClaimedRecord& record = *flight.record;
    Outcome outcome = classify(evidence, sent_of(record));
    const bool other_credential =
        flight.credential != credential_ &&
        (outcome.what == Class::credential_refused || outcome.what == Class::account_unpaid);
    if (other_credential) {
        give_back(record, now_);  // it went out under a credential that has been replaced
        return;
    }
    if (outcome.status != 0) {  // the server's words
        outcome.detail = core::masked(outcome.detail, record.feedback);
    }
    Settlement settlement = decision_about(record);
    settlement.to = Settlement::To::waiting;
    settlement.due = now_;
    if (outcome.what != Class::link_down) {  // the hold tells of that, not the record
        settlement.last_error = outcome.detail;
        settlement.note = note_of(evidence, outcome);
    }
    if (outcome.status != 0) {
        settlement.last_status = outcome.status;
    }
    if (judges_the_record(outcome.what)) {
        note_date(evidence);
        answered_by_api();
    }
    switch (outcome.what) {
        case Class::delivered:
            delivered(record, outcome, settlement);
            break;
        case Class::link_down:
            link_failed(outcome.detail);
            break;
        case Class::not_processed:
            not_processed(flight, outcome, settlement);
            break;
        case Class::throttled:
            throttled(outcome);
            break;
        case Class::credential_refused:
            blame_everything(record, outcome, HoldReason::credential_refused, settlement);
            break;
        case Class::account_unpaid:
            blame_everything(record, outcome, HoldReason::account_unpaid, settlement);
            break;
        case Class::proxy:
            blame_everything(record, outcome, HoldReason::proxy, settlement);
            break;
        case Class::intercepted:
            blame_everything(record, outcome, HoldReason::endpoint, settlement);
            break;
        case Class::route_lost:
            route_lost(flight, settlement, outcome);
            break;
        case Class::not_found:
            not_found(record, settlement);
            break;
        case Class::refused:
            refused(record, settlement, outcome);
            break;
        case Class::unknown:
            unknown(flight, outcome, evidence, settlement);
            break;
    }
    const std::string id = record.id.text();
    if (settlement.to == Settlement::To::dead) {
        tell_once_committed(event::DeadLetter{id, outcome.status, outcome.detail});
    } else if (settlement.to == Settlement::To::delivered) {
        tell_once_committed(event::Delivered{id, settlement.server_id});
    } else if (outcome.what != Class::link_down) {
        tell_once_committed(event::AttemptFailed{id, outcome.status, outcome.detail});
    }
    settle(std::move(settlement));
}

void Engine::Impl::delivered(const outbox::ClaimedRecord& record, Outcome& outcome,
                             Settlement& settlement) {
    settlement.to = Settlement::To::delivered;
    settlement.counts_attempt = true;
    settlement.server_id = std::move(outcome.server_id);
    settlement.server_time = outcome.server_time;
    settlement.origin = policy_.origin;
    settlement.refusals = 0;
    ++deliveries_;
    pacer_.delivered();
    refusals_in_row_ = 0;
    throttle_step_ = 0;
    route_lost_[0] = route_lost_[1] = false;
    bad_answers_.erase(record.key);
    missing_.erase(record.feedback.conversation.value);
    unhold(HoldReason::refusals, true);
}

/// The API itself judged a record: whatever was thought to be in the way is not.
void Engine::Impl::answered_by_api() {
    unknowns_in_row_ = 0;
    not_processed_in_row_ = 0;
    holds_.forget_steps();
    for (const HoldReason reason :
         {HoldReason::link_down, HoldReason::credential_refused, HoldReason::account_unpaid,
          HoldReason::route_lost, HoldReason::endpoint, HoldReason::proxy, HoldReason::outage}) {
        unhold(reason, true);
    }
    // What was under way when the server said "later" proves nothing about now.
    const outbox::HoldRow* const throttle = holds_.find(HoldReason::throttled);
    if (throttle != nullptr && throttle->until && *throttle->until <= now_) {
        unhold(HoldReason::throttled, true);
    }
}

void Engine::Impl::refused(const outbox::ClaimedRecord& record, Settlement& settlement,
                           const Outcome& outcome) {
    settlement.counts_attempt = true;
    if (holds_.has(HoldReason::refusals)) {
        hold_after(HoldReason::refusals, outcome, settlement);  // the probe failed
        judged_alone(record, outcome.status);
        step_aside(record, HoldReason::refusals, settlement);
        return;
    }
    settlement.to = Settlement::To::dead;
    ++refusals_in_row_;
    if (refusals_in_row_ >= refusals_until_hold) {
        hold(HoldReason::refusals, outcome.status, outcome.detail);
    }
}

/// By boot time, never by the wall clock: since its first attempt, or since the server was
/// first seen not to know the conversation, if the record is older than that. And only when
/// the server has said so as often as it does in such a time: what a portal or a missing link
/// took of it does not count. A device that is restarted too often to prove how long it was
/// gives up by the number of attempts.
bool Engine::Impl::grace_is_over(const outbox::ClaimedRecord& record) {
    if (missing_.size() >= remembered_missing) {
        missing_.clear();
    }
    Missing& missing =
        missing_.try_emplace(record.feedback.conversation.value, Missing{moment_.boot_ms})
            .first->second;
    ++missing.answers;
    const auto waited = [this](const core::Moment& from) {
        // What was in another boot was before this one.
        return moment_.boot_ms - (from.boot_id == moment_.boot_id ? from.boot_ms : 0);
    };
    const core::Moment first = record.first_attempt.value_or(record.attempt_began);
    const std::int64_t of_conversation =
        std::min(moment_.boot_ms - missing.since, waited(record.submitted));
    // On average an attempt waits half the cap.
    const std::int64_t fitting =
        2 * policy_.not_found_grace_ms / std::max<std::int64_t>(policy_.backoff_cap_ms, 1);
    if ((waited(first) >= policy_.not_found_grace_ms && record.attempts >= fitting) ||
        (of_conversation >= policy_.not_found_grace_ms && missing.answers >= fitting)) {
        return true;
    }
    return record.attempts >= least_grace_attempts + 2 * fitting;
}

void Engine::Impl::not_found(const outbox::ClaimedRecord& record, Settlement& settlement) {
    settlement.counts_attempt = true;
    bad_answers_.erase(record.key);  // the API works, and judged it
    if (policy_.not_found_grace_ms == 0 || grace_is_over(record)) {
        settlement.to = Settlement::To::dead;
        return;
    }
    const Backoff backoff{.base_ms = policy_.backoff_base_ms, .cap_ms = policy_.backoff_cap_ms};
    settlement.due = now_ + full_jitter(backoff, record.attempts, random_);
}

void Engine::Impl::not_processed(const Flight& flight, const Outcome& outcome,
                                 Settlement& settlement) {
    const outbox::ClaimedRecord& record = *flight.record;
    settlement.refusals = judged_alone(record, outcome.status);
    if (settlement.refusals >= passing_answers) {
        settlement.to = Settlement::To::dead;
        return;
    }
    const Backoff backoff{.base_ms = policy_.backoff_base_ms, .cap_ms = policy_.backoff_cap_ms};
    const int step = std::max(settlement.refusals, bad_answers_[record.key].strikes) - 1;
    settlement.due = now_ + full_jitter(backoff, step, random_);
    ++not_processed_in_row_;
    if (not_processed_in_row_ >= not_processed_until_hold || holds_.has(HoldReason::outage) ||
        flight.probe) {
        hold_after(HoldReason::outage, outcome, settlement);
        step_aside(record, HoldReason::outage, settlement);
    }
}

Engine::Impl::BadAnswers& Engine::Impl::bad_answers_of(std::int64_t key) {
    if (bad_answers_.size() >= remembered_bad_answers && !bad_answers_.contains(key)) {
        bad_answers_.erase(bad_answers_.begin());  // its count goes on a little later
    }
    // Of what was delivered before it is known nothing follows.
    return bad_answers_.try_emplace(key, BadAnswers{.deliveries = deliveries_}).first->second;
}

/// How many answers of one kind this record drew while others were delivered. Where
/// nothing was delivered between, the answer is about everything and counts once.
int Engine::Impl::judged_alone(const outbox::ClaimedRecord& record, int status) {
    const bool same =
        record.last_status && (*record.last_status == status ||
                               (is_server_error(record.last_status) && is_server_error(status)));
    BadAnswers& answers = bad_answers_of(record.key);
    const bool others_delivered = deliveries_ > answers.deliveries;
    answers.strikes = others_delivered || !same ? 1 : answers.strikes + 1;
    answers.deliveries = deliveries_;
    if (!same) {
        return 1;
    }
    return others_delivered ? record.refusals + 1 : std::max(record.refusals, 1);
}

void Engine::Impl::blame_everything(const outbox::ClaimedRecord& record, const Outcome& outcome,
                                    HoldReason reason, Settlement& settlement) {
    settlement.refusals = judged_alone(record, outcome.status);
    if (settlement.refusals >= plain_answers) {
        settlement.to = Settlement::To::dead;
        return;
    }
    hold_after(reason, outcome, settlement);
    step_aside(record, reason, settlement);
}

/// A record that draws the same answer at each probe may be the only one that does, and
/// stand before all others of the only conversation. Once the API has answered a read,
/// the way is open and the next record may probe, out of order, because this one may never
/// go. A portal answers reads too, but not as the API.
void Engine::Impl::step_aside(const outbox::ClaimedRecord& record, HoldReason reason,
                              Settlement& settlement) {
    const auto answers = bad_answers_.find(record.key);
    const bool about_content = reason == HoldReason::endpoint || reason == HoldReason::route_lost ||
                               reason == HoldReason::refusals || reason == HoldReason::outage;
    // Lost routes are nearly always lost for all, and for long; so is a server in trouble.
    const int enough = reason == HoldReason::route_lost ? passing_answers
                       : reason == HoldReason::outage   ? not_processed_until_aside
                                                        : plain_answers;
    if (!about_content || answers == bad_answers_.end() || answers->second.strikes < enough) {
        return;
    }
    if (!api_readable_ && reason != HoldReason::refusals) {
        ask_ = record.feedback.conversation;
        return;
    }
    answers->second.strikes = 0;
    settlement.behind = true;
    holds_.probe_at_once(reason, now_);
}

/// Any answer of the API will do: what is wanted is its Date.
void Engine::Impl::time_finished(const core::Evidence& evidence) {
    const ReadOutcome outcome = classify_read(evidence);
    switch (outcome.what) {
        case ReadClass::readable:
        case ReadClass::not_found:
        case ReadClass::refused:
        case ReadClass::credential_refused:
            note_date(evidence);
            return;
        case ReadClass::link_down:
            asked_time_ = false;
            link_failed(outcome.detail);
            return;
        case ReadClass::throttled:
            hold_for_throttle(outcome.status, outcome.detail, outcome.retry_after_ms);
            return;
        default:
            return;  // then the local clock must do
    }
}

void Engine::Impl::ask_finished(const core::Evidence& evidence) {
    ask_.reset();
    const ReadOutcome outcome = classify_read(evidence);
    switch (outcome.what) {
        case ReadClass::readable:
        case ReadClass::not_found:
        case ReadClass::refused:
            api_readable_ = true;
            holds_.probe_all_at_once(now_);
            return;
        case ReadClass::link_down:
            link_failed(outcome.detail);
            return;
        case ReadClass::throttled:
            hold_for_throttle(outcome.status, outcome.detail, outcome.retry_after_ms);
            return;
        default:
            probe_read_failed(outcome);
    }
}

/// The newest evidence names the hold: a server that fails now is in trouble, whatever it
/// said of our credential an hour ago.
void Engine::Impl::probe_read_failed(const ReadOutcome& outcome) {
    if (outcome.what == ReadClass::broken) {
        hold(HoldReason::outage, outcome.status, outcome.detail);
    } else {
        holds_.prolong_due(now_, random_);
    }
}

void Engine::Impl::route_lost(const Flight& flight, Settlement& settlement,
                              const Outcome& outcome) {
    const outbox::ClaimedRecord& record = *flight.record;
    if (policy_.dialect != Dialect::automatic) {
        blame_everything(record, outcome, HoldReason::route_lost, settlement);
        return;
    }
    const auto index = [](core::Route route) { return static_cast<std::size_t>(route); };
    route_lost_[index(flight.route)] = true;
    if (flight.route != route_) {
        return;  // another answer has switched already
    }
    const core::Route other = route_ == core::Route::feedbacks ? core::Route::conversation_feedbacks
                                                               : core::Route::feedbacks;
    const bool both = route_lost_[index(other)];
    settlement.refusals = judged_alone(record, outcome.status);
    if (settlement.refusals >= plain_answers) {
        settlement.to = Settlement::To::dead;
        return;
    }
    route_ = other;  // where both are lost, probes alternate
    if (both) {
        hold_after(HoldReason::route_lost, outcome, settlement);
        step_aside(record, HoldReason::route_lost, settlement);
    }
}

void Engine::Impl::unknown(const Flight& flight, const Outcome& outcome,
                           const core::Evidence& evidence, Settlement& settlement) {
    settlement.counts_attempt = true;
    settlement.refusals = outcome.server_error ? judged_alone(*flight.record, outcome.status) : 0;
    settlement.to = Settlement::To::unknown;
    settlement.due = now_ + std::min(first_look_ms, policy_.reconcile_after_ms);
    settlement.attempt_ended = evidence.ended;
    if (policy_.mutant == Mutant::resend_without_reading) {
        settlement.to = Settlement::To::waiting;
        return;
    }
    if (evidence.failure == core::Failure::aborted) {
        return;  // it was we who stopped it
    }
    ++bad_answers_of(flight.record->key).unknowns;
    ++unknowns_in_row_;
    const bool foreign_answer =
        evidence.failure == core::Failure::none && evidence.status != 0 && !outcome.server_error;
    const HoldReason reason = foreign_answer ? HoldReason::endpoint : HoldReason::outage;
    // A probe that failed is enough: what is held is held for the newest reason.
    if (unknowns_in_row_ >= unknowns_until_hold || holds_.has(reason) || flight.probe) {
        hold(reason, outcome.status, outcome.detail);
    }
    if (flight.probe && outcome.status != 0 && holds_.told().value_or(now_) <= now_) {
        unhold(HoldReason::throttled, false);  // answered: no longer throttled, something else
    }
}

void Engine::Impl::throttled(const Outcome& outcome) {
    hold_for_throttle(outcome.status, outcome.detail, outcome.retry_after_ms);
}

/// Never at the time told but after it, each device at its own; only who waits for a
/// flush goes at the time told.
void Engine::Impl::hold_for_throttle(int status, const std::string& detail,
                                     std::optional<std::int64_t> retry_after_ms) {
    const Backoff backoff{.base_ms = policy_.backoff_base_ms, .cap_ms = policy_.backoff_cap_ms};
    if (const outbox::HoldRow* const outage = holds_.find(HoldReason::outage)) {
        // The server is there again, and says so; whether it works an answer must show.
        holds_.remember_step(HoldReason::outage, outage->step);
        unhold(HoldReason::outage, true);
    }
    core::OutboxMs until = now_;
    core::OutboxMs binding = now_;
    if (retry_after_ms) {
        const std::int64_t told = *retry_after_ms;
        binding = std::max(holds_.told().value_or(0), now_ + told);
        until = std::max(binding, now_ + backoff_floor_ms);
        if (!at_full_speed()) {
            // Told too short a time again and again, a fleet must thin out by itself.
            const std::int64_t spread =
                std::max({told, backoff_ceiling(backoff, throttle_step_), pacer_.herd_ms(until)});
            until += full_jitter({.base_ms = spread, .cap_ms = spread}, 0, random_);
        }
    } else {
        const std::int64_t herd = at_full_speed() ? 0 : pacer_.herd_ms(now_);
        const std::int64_t spread = std::max(backoff_ceiling(backoff, throttle_step_), herd);
        until += full_jitter({.base_ms = spread, .cap_ms = spread}, 0, random_);
    }
    // Answers of what was under way together tell one thing.
    const outbox::HoldRow* const row = holds_.find(HoldReason::throttled);
    if (row == nullptr || row->until.value_or(now_) <= now_) {
        throttle_step_ = std::min(throttle_step_ + 1, 40);
    }
    pacer_.throttled(now_);
    const HoldCause cause{.reason = HoldReason::throttled, .status = status, .detail = detail};
    if (holds_.enter_throttle(cause, {.told = binding, .until = until}, moment_)) {
        tell(event::Held{cause.reason, status, detail});
    }
    withdraw();
}

/// The next probe is another record's: this one goes behind those that are due.
void Engine::Impl::hold_after(HoldReason reason, const Outcome& outcome, Settlement& settlement) {
    settlement.due = now_ + 1;
    hold(reason, outcome.status, outcome.detail);
}

void Engine::Impl::hold(HoldReason reason, int status, const std::string& detail) {
    const HoldCause cause{.reason = reason, .status = status, .detail = detail};
    if (holds_.enter(cause, moment_, now_, random_)) {
        api_readable_ = false;
        tell(event::Held{reason, status, detail});
    }
    withdraw();
}

void Engine::Impl::unhold(HoldReason reason, bool by_itself) {
    if (!holds_.leave(reason)) {
        return;
    }
    tell(event::Released{reason});
    const bool paces = reason == HoldReason::link_down || reason == HoldReason::throttled ||
                       reason == HoldReason::outage;
    if (by_itself && paces && !at_full_speed()) {
        pacer_.hold_ended(reason == HoldReason::throttled, now_, random_);
    }
}

void Engine::Impl::link_failed(const std::string& detail) {
    last_contact_boot_ms_.reset();
    hold(HoldReason::link_down, 0, detail);
}

}  // namespace agentsight::delivery
