#include <algorithm>
#include <utility>

#include "core/text.hpp"
#include "delivery/engine_impl.hpp"

/// What the server's rows say about records whose outcome is unknown.
namespace agentsight::delivery {

namespace {

/// A server that takes feedback but will not let itself be read is asked so often before
/// that is believed: a firewall's answer sooner than a failure that may pass.
constexpr int foreign_until_impossible = 8;
constexpr int broken_until_impossible = 48;
constexpr int refused_reads_until_impossible = 3;

/// Looks that do not show a row of ours known to be there: a replica that lags, but a row
/// that a moderator deleted looks the same, and must not hold its conversation for ever.
constexpr int blind_looks_until_impossible = 20;

/// A record that keeps drawing 5xx while others are delivered is not sent for ever.
constexpr int server_errors_until_dead = 8;
/// Each may leave a row on a server that lets nobody read.
constexpr int blind_resends = 8;
/// Without deliveries between nothing tells it from an outage; but it lets others try.
constexpr int server_errors_until_aside = 16;

/// The server's filter is only there to save pages: it may be generous.
constexpr std::int64_t filter_slack_ms = 120'000;

constexpr std::int64_t look_after_in_flight_ms = 2'000;

}  // namespace

void Engine::Impl::read_finished(const std::string& conversation, const core::Evidence& evidence) {
    const auto entry = readings_.find(conversation);
    if (entry == readings_.end()) {
        return;
    }
    OpenReading& look = entry->second;
    look.in_flight = false;
    look_ = true;
    const Reading::Progress progress = look.reading.take(evidence);
    if (progress == Reading::Progress::again) {
        return;  // start_reads() goes on
    }
    if (progress == Reading::Progress::other_way && !look.tried_other_way) {
        const ReadWay other =
            look.reading.way() == ReadWay::list ? ReadWay::conversation : ReadWay::list;
        if (look.reading.outcome().what == ReadClass::route_lost) {
            read_way_ = other;
        }
        look.tried_other_way = true;
        look.reading = Reading{look.reading.records(), other, lists_since(look.reading.records())};
        return;
    }
    const OpenReading done = std::move(look);
    readings_.erase(entry);
    if (progress == Reading::Progress::complete) {
        note_date(evidence);
        reading_complete(done.reading);
    } else if (progress == Reading::Progress::trouble) {
        reading_failed(done.reading, done.probe);
    } else {
        if (done.probe) {
            holds_.prolong_due(now_, random_);
        }
        reading_impossible(done.reading, done.reading.outcome().detail);
    }
}

core::UtcMs Engine::Impl::lists_since(const std::vector<outbox::ClaimedRecord>& records) const {
    if (!date_seen_at_ || date_seen_at_->boot_id != moment_.boot_id) {
        return 0;
    }
    const core::UtcMs date = date_seen_ + (moment_.boot_ms - date_seen_at_->boot_ms);
    core::UtcMs since = date;
    for (const outbox::ClaimedRecord& record : records) {
        since = std::min(since, window_start(record, moment_, date).value_or(since));
    }
    return std::max<core::UtcMs>(since - filter_slack_ms, 0);
}

void Engine::Impl::reading_failed(const Reading& reading, bool probe) {
    const ReadOutcome& outcome = reading.outcome();
    switch (outcome.what) {
        case ReadClass::link_down:
            link_failed(outcome.detail);
            return;  // due as before, once the link is back
        case ReadClass::proxy:
            hold(HoldReason::proxy, outcome.status, outcome.detail);
            return;
        case ReadClass::throttled:
            hold_for_throttle(outcome.status, outcome.detail, outcome.retry_after_ms);
            return;
        case ReadClass::credential_refused:
        case ReadClass::account_unpaid:
            // It may write and not read: believed once others were delivered between.
            if (count_trouble(reading, Trouble::refused, refused_reads_until_impossible)) {
                reading_impossible(reading, outcome.detail);
            } else {
                hold(outcome.what == ReadClass::account_unpaid ? HoldReason::account_unpaid
                                                               : HoldReason::credential_refused,
                     outcome.status, outcome.detail);
            }
            return;
        default:
            break;
    }
    if (probe) {
        probe_read_failed(outcome);
    }
    const bool foreign = outcome.what == ReadClass::foreign;
    const Trouble what = foreign ? Trouble::foreign : Trouble::broken;
    if (count_trouble(reading, what,
                      foreign ? foreign_until_impossible : broken_until_impossible)) {
        reading_impossible(reading, outcome.detail);
        return;
    }
    look_again_later(reading);
    if (foreign && read_troubles_[reading.conversation().value].of(what).count == 0) {
        hold(HoldReason::endpoint, outcome.status, outcome.detail);
    }
}

/// Whether readings of this conversation have failed too often. Only failures with
/// deliveries between count: else the server is in trouble, not the reading forbidden.
bool Engine::Impl::count_trouble(const Reading& reading, Trouble what, int limit) {
    Troubles::Kind& troubles = read_troubles_[reading.conversation().value].of(what);
    if (troubles.tries > 0 && deliveries_ > troubles.deliveries) {
        ++troubles.count;
    }
    ++troubles.tries;
    troubles.deliveries = deliveries_;
    return troubles.count >= limit;
}

/// Trouble while reading costs a record nothing but time.
void Engine::Impl::look_again_later(const Reading& reading) {
    const Backoff backoff{.base_ms = std::max<std::int64_t>(policy_.backoff_base_ms, 1'000),
                          .cap_ms = policy_.backoff_cap_ms};
    const auto troubles = read_troubles_.find(reading.conversation().value);
    const int step = troubles == read_troubles_.end() ? 2 : troubles->second.tries() + 1;
    const std::int64_t wait = full_jitter(backoff, step, random_);
    for (const outbox::ClaimedRecord& record : reading.records()) {
        settle(still_unknown(record, wait));
    }
}

outbox::Settlement Engine::Impl::still_unknown(const outbox::ClaimedRecord& record,
                                               std::int64_t wait_ms) const {
    Settlement settlement = decision_about(record);
    settlement.to = Settlement::To::unknown;
    settlement.due = now_ + wait_ms;
    settlement.looks = record.looks;
    settlement.first_absent = record.first_absent;
    settlement.attempt_ended = record.attempt_ended;
    const bool of_this_boot_and_dead = record.attempt_began.boot_id == moment_.boot_id &&
                                       record.attempt_began.boot_ms <= drain_began_.boot_ms;
    if (!record.attempt_ended && of_this_boot_and_dead) {
        settlement.attempt_ended = drain_began_;  // its process was dead by then
    }
    return settlement;
}

/// Rows that no record of ours owns, and none is about to.
std::vector<core::ServerRow> Engine::Impl::claimable_rows(const Reading& reading) {
    if (policy_.mutant == Mutant::match_known_ids) {
        return reading.rows();
    }
    std::vector<std::string> ids;
    ids.reserve(reading.rows().size());
    for (const core::ServerRow& row : reading.rows()) {
        ids.push_back(row.id);
    }
    std::set<std::string> taken;
    for (std::string& id : store_.owned(policy_.origin, ids)) {
        taken.insert(std::move(id));
    }
    for (const Settlement& settlement : pending_) {
        if (settlement.to == Settlement::To::delivered) {
            taken.insert(settlement.server_id);
        }
    }
    std::vector<core::ServerRow> rows;
    for (const core::ServerRow& row : reading.rows()) {
        if (!taken.contains(row.id)) {
            rows.push_back(row);
        }
    }
    return rows;
}

bool Engine::Impl::control_is_seen(const Reading& reading) {
    std::optional<core::UtcMs> since;
    for (const outbox::ClaimedRecord& record : reading.records()) {
        const auto start = window_start(record, reading.answered(), reading.date());
        if (start && (!since || *start < *since)) {
            since = start;
        }
    }
    if (!since) {
        return true;
    }
    const auto known = store_.known_row(reading.conversation(), policy_.origin, *since);
    return !known || std::ranges::any_of(reading.rows(), [&](const core::ServerRow& row) {
        return row.id == *known;
    });
}

/// One conversation may be known by several names, which the outbox keeps apart: a number and a
/// text, texts that differ by white space around them. Then a row may be that of an equal
/// feedback now under way under another name.
bool Engine::Impl::equal_record_is_in_flight(const Reading& reading) const {
    const auto equal = [](const outbox::ClaimedRecord& a, const outbox::ClaimedRecord& b) {
        const core::ConversationKey& one = a.feedback.conversation;
        const core::ConversationKey& other = b.feedback.conversation;
        const bool may_be_one = one.is_number() != other.is_number() ||
                                core::strip(one.name()) == core::strip(other.name());
        return one != other && may_be_one && a.feedback.sentiment == b.feedback.sentiment &&
               core::strip(a.feedback.comment) == core::strip(b.feedback.comment);
    };
    return std::ranges::any_of(flights_, [&](const auto& flight) {
        return flight.second.record &&
               std::ranges::any_of(reading.records(), [&](const outbox::ClaimedRecord& record) {
                   return equal(record, *flight.second.record);
               });
    });
}

void Engine::Impl::reading_complete(const Reading& reading) {
    api_readable_ = true;
    holds_.probe_all_at_once(now_);
    if (equal_record_is_in_flight(reading)) {
        for (const outbox::ClaimedRecord& record : reading.records()) {
            settle(still_unknown(record, look_after_in_flight_ms));
        }
        return;
    }
    const Evaluation evaluation = evaluate(reading);
    if (!evaluation.control_seen &&
        ++read_troubles_[reading.conversation().value].of(Trouble::blind).tries >=
            blind_looks_until_impossible) {
        reading_impossible(reading, "the server's list does not show a feedback known to be there");
        return;
    }
    if (evaluation.control_seen) {
        read_troubles_.erase(reading.conversation().value);
    }
    const Look look{.asked = reading.asked(),
                    .drain_began = drain_began_,
                    .reply_date = reading.date(),
                    .reconcile_after_ms = policy_.reconcile_after_ms,
                    .control_seen = evaluation.control_seen};
    for (const outbox::ClaimedRecord& record : reading.records()) {
        const auto match = std::ranges::find(evaluation.matches, record.key, &Match::key);
        if (match != evaluation.matches.end()) {
            found(record, *match, reading.date());
        } else if (record.origin != policy_.origin) {
            leave_to_person(record, "it was sent to another endpoint");
        } else if (!window_start(record, reading.answered(), reading.date())) {
            leave_to_person(record, "when it was sent cannot be told on the server's clock");
        } else if (policy_.mutant == Mutant::one_look_at_once) {
            send_again(record, false);
        } else {
            not_there(record, judge_absence(record, look));
        }
    }
}

Engine::Impl::Evaluation Engine::Impl::evaluate(const Reading& reading) {
    std::vector<Sought> records;
    for (const outbox::ClaimedRecord& record : reading.records()) {
        const auto start = window_start(record, reading.answered(), reading.date());
        if (start && record.origin == policy_.origin) {
            records.push_back(sought(record, *start));
        }
    }
    const std::vector<core::ServerRow> rows = claimable_rows(reading);
    return {.matches = match_rows(records, rows), .control_seen = control_is_seen(reading)};
}

void Engine::Impl::found(const outbox::ClaimedRecord& record, const Match& match,
                         core::UtcMs date) {
    Settlement settlement = decision_about(record);
    settlement.to = Settlement::To::delivered;
    settlement.server_id = match.server_id;
    settlement.server_time = match.server_time.value_or(date);
    settlement.origin = policy_.origin;
    settlement.note = outbox::AttemptNote{.began = moment_.utc_ms,
                                          .ended = moment_.utc_ms,
                                          .outcome = "found",
                                          .detail = "the server has it"};
    bad_answers_.erase(record.key);
    tell_once_committed(event::Delivered{record.id.text(), match.server_id});
    settle(std::move(settlement));
}

void Engine::Impl::not_there(const outbox::ClaimedRecord& record, const Verdict& verdict) {
    if (!verdict.absent) {
        Settlement settlement = still_unknown(record, verdict.wait_ms);
        settlement.looks = verdict.looks;
        settlement.first_absent = verdict.first_absent;
        settle(std::move(settlement));
        return;
    }
    const bool poison = record.last_status && *record.last_status >= 500 &&
                        record.refusals >= server_errors_until_dead;
    if (!poison) {
        send_again(record, false);
        return;
    }
    Settlement settlement = decision_about(record);
    settlement.to = Settlement::To::dead;
    tell_once_committed(event::DeadLetter{record.id.text(), *record.last_status,
                                          "the server fails at this feedback again and again"});
    settle(std::move(settlement));
}

void Engine::Impl::send_again(const outbox::ClaimedRecord& record, bool possible_duplicate) {
    Settlement settlement = decision_about(record);
    settlement.to = Settlement::To::waiting;
    settlement.due = now_;
    const bool fails = record.last_status && *record.last_status >= 500;
    if (fails || record.attempts > 1) {
        // It will most likely fail again, and cost three looks again.
        const Backoff backoff{.base_ms = policy_.backoff_base_ms, .cap_ms = policy_.backoff_cap_ms};
        const auto answers = bad_answers_.find(record.key);
        // Of its attempts these alone: what a 404 cost it says nothing about the server.
        const int beyond = (answers == bad_answers_.end() ? 0 : answers->second.unknowns) -
                           server_errors_until_aside;
        settlement.due += beyond < 0 ? full_jitter(backoff, record.attempts, random_)
                                     : half_jitter(rarely, beyond, random_);
        if (fails && answers != bad_answers_.end() &&
            answers->second.strikes >= server_errors_until_aside) {
            // Hours by now. The API answers reads, so this may be about this record, and
            // nothing else of its conversation will ever show it.
            answers->second.strikes = 0;
            settlement.behind = true;
        }
    }
    settlement.possible_duplicate = possible_duplicate;
    settle(std::move(settlement));
}

void Engine::Impl::leave_to_person(const outbox::ClaimedRecord& record, const std::string& why) {
    Settlement settlement = still_unknown(record, 0);
    settlement.to = Settlement::To::left;
    settlement.last_error = "left to a person: " + why;
    tell_once_committed(event::Alarm{"record " + record.id.text() +
                                     " may or may not have arrived, a person must decide: " + why});
    settle(std::move(settlement));
}

void Engine::Impl::reading_impossible(const Reading& reading, const std::string& why) {
    read_troubles_.erase(reading.conversation().value);
    for (const outbox::ClaimedRecord& record : reading.records()) {
        if (record.origin != policy_.origin) {
            leave_to_person(record, "it was sent to another endpoint");
        } else if (policy_.when_unknown == WhenUnknown::leave_to_person) {
            leave_to_person(record, "the server cannot be read (" + why + ")");
        } else if (record.attempts >= blind_resends) {
            leave_to_person(record, "it was sent " + std::to_string(record.attempts) +
                                        " times, and the server cannot be read (" + why + ")");
        } else {
            send_again(record, true);
        }
    }
}

}  // namespace agentsight::delivery
