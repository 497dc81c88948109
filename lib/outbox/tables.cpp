#include "outbox/tables.hpp"

#include <algorithm>

#include "agentsight/error.hpp"
#include "core/throw_error.hpp"
#include "outbox/schema.hpp"

namespace agentsight::outbox {

namespace {}  // namespace

void Tables::begin(const core::Moment& moment) {
    changed_ = false;
    must_write_ = false;
    moment_ = moment;
    if (known_version_ != database_.data_version()) {
        if (!is_known(database_, limits_.newest_schema)) {
            core::throw_error(
                errc::newer_schema,
                "the outbox was migrated by a newer version of this library while it was "
                "open; update this application");
        }
        saved_ = read_ledger(database_);
        last_ = read_last(database_, saved_);
        origin_.reset();
        least_id_.reset();
        known_version_ = database_.data_version();
    }
    ledger_ = saved_;
    if (ledger_.boot_id != moment.boot_id) {
        // The file's time goes on where it stood; written once a boot.
        ledger_.axis_offset =
            axis_offset(moment, ledger_.boot_id, ledger_.axis_offset, ledger_.last_seen);
        ledger_.boot_id = moment.boot_id;
    }
    now_ = std::max(moment.boot_ms + ledger_.axis_offset, ledger_.last_seen);
}

bool Tables::finish() {
    if (ledger_ == saved_ && !must_write_) {
        return changed_;
    }
    ledger_.last_seen = now_;
    write_ledger(database_, ledger_);
    return true;
}

void Tables::committed() {
    saved_ = ledger_;
    known_version_ = database_.data_version();
}

std::uint64_t Tables::open_records() const {
    return static_cast<std::uint64_t>(last_.key) - ledger_.delivered - ledger_.discarded -
           ledger_.dropped;
}

std::uint64_t Tables::waiting() const {
    return static_cast<std::uint64_t>(last_.key) - ledger_.not_waiting();
}

/// An import brings ids of another outbox's making, most of them older than the first one here:
/// no search for those.
std::optional<std::int64_t> Tables::find(const core::Uuid& id) {
    if (const auto key = find_callers_key(database_, id)) {
        return key;
    }
    if (!least_id_) {
        least_id_ = first_own_id(database_);
    }
    if (!least_id_ || id < *least_id_ || last_.id < id) {
        return std::nullopt;
    }
    return find_own_key(database_, id, last_.key);
}

std::int64_t Tables::insert(const core::Uuid& id, const Submission& submission) {
    const core::Feedback& feedback = submission.feedback;
    RowState row;
    row.key = last_.key + 1;
    row.id = id;
    row.caller = submission.id;
    row.kind = submission.kind;
    row.fingerprint = fingerprint(feedback, salt());
    // Given a time from elsewhere, the record is of no boot of this machine.
    row.submitted = submission.submitted ? core::Moment{.utc_ms = *submission.submitted} : moment_;
    row.sentiment = feedback.sentiment;
    row.conversation = feedback.conversation.value;
    if (row.caller) {
        database_.execute("INSERT INTO caller_id(id, key) VALUES(?, ?)", bytes_of(*row.caller),
                          row.key);
    }
    insert_row(database_, row, feedback.comment, feedback.metadata);
    last_ = {row.key, id};
    changed_ = true;
    return row.key;
}

void Tables::erase_text(const RowState& row) {
    database_.execute("UPDATE record SET comment = NULL, metadata = NULL WHERE key = ?", row.key);
    // A server's words may repeat the text; when it was tried and what came of it do not.
    database_.execute("UPDATE attempt SET detail = NULL WHERE key = ?", row.key);
    changed_ = true;
}

void Tables::remove(const RowState& row) {
    if (row.caller) {
        database_.execute("DELETE FROM caller_id WHERE id = ?", bytes_of(*row.caller));
    }
    database_.execute("DELETE FROM attempt WHERE key = ?", row.key);
    database_.execute("DELETE FROM record WHERE key = ?", row.key);
    if (row.key > ledger_.floor_key) {
        ledger_.floor_key = row.key;
        ledger_.floor_id = row.id;
    }
    changed_ = true;
}

bool Tables::remove_oldest(Lane lane) {
    std::optional<std::int64_t> key;
    {
        sqlite::Rows rows = database_.query(
            "SELECT key FROM record INDEXED BY history WHERE lane = ? AND lane IN (8, 9)"
            " ORDER BY turn LIMIT 1",
            lane);
        if (rows.next()) {
            key = rows.integer(0);
        }
    }
    if (!key) {
        return false;
    }
    remove(existing_row(database_, *key, lane));
    --(lane == Lane::delivered ? ledger_.kept_delivered : ledger_.kept_discarded);
    return true;
}

void Tables::count(const RowState& row, Lane lane, std::int64_t change) {
    const auto add = [&](std::uint64_t& counter) {
        counter = static_cast<std::uint64_t>(static_cast<std::int64_t>(counter) + change);
    };
    switch (lane) {
        case Lane::fresh:
        case Lane::parked:
        case Lane::retry:
            return;
        case Lane::other_kind:
            return add(ledger_.other(row.kind));
        case Lane::claimed:
            return add(ledger_.claimed);
        case Lane::unknown:
            return add(ledger_.unknown);
        case Lane::left:
            return add(ledger_.left);
        case Lane::dead:
            return add(ledger_.dead);
        case Lane::delivered:
            add(ledger_.delivered);
            return add(ledger_.kept_delivered);
        case Lane::discarded:
            add(ledger_.discarded);
            return add(ledger_.kept_discarded);
    }
}

void Tables::move(RowState& row, Lane to) {
    const Lane from = row.lane;
    count(row, from, -1);
    count(row, to, +1);
    row.lane = to;
    // Settled ones stand in the order in which they were settled: the oldest goes first.
    const bool settled = to == Lane::delivered || to == Lane::discarded;
    row.turn =
        settled ? static_cast<std::int64_t>(ledger_.delivered + ledger_.discarded) : row.own_turn();
    write_row(database_, row);
    changed_ = true;
    if (is_waiting(to) || to == Lane::claimed || to == Lane::unknown || to == Lane::left) {
        ledger_.low_key = std::min(ledger_.low_key, row.key);
    }
    if (is_head(from) && !is_head(to)) {
        put_in_order(row.conversation);
    }
}

void Tables::wait_again(RowState& row, core::OutboxMs due) {
    row.turn = row.own_turn();
    row.due = due_of(*row.turn, due);
    if (is_head(row.lane) && heads(row.conversation).size() == 1 &&
        !first_parked(row.conversation)) {
        return move(row, Lane::retry);  // the usual case: it alone is open
    }
    // Parked first: another may be the head, or have the earlier turn.
    move(row, Lane::parked);
    put_in_order(row.conversation);
    if (const auto now = read_row(database_, row.key)) {
        row.lane = now->lane;
        row.due = now->due;
    }
}

std::vector<Tables::Place> Tables::heads(const std::string& conversation) {
    sqlite::Rows rows = database_.query(
        "SELECT key, lane, turn, due FROM record INDEXED BY open WHERE conversation = ?"
        " AND lane > 1 AND (lane = 1 OR lane = 3 OR lane = 4 OR lane = 5) LIMIT 2",
        conversation);
    std::vector<Place> found;
    while (rows.next()) {
        found.push_back({rows.integer(0), static_cast<Lane>(rows.integer(1)), rows.integer(2),
                         rows.maybe_integer(3)});
    }
    return found;
}

bool Tables::has_open(const std::string& conversation) {
    return database_
        .query(
            "SELECT 1 FROM record INDEXED BY open WHERE conversation = ?"
            " AND lane > 0 AND (lane = 1 OR lane = 3 OR lane = 4 OR lane = 5) LIMIT 1",
            conversation)
        .next();
}

std::optional<Tables::Place> Tables::first_parked(const std::string& conversation) {
    sqlite::Rows rows = database_.query(
        "SELECT key, turn, due FROM record INDEXED BY open WHERE conversation = ? AND lane = 1"
        " AND (lane = 1 OR lane = 3 OR lane = 4 OR lane = 5) ORDER BY turn LIMIT 1",
        conversation);
    if (!rows.next()) {
        return std::nullopt;
    }
    return Place{rows.integer(0), Lane::parked, rows.integer(1), rows.maybe_integer(2)};
}

std::optional<std::int64_t> Tables::put_in_order(const std::string& conversation) {
    const auto first = first_parked(conversation);
    if (!first) {
        return std::nullopt;  // the usual case
    }
    const std::vector<Place> found = heads(conversation);
    if (found.size() > 1 || (found.size() == 1 && found[0].lane != Lane::retry)) {
        return std::nullopt;
    }
    if (!found.empty() && found[0].turn < first->turn) {
        return std::nullopt;
    }
    if (!found.empty()) {
        // Requeued, or left alone for its kind, and so the head before an earlier one came.
        RowState behind = existing_row(database_, found[0].key, Lane::retry);
        behind.lane = Lane::parked;
        write_row(database_, behind);
    }
    RowState head = existing_row(database_, first->key, Lane::parked);
    head.lane = Lane::retry;
    head.due = due_of(first->turn, std::max(first->due.value_or(0), now_));
    write_row(database_, head);
    changed_ = true;
    return first->key;
}

core::OutboxMs Tables::due_of(std::int64_t turn, core::OutboxMs due) const {
    return turn > cursor_turn() ? behind_cursor(turn) : due;
}

std::int64_t Tables::origin_number(const std::string& text) {
    if (!origin_ || origin_->text != text) {
        origin_ = Origin{find_origin(text), text};
    }
    return origin_->number;
}

std::int64_t Tables::find_origin(const std::string& text) {
    {
        sqlite::Rows rows = database_.query("SELECT number FROM origin WHERE text = ?", text);
        if (rows.next()) {
            return rows.integer(0);
        }
    }
    database_.execute("INSERT INTO origin(text) VALUES(?)", text);
    changed_ = true;
    sqlite::Rows rows = database_.query("SELECT number FROM origin WHERE text = ?", text);
    rows.next();
    return rows.integer(0);
}

bool Tables::own(std::int64_t origin, const std::string& server_id, std::int64_t key,
                 core::UtcMs server_time) {
    database_.execute(
        "INSERT OR IGNORE INTO owned(origin, server_id, key, server_time) VALUES(?, ?, ?, ?)",
        origin, server_id, key, server_time);
    changed_ = true;
    if (database_.changes() == 1) {
        return true;
    }
    sqlite::Rows rows = database_.query("SELECT key FROM owned WHERE origin = ? AND server_id = ?",
                                        origin, server_id);
    return rows.next() && rows.integer(0) == key;
}

void Tables::note_attempt(std::int64_t key, const AttemptNote& note) {
    database_.execute(
        "INSERT INTO attempt(key, n, began, ended, outcome, status, detail)"
        " VALUES(?1, 1 + ifnull((SELECT max(n) FROM attempt WHERE key = ?1), 0), ?2, ?3, ?4, ?5,"
        " ?6)",
        key, note.began, note.ended, note.outcome, note.status, note.detail);
    database_.execute(
        "DELETE FROM attempt WHERE key = ?1 AND n <= (SELECT max(n) FROM attempt WHERE key = ?1)"
        " - ?2",
        key, static_cast<std::int64_t>(max_attempts_kept));
    changed_ = true;
}

}  // namespace agentsight::outbox
