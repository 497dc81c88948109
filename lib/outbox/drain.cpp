#include "outbox/drain.hpp"

#include <algorithm>

#include "outbox/claim.hpp"

namespace agentsight::outbox {

namespace {

constexpr int cursor_steps = 512;
constexpr core::UtcMs keep_owned_ms = 24 * 60 * 60 * 1000;
/// More than what a look allows the server's clocks to differ by.
constexpr core::UtcMs window_slack_ms = 60'000;

/// Owned server ids and statuses of a record that may have been sent just now.
void remember_attempt(RowState& row, const Settlement& settlement) {
    row.attempts += settlement.counts_attempt ? 1 : 0;
    row.refusals = settlement.refusals;
    if (settlement.last_status || !settlement.last_error.empty()) {
        row.last_status = settlement.last_status;
        row.last_error = settlement.last_error;
    }
    if (settlement.attempt_ended) {
        row.ended = settlement.attempt_ended;
    }
    const bool was_sent = settlement.counts_attempt || settlement.last_status ||
                          settlement.to != Settlement::To::waiting;
    if (was_sent && !row.first_attempt) {
        row.first_attempt = row.began;
    }
}

/// A person may have had an unknown record sent again while a look at it was under way: what
/// the look says is about the attempt before.
bool is_about_this_attempt(const RowState& row, const Settlement& settlement) {
    const core::Moment began = row.began.value_or(core::Moment{});
    return !settlement.attempt || (settlement.attempt->boot_id == began.boot_id &&
                                   settlement.attempt->boot_ms == began.boot_ms);
}

std::optional<core::OutboxMs> earliest_due(Tables& tables, Lane lane) {
    sqlite::Rows rows = tables.database().query(
        "SELECT due FROM record INDEXED BY work WHERE lane = ? AND lane BETWEEN 3 AND 5 AND due > ?"
        " ORDER BY due LIMIT 1",
        lane, tables.now());
    return rows.next() ? std::optional{rows.integer(0)} : std::nullopt;
}

std::optional<core::OutboxMs> earlier(std::optional<core::OutboxMs> a,
                                      std::optional<core::OutboxMs> b) {
    return a && b ? std::min(*a, *b) : a ? a : b;
}

/// From where on the server's rows may be those of what is claimed now, should it become
/// unknown: a device may have slept for days in the middle of an exchange.
std::optional<core::UtcMs> earliest_window(Tables& tables) {
    sqlite::Rows rows = tables.database().query(
        "SELECT server_date FROM record INDEXED BY work WHERE lane = 4 AND lane BETWEEN 3 AND 5");
    std::optional<core::UtcMs> from;
    while (rows.next()) {
        const core::UtcMs seen = rows.maybe_integer(0).value_or(0);  // unknown: any
        from = std::min(from.value_or(seen - window_slack_ms), seen - window_slack_ms);
    }
    return from;
}

void save(Tables& tables, const DrainState& state) {
    Ledger& ledger = tables.ledger();
    ledger.route = state.route;
    ledger.server_date = state.server_date;
    ledger.trusted_time = state.trusted_time;
    ledger.refusals_in_row = state.refusals_in_row;
    if (read_holds(tables.database()) != state.holds) {
        write_holds(tables.database(), state.holds);
        tables.touch();
    }
}

/// No row below is waiting, claimed or unknown: where `status` starts looking.
void advance_low(Tables& tables) {
    Ledger& ledger = tables.ledger();
    sqlite::Rows rows =
        tables.database().query("SELECT key, lane FROM record WHERE key >= ? ORDER BY key LIMIT ?",
                                ledger.low_key, cursor_steps);
    int seen = 0;
    while (rows.next()) {
        ++seen;
        ledger.low_key = rows.integer(0);
        if (static_cast<Lane>(rows.integer(1)) < Lane::dead) {
            return;
        }
        ++ledger.low_key;
    }
    if (seen < cursor_steps) {
        ledger.low_key = tables.last_key() + 1;
    }
}

void prune_lane(Tables& tables, Lane lane, const std::uint64_t& kept, int budget) {
    while (kept > tables.limits().keep_delivered && budget-- > 0 && tables.remove_oldest(lane)) {
    }
}

}  // namespace

DrainState drain_state(sqlite::Database& database, const Ledger& ledger) {
    DrainState state;
    state.route = ledger.route;
    state.server_date = ledger.server_date;
    state.trusted_time = ledger.trusted_time;
    state.refusals_in_row = ledger.refusals_in_row;
    state.holds = read_holds(database);
    return state;
}

void BeginJob::apply(Tables& tables) {
    std::vector<std::int64_t> keys;
    {
        sqlite::Rows rows = tables.database().query(
            "SELECT key FROM record INDEXED BY work WHERE lane = 4 AND lane BETWEEN 3 AND 5");
        while (rows.next()) {
            keys.push_back(rows.integer(0));
        }
    }
    for (const std::int64_t key : keys) {
        RowState row = existing_row(tables.database(), key, Lane::claimed);
        row.due = tables.now();
        row.ended.reset();
        if (!row.first_attempt) {
            row.first_attempt = row.began;
        }
        tables.move(row, Lane::unknown);
    }
    epoch = ++tables.ledger().epoch;
    state = drain_state(tables.database(), tables.ledger());
}

DrainJob::DrainJob(const DrainRequest& request, std::span<const Settlement> settlements, bool last,
                   std::int64_t epoch, DrainMemory& memory)
    : Job(Kind::drain, settlements.size()),
      request_(request),
      settlements_(settlements),
      last_(last),
      epoch_(epoch),
      memory_(memory) {}

void DrainJob::apply(Tables& tables) {
    reply = {};
    fenced = tables.ledger().epoch != epoch_;
    for (const Settlement& settlement : settlements_) {
        settle(tables, settlement);
    }
    if (!settlements_.empty()) {
        prune(tables);
    }
    if (last_) {
        if (request_.save && !fenced) {
            save(tables, *request_.save);
        }
        if (!fenced) {
            claim(tables);
        }
        reply.next_due =
            earlier(earliest_due(tables, Lane::retry), earliest_due(tables, Lane::unknown));
    }
    const Ledger& ledger = tables.ledger();
    reply.control = ledger.control;
    reply.unknown = ledger.unknown;
    reply.other_kind = (request_.kind == Credential::Kind::api_key ? 0 : ledger.other_api_key) +
                       (request_.kind == Credential::Kind::jwt ? 0 : ledger.other_jwt);
}

void DrainJob::claim(Tables& tables) {
    Claimer claimer{tables, request_, memory_.rotation};
    claim_again(tables);
    const std::size_t most = request_.claim - std::min(request_.claim, reply.claimed.size());
    // While a person holds it nothing is claimed; that something waits is told all the same.
    if (!tables.ledger().control.person_hold) {
        for (ClaimedRecord& record : claimer.run(most)) {
            memory_.tentative.push_back(record.key);
            reply.claimed.push_back(std::move(record));
        }
    }
    reply.more = claimer.more() || reply.claimed.size() < memory_.tentative.size();
}

/// What an earlier run, or an earlier request that failed, has claimed all the same.
void DrainJob::claim_again(Tables& tables) {
    if (request_.claim == 0) {
        return;  // nobody to tell
    }
    std::erase_if(memory_.tentative, [&](std::int64_t key) {
        const auto row = read_row(tables.database(), key);
        const bool claimed = row && row->lane == Lane::claimed;
        if (claimed) {
            reply.claimed.push_back(existing_claimed(tables.database(), key, tables.salt()));
        }
        return !claimed;
    });
}

void DrainJob::committed() noexcept {
    if (last_ && (request_.claim > 0 || fenced)) {
        memory_.tentative.clear();  // told, or of another epoch
    }
}

void DrainJob::settle(Tables& tables, const Settlement& settlement) {
    auto found = read_row(tables.database(), settlement.key);
    if (!found) {
        return;
    }
    RowState& row = *found;
    // A proof of delivery is never thrown away; everything else only moves what the drainer
    // holds, and only while it is the drainer.
    const bool held = row.lane == Lane::claimed || row.lane == Lane::unknown;
    if (settlement.to == Settlement::To::delivered) {
        if (row.lane == Lane::delivered) {
            return keep_second_id(tables, row, settlement);
        }
    } else if (fenced || !held || !is_about_this_attempt(row, settlement)) {
        return;
    }
    if (settlement.note &&
        (settlement.to != Settlement::To::delivered || row.first_attempt || row.looks > 0)) {
        tables.note_attempt(row.key, *settlement.note);
    }
    remember_attempt(row, settlement);
    tables.ledger().possible_duplicates += settlement.possible_duplicate ? 1 : 0;
    switch (settlement.to) {
        case Settlement::To::delivered:
            return deliver(tables, row, settlement);
        case Settlement::To::waiting:
            if (settlement.behind) {
                row.turn = tables.last_turn();
            }
            return tables.wait_again(row, settlement.due);
        case Settlement::To::unknown:
            row.due = settlement.due;
            row.looks = settlement.looks;
            row.first_absent = settlement.first_absent;
            return tables.move(row, Lane::unknown);
        case Settlement::To::left:
            row.due.reset();
            return tables.move(row, Lane::left);
        case Settlement::To::dead:
            row.due.reset();
            return tables.move(row, Lane::dead);
    }
}

/// A record sent again by a person's word has two rows on the server: neither may be taken for
/// another record's.
void DrainJob::keep_second_id(Tables& tables, const RowState& row, const Settlement& settlement) {
    if (!settlement.server_id.empty() && settlement.server_id != row.server_id &&
        !settlement.origin.empty()) {
        tables.own(tables.origin_number(settlement.origin), settlement.server_id, row.key,
                   settlement.server_time.value_or(tables.moment().utc_ms));
    }
}

void DrainJob::deliver(Tables& tables, RowState& row, const Settlement& settlement) {
    if (!mark_delivered(tables, row, settlement.server_id, settlement.server_time,
                        settlement.origin)) {
        reply.duplicate_server_ids.push_back(row.key);
    }
}

bool mark_delivered(Tables& tables, RowState& row, const std::string& server_id,
                    std::optional<core::UtcMs> server_time, const std::string& origin) {
    const core::UtcMs now = tables.moment().utc_ms;
    bool own = true;
    if (!origin.empty()) {
        row.origin = tables.origin_number(origin);
    }
    if (!server_id.empty() && row.origin) {
        own = tables.own(*row.origin, server_id, row.key, server_time.value_or(now));
    }
    row.due.reset();
    row.server_id = server_id;
    row.server_time = server_time;
    row.delivered = now;
    tables.ledger().last_delivered = now;
    tables.move(row, Lane::delivered);
    return own;
}

void DrainJob::prune(Tables& tables) {
    const int budget = 2 * static_cast<int>(settlements_.size()) + 8;
    Ledger& ledger = tables.ledger();
    prune_lane(tables, Lane::delivered, ledger.kept_delivered, budget);
    prune_lane(tables, Lane::discarded, ledger.kept_discarded, budget);
    prune_owned(tables, budget);
    advance_low(tables);
}

/// Server ids are kept while a look may still meet them: a day, as long as anything is unknown,
/// and as far back as the window of a claim would reach. Round the table in small steps.
void DrainJob::prune_owned(Tables& tables, int budget) {
    if (tables.ledger().unknown > 0) {
        return;
    }
    const core::UtcMs horizon =
        request_.server_date.value_or(tables.moment().utc_ms) - keep_owned_ms;
    struct Old {
        std::string server_id;
        core::UtcMs server_time;
    };
    std::vector<Old> old;
    std::int64_t origin = memory_.owned_origin;
    {
        sqlite::Rows rows = tables.database().query(
            "SELECT origin, server_id, server_time FROM owned"
            " WHERE (origin, server_id) > (?, ?) ORDER BY origin, server_id LIMIT ?",
            memory_.owned_origin, memory_.owned_id, budget);
        int seen = 0;
        std::string last;
        while (rows.next()) {
            if (seen > 0 && rows.integer(0) != origin) {
                seen = budget;  // there is more, of another origin
                break;
            }
            ++seen;
            origin = rows.integer(0);
            last = rows.text(1);
            if (rows.integer(2) < horizon) {
                old.push_back({last, rows.integer(2)});
            }
        }
        const bool at_the_end = seen < budget;
        memory_.owned_origin = at_the_end ? 0 : origin;
        memory_.owned_id = at_the_end ? std::string{} : last;
    }
    if (old.empty()) {
        return;
    }
    const auto claims_from = earliest_window(tables);
    for (const auto& [server_id, server_time] : old) {
        if (claims_from && server_time >= *claims_from) {
            continue;
        }
        tables.database().execute("DELETE FROM owned WHERE origin = ? AND server_id = ?", origin,
                                  server_id);
        tables.touch();
    }
}

}  // namespace agentsight::outbox
