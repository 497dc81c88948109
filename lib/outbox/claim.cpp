#include "outbox/claim.hpp"

#include <algorithm>
#include <limits>

namespace agentsight::outbox {

namespace {

/// Records looked at and put elsewhere a transaction: what a submitter waits for at worst.
constexpr int moves_a_transaction = 512;
constexpr int rows_a_read = 64;
constexpr unsigned sources = 3;
constexpr std::int64_t longest_backlog_read = 2'048;

}  // namespace

Claimer::Claimer(Tables& tables, const DrainRequest& request, unsigned& rotation)
    : tables_(tables), request_(request), rotation_(rotation), budget_(moves_a_transaction) {}

bool Claimer::is_mine(Credential::Kind kind) const {
    return kind == request_.kind || kind == Credential::Kind::none;
}

std::vector<ClaimedRecord> Claimer::run(std::size_t most) {
    if (request_.only_just_submitted) {
        while (claimed_.size() < most && next_just_submitted() == Found::claimed) {
        }
        return std::move(claimed_);
    }
    std::array<bool, sources> empty{};
    unsigned empty_count = 0;
    while (claimed_.size() < most && empty_count < sources) {
        const unsigned source = rotation_++ % sources;
        if (empty[source]) {
            continue;
        }
        if (step(source) == Found::nothing) {
            empty[source] = true;
            ++empty_count;
        }
    }
    return std::move(claimed_);
}

Claimer::Found Claimer::step(unsigned source) {
    switch (source) {
        case 0:
            return next_retry();
        case 1:
            return next_of_kind();
        default:
            // What was left for this kind stands before all that is fresh.
            return next_of_kind() == Found::claimed ? Found::claimed : next_fresh();
    }
}

bool Claimer::spend() {
    if (budget_ == 0) {
        out_of_budget_ = true;
        return false;
    }
    --budget_;
    return true;
}

std::optional<std::int64_t> Claimer::due_retry() {
    {
        // Requeued ones, once nothing fresh can stand before them.
        sqlite::Rows rows = tables_.database().query(
            "SELECT key FROM record INDEXED BY work WHERE lane = 3 AND lane BETWEEN 3 AND 5"
            " AND due <= ? ORDER BY due LIMIT 1",
            Tables::behind_cursor(tables_.cursor_turn()));
        if (rows.next()) {
            return rows.integer(0);
        }
    }
    const core::OutboxMs until =
        request_.ignore_due ? std::numeric_limits<core::OutboxMs>::max() : tables_.now();
    sqlite::Rows rows = tables_.database().query(
        "SELECT key FROM record INDEXED BY work WHERE lane = 3 AND lane BETWEEN 3 AND 5"
        " AND due >= 0 AND due <= ? ORDER BY due LIMIT 1",
        until);
    return rows.next() ? std::optional{rows.integer(0)} : std::nullopt;
}

Claimer::Found Claimer::next_retry() {
    while (const auto key = due_retry()) {
        RowState row = existing_row(tables_.database(), *key, Lane::retry);
        if (try_claim(row)) {
            return Found::claimed;
        }
        if (!spend()) {
            break;
        }
    }
    return Found::nothing;
}

bool Claimer::has_left_of_kind() {
    return request_.kind != Credential::Kind::none && tables_.ledger().other(request_.kind) > 0;
}

Claimer::Found Claimer::next_of_kind() {
    while (has_left_of_kind()) {
        std::optional<std::int64_t> key;
        {
            sqlite::Rows rows = tables_.database().query(
                "SELECT key FROM record INDEXED BY other_kind WHERE lane = 2 AND kind = ?"
                " ORDER BY turn LIMIT 1",
                request_.kind);
            if (!rows.next()) {
                break;
            }
            key = rows.integer(0);
        }
        RowState row = existing_row(tables_.database(), *key, Lane::other_kind);
        if (try_claim(row)) {
            return Found::claimed;
        }
        if (!spend()) {
            break;
        }
    }
    return Found::nothing;
}

void Claimer::refill() {
    sqlite::Rows rows =
        tables_.database().query("SELECT key, lane FROM record WHERE key > ? ORDER BY key LIMIT ?",
                                 tables_.ledger().fresh_cursor, rows_a_read);
    while (rows.next()) {
        fresh_.push_back({rows.integer(0), static_cast<Lane>(rows.integer(1))});
    }
    std::reverse(fresh_.begin(), fresh_.end());
}

Claimer::Found Claimer::next_fresh() {
    for (;;) {
        if (fresh_.empty()) {
            if (tables_.ledger().fresh_cursor >= tables_.last_key()) {
                return Found::nothing;
            }
            refill();
            if (fresh_.empty()) {
                tables_.ledger().fresh_cursor = tables_.last_key();  // the rest was deleted
                return Found::nothing;
            }
        }
        const Fresh next = fresh_.back();
        bool claimed = false;
        if (next.lane == Lane::fresh) {
            if (budget_ == 0) {
                out_of_budget_ = true;
                return Found::nothing;
            }
            RowState row = existing_row(tables_.database(), next.key, Lane::fresh);
            claimed = try_claim(row);
        }
        if (!claimed && !spend()) {
            return Found::nothing;
        }
        fresh_.pop_back();
        tables_.ledger().fresh_cursor = next.key;
        if (claimed) {
            return Found::claimed;
        }
    }
}

std::vector<std::int64_t> Claimer::just_submitted() {
    const core::Moment& now = tables_.moment();
    const std::int64_t behind =
        std::max(tables_.ledger().fresh_cursor, tables_.last_key() - rows_a_read);
    std::vector<std::int64_t> keys;
    sqlite::Rows rows = tables_.database().query(
        "SELECT key FROM record WHERE key > ? AND lane = 0 AND submitted_boot_id = ?"
        " AND submitted_boot >= ? ORDER BY key DESC",
        behind, now.boot_id, now.boot_ms - just_submitted_ms);
    while (rows.next()) {
        keys.push_back(rows.integer(0));
    }
    return keys;
}

/// Whether no record that has not been looked at yet stands before it in its conversation.
/// Reads the backlog, and so only a short one: behind a long one the order cannot be seen.
bool Claimer::is_first_fresh(const RowState& row) {
    const std::int64_t cursor = tables_.ledger().fresh_cursor;
    if (row.key - cursor > longest_backlog_read) {
        return false;
    }
    return !tables_.database()
                .query(
                    "SELECT 1 FROM record WHERE key > ? AND key < ? AND lane = 0"
                    " AND conversation = ? LIMIT 1",
                    cursor, row.key, row.conversation)
                .next();
}

Claimer::Found Claimer::next_just_submitted() {
    if (has_left_of_kind()) {
        return Found::nothing;  // whose it would overtake cannot be seen
    }
    if (!just_submitted_) {
        just_submitted_ = just_submitted();
    }
    while (!just_submitted_->empty()) {
        RowState row = existing_row(tables_.database(), just_submitted_->back(), Lane::fresh);
        just_submitted_->pop_back();
        if (is_first_fresh(row) && try_claim(row)) {
            return Found::claimed;
        }
    }
    return Found::nothing;
}

bool Claimer::try_claim(RowState& row) {
    if (!is_mine(row.kind)) {
        tables_.move(row, Lane::other_kind);
        return false;
    }
    if (!is_head(row.lane) && tables_.has_open(row.conversation)) {
        tables_.move(row, Lane::parked);
        if (tables_.put_in_order(row.conversation) != row.key) {
            return false;
        }
        // A requeued one had been the head, and stands behind it now.
        row = existing_row(tables_.database(), row.key, Lane::retry);
        if (row.due > tables_.now() && !request_.ignore_due) {
            return false;  // it had been tried: its backoff goes on
        }
    }
    if (row.lane == Lane::other_kind && row.due > tables_.now() && !request_.ignore_due) {
        tables_.move(row, Lane::retry);  // it had been tried: its backoff goes on
        return false;
    }
    const Text text = checked_text(tables_.database(), row, tables_.salt());
    row.began = tables_.moment();
    row.ended.reset();
    row.server_date = request_.server_date;
    row.origin = tables_.origin_number(request_.origin);
    row.looks = 0;
    row.first_absent.reset();
    tables_.move(row, Lane::claimed);
    claimed_.push_back(claimed_record(std::move(row), text, request_.origin));
    return true;
}

bool Claimer::candidates_left() {
    const Ledger& ledger = tables_.ledger();
    if (ledger.fresh_cursor < tables_.last_key() || due_retry()) {
        return true;
    }
    return has_left_of_kind();
}

}  // namespace agentsight::outbox
