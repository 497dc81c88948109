#include "outbox/purge.hpp"

#include <optional>
#include <vector>

namespace agentsight::outbox {

namespace {

/// When it was settled; where an older file does not say, when it was submitted.
core::UtcMs settled_at(const RowState& row) {
    if (row.delivered) {
        return *row.delivered;
    }
    return row.ended ? row.ended->utc_ms : row.submitted.utc_ms;
}

struct Settled {
    std::int64_t key;
    std::int64_t turn;
};

std::vector<Settled> settled_after(sqlite::Database& database, Lane lane, std::int64_t turn,
                                   int limit) {
    std::vector<Settled> found;
    sqlite::Rows rows = database.query(
        "SELECT key, turn FROM record INDEXED BY history WHERE lane = ? AND lane IN (8, 9)"
        " AND turn > ? ORDER BY turn LIMIT ?",
        lane, turn, limit);
    while (rows.next()) {
        found.push_back({rows.integer(0), rows.integer(1)});
    }
    return found;
}

}  // namespace

void PurgeJob::apply(Tables& tables) {
    reached = from_;
    removed = 0;
    purge_lane(tables);
}

void PurgeJob::purge_lane(Tables& tables) {
    const Lane lane = reached.discarded ? Lane::discarded : Lane::delivered;
    Ledger& ledger = tables.ledger();
    std::uint64_t& kept = reached.discarded ? ledger.kept_discarded : ledger.kept_delivered;
    const std::vector<Settled> candidates =
        settled_after(tables.database(), lane, reached.turn, rows_a_commit);
    for (const Settled& candidate : candidates) {
        if (removed == records_a_commit) {
            return;
        }
        const RowState row = existing_row(tables.database(), candidate.key, lane);
        reached.turn = candidate.turn;
        if (settled_at(row) < before_) {
            tables.remove(row);
            --kept;
            ++removed;
        }
    }
    if (candidates.size() < static_cast<std::size_t>(rows_a_commit)) {
        reached.done = reached.discarded;
        reached.discarded = true;
        reached.turn = -1;
    }
}

}  // namespace agentsight::outbox
