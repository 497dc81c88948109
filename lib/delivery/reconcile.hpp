#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/time.hpp"
#include "core/wire.hpp"
#include "outbox/record.hpp"

/// Which of the server's rows are ours: the pure half of reconciling. All windows are on
/// the server's clock, because ours may be wrong.
namespace agentsight::delivery {

/// From where on a record's row may stand: its Date less the boot time since the attempt
/// began, less 30 s; for an attempt of another boot the last Date seen before its claim;
/// for a record that shows neither (a salvaged one) its submit, where that was in this
/// boot. None: only a person can decide.
std::optional<core::UtcMs> window_start(const outbox::ClaimedRecord& record,
                                        const core::Moment& answered, core::UtcMs reply_date);

/// One unknown record, as the matcher sees it.
struct Sought {
    std::int64_t key = 0;
    Sentiment sentiment = Sentiment::neutral;
    std::string comment;  ///< stripped, as the server does
    std::string source;   ///< empty: any
    core::UtcMs window_start = 0;
};

Sought sought(const outbox::ClaimedRecord& record, core::UtcMs window_start);

struct Match {
    std::int64_t key = 0;
    std::string server_id;
    std::optional<core::UtcMs> server_time;
};

/// Gives each row to at most one record and each record at most one row, as many as can
/// be: a multiset, so that twenty equal records need twenty rows. `rows` must not hold any
/// that a record of ours owns already.
std::vector<Match> match_rows(const std::vector<Sought>& records,
                              std::span<const core::ServerRow> rows);

/// What a complete look that did not find the record means.
struct Look {
    core::Moment asked;        ///< when the reading's first request went out
    core::Moment drain_began;  ///< of this drainer: claims found then had ended by then
    core::UtcMs reply_date = 0;
    std::int64_t reconcile_after_ms = 0;
    bool control_seen = true;  ///< a known row of ours was there, or there is none to look for
};

struct Verdict {
    bool absent = false;       ///< the row is not there and will not come
    std::int64_t wait_ms = 0;  ///< else: look again then
    int looks = 0;
    std::optional<core::UtcMs> first_absent;
};

/// Two looks count, both at least W after the attempt ended, at least W/2 apart on the
/// server's clock (the stricter reading of the two rules: with one look before W, a row
/// that comes at W could be missed by a replica that lags the second). A look that cannot
/// show a row of ours known to be there counts for nothing.
Verdict judge_absence(const outbox::ClaimedRecord& record, const Look& look);

/// At least so long ago the attempt had ended, as far as the clocks can prove.
std::int64_t proven_age(const outbox::ClaimedRecord& record, const Look& look);

}  // namespace agentsight::delivery
