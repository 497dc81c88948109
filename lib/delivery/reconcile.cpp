#include "delivery/reconcile.hpp"

#include <algorithm>
#include <compare>

#include "core/text.hpp"

namespace agentsight::delivery {

namespace {

/// The server's machines do not agree to the second, and neither do Date and created_at.
constexpr std::int64_t clock_slack_ms = 30'000;

/// A Date has whole seconds: what is W/2 apart may look a second less.
constexpr std::int64_t date_resolution_ms = 1'000;

/// A list that lags is asked again soon, but not in a hurry.
constexpr std::int64_t blind_wait_floor_ms = 2'000;

bool in_this_boot(const core::Moment& moment, const core::Moment& now) {
    return moment.boot_id != 0 && moment.boot_id == now.boot_id;
}

std::string source_of(Credential::Kind kind) {
    switch (kind) {
        case Credential::Kind::api_key:
            return "customer";
        case Credential::Kind::jwt:
            return "platform";
        case Credential::Kind::none:
            break;
    }
    return {};
}

bool fits(const Sought& record, const core::ServerRow& row) {
    return row.created_at && *row.created_at >= record.window_start &&
           row.sentiment == record.sentiment &&
           (record.source.empty() || row.source.empty() || row.source == record.source) &&
           core::strip(row.comment) == record.comment;
}

/// Where a record or a row stands in the order of time. (One type for both, sorted by one
/// instance of the algorithm: two stable sorts of the things themselves took 5 kB.)
struct Place {
    core::UtcMs time;
    std::int64_t key;
    std::size_t index;
    auto operator<=>(const Place&) const = default;
};

}  // namespace

std::optional<core::UtcMs> window_start(const outbox::ClaimedRecord& record,
                                        const core::Moment& answered, core::UtcMs reply_date) {
    if (in_this_boot(record.attempt_began, answered)) {
        return reply_date - (answered.boot_ms - record.attempt_began.boot_ms) - clock_slack_ms;
    }
    if (record.server_date) {
        return *record.server_date - clock_slack_ms;
    }
    const bool never_attempted = record.attempt_began.boot_id == 0;
    if (never_attempted && in_this_boot(record.submitted, answered)) {
        return reply_date - (answered.boot_ms - record.submitted.boot_ms) - clock_slack_ms;
    }
    return std::nullopt;
}

Sought sought(const outbox::ClaimedRecord& record, core::UtcMs window_start) {
    return {.key = record.key,
            .sentiment = record.feedback.sentiment,
            .comment = std::string{core::strip(record.feedback.comment)},
            .source = source_of(record.kind),
            .window_start = window_start};
}

// Windows are open to the right, so giving the oldest row to the fitting record with the
// earliest window leaves the most for the others; among equals the older record is first. One that
// takes rows of any source comes last: whatever row comes later will do for it.
std::vector<Match> match_rows(const std::vector<Sought>& records,
                              std::span<const core::ServerRow> rows) {
    std::vector<Place> earliest_first;
    for (const Sought& record : records) {
        earliest_first.push_back({record.window_start, record.key, earliest_first.size()});
    }
    std::vector<Place> oldest_first;
    for (const core::ServerRow& row : rows) {
        oldest_first.push_back({row.created_at.value_or(0), 0, oldest_first.size()});
    }
    std::ranges::sort(earliest_first);
    std::ranges::sort(oldest_first);
    std::vector<Match> matches;
    for (const Place& place : oldest_first) {
        const core::ServerRow& row = rows[place.index];
        const auto first = [&](bool of_any_source) {
            return std::ranges::find_if(earliest_first, [&](const Place& one) {
                const Sought& record = records[one.index];
                return record.source.empty() == of_any_source && fits(record, row);
            });
        };
        auto found = first(false);
        if (found == earliest_first.end()) {
            found = first(true);
        }
        if (found != earliest_first.end()) {
            matches.push_back({found->key, row.id, row.created_at});
            earliest_first.erase(found);
        }
    }
    return matches;
}

std::int64_t proven_age(const outbox::ClaimedRecord& record, const Look& look) {
    const core::Moment& ended = record.attempt_ended.value_or(record.attempt_began);
    std::int64_t age = 0;
    if (!in_this_boot(ended, look.asked)) {
        // It ended before this boot began.
        age = look.asked.boot_ms;
    } else if (record.attempt_ended) {
        age = look.asked.boot_ms - ended.boot_ms;
    }
    // Not of a claim that is younger than the drainer: that one's end nobody has seen.
    const bool claimed_before = !in_this_boot(record.attempt_began, look.drain_began) ||
                                record.attempt_began.boot_ms <= look.drain_began.boot_ms;
    if (!record.attempt_ended && claimed_before) {
        age = std::max(age, look.asked.boot_ms - look.drain_began.boot_ms);
    }
    if (record.looks > 0 && record.first_absent) {
        age = std::max(age, look.reply_date - *record.first_absent);
    }
    return age;
}

Verdict judge_absence(const outbox::ClaimedRecord& record, const Look& look) {
    const std::int64_t w = look.reconcile_after_ms;
    Verdict verdict{.looks = record.looks, .first_absent = record.first_absent};
    if (!look.control_seen) {
        verdict.wait_ms = std::max(w / 4, blind_wait_floor_ms);
        return verdict;
    }
    const std::int64_t age = proven_age(record, look);
    if (age < w) {
        verdict.wait_ms = w - age;
        return verdict;
    }
    const std::int64_t apart = verdict.first_absent ? look.reply_date - *verdict.first_absent : -1;
    if (verdict.looks == 0 || apart < 0) {  // less than 0: the server's clock went back
        verdict.looks = 1;
        verdict.first_absent = look.reply_date;
        verdict.wait_ms = w / 2 + date_resolution_ms;
        return verdict;
    }
    if (apart < w / 2) {
        verdict.wait_ms = w / 2 - apart + date_resolution_ms;
        return verdict;
    }
    ++verdict.looks;
    verdict.absent = true;
    return verdict;
}

}  // namespace agentsight::delivery
