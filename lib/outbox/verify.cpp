#include "outbox/verify.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/text.hpp"

namespace agentsight::outbox {

namespace {

constexpr std::size_t max_findings = 100;

/// What one step looks at: a few milliseconds of work, also where texts are long.
constexpr int rows_a_step = 1024;
constexpr std::size_t bytes_a_step = std::size_t{4} << 20;

/// Records accepted whose rows are no more.
std::uint64_t gone(const Ledger& ledger) {
    return ledger.delivered - ledger.kept_delivered + ledger.discarded - ledger.kept_discarded +
           ledger.dropped;
}

std::uint64_t counted(sqlite::Rows rows) {
    return rows.next() ? static_cast<std::uint64_t>(rows.integer(0)) : 0;
}

}  // namespace

void Verification::add(std::string finding) {
    const bool is_new = std::find(findings_.begin(), findings_.end(), finding) == findings_.end();
    if (is_new && findings_.size() < max_findings) {
        findings_.push_back(std::move(finding));
    }
}

void Verification::add(const char* what, std::int64_t key) {
    add(core::joined({what, " (record number ", std::to_string(key), ")"}));
}

void Verification::expect_equal(const char* what, std::uint64_t ledger, std::uint64_t rows) {
    if (ledger != rows) {
        add(core::joined({"the ledger says ", what, " ", std::to_string(ledger),
                          ", the records say ", std::to_string(rows)}));
    }
}

bool Verification::check_file(sqlite::Database& database) {
    std::vector<std::string> found;
    try {
        sqlite::Rows rows = database.query("PRAGMA integrity_check(20)");
        while (rows.next()) {
            if (rows.text_view(0) != "ok") {
                found.push_back("the file is damaged: " + rows.text(0));
            }
        }
    } catch (const sqlite::Failure& failure) {
        if (failure.trouble() == sqlite::Trouble::interrupted) {
            return false;
        }
        if (failure.trouble() != sqlite::Trouble::damaged) {
            throw;
        }
        found.push_back(std::string{"the file is damaged: "} + failure.what());
    }
    for (std::string& finding : found) {
        add(std::move(finding));
    }
    return true;
}

void Verification::step(sqlite::Database& database) {
    try {
        look(database);
    } catch (const sqlite::Failure& failure) {
        if (failure.trouble() != sqlite::Trouble::damaged) {
            throw;
        }
        add(std::string{"the file is damaged: "} + failure.what());
        stage_ = Stage::done;
    }
}

void Verification::look(sqlite::Database& database) {
    switch (stage_) {
        case Stage::counts:
            return look_at_counts(database, read_ledger(database));
        case Stage::records:
            return look_at_records(database, read_ledger(database));
        case Stage::order:
            return look_at_order(database);
        case Stage::callers:
            return look_at_callers(database);
        case Stage::attempts:
            return look_at_attempts(database);
        case Stage::done:
            return;
    }
}

/// By the indexes alone, so that it is one short read however many records there are. What
/// waits has no index: it follows from the number of all, which compare_total() looks at.
void Verification::look_at_counts(sqlite::Database& database, const Ledger& ledger) {
    last_key_ = read_last(database, ledger).key;
    gone_before_ = gone(ledger);
    const auto open = [&](Lane lane) {
        return counted(
            database.query("SELECT count(*) FROM record INDEXED BY work WHERE lane = ?"
                           " AND lane BETWEEN 3 AND 5",
                           lane));
    };
    const auto rare = [&](Lane lane) {
        return counted(
            database.query("SELECT count(*) FROM record INDEXED BY rare WHERE lane = ?"
                           " AND lane BETWEEN 5 AND 7",
                           lane));
    };
    const auto history = [&](Lane lane) {
        return counted(
            database.query("SELECT count(*) FROM record INDEXED BY history WHERE lane = ?"
                           " AND lane IN (8, 9)",
                           lane));
    };
    const auto others = [&](Credential::Kind kind) {
        return counted(
            database.query("SELECT count(*) FROM record INDEXED BY other_kind WHERE kind = ?"
                           " AND lane = 2",
                           kind));
    };
    expect_equal("claimed", ledger.claimed, open(Lane::claimed));
    expect_equal("unknown", ledger.unknown, open(Lane::unknown));
    expect_equal("left to a person", ledger.left, rare(Lane::left));
    expect_equal("dead", ledger.dead, rare(Lane::dead));
    expect_equal("kept delivered", ledger.kept_delivered, history(Lane::delivered));
    expect_equal("kept discarded", ledger.kept_discarded, history(Lane::discarded));
    expect_equal("other kind (API key)", ledger.other_api_key,
                 others(Credential::Kind::none) + others(Credential::Kind::api_key));
    expect_equal("other kind (JWT)", ledger.other_jwt, others(Credential::Kind::jwt));
    next_stage();
}

void Verification::look_at_records(sqlite::Database& database, const Ledger& ledger) {
    int rows = 0;
    std::size_t bytes = 0;
    bool is_more = false;
    try {
        visit_rows(database, after_, ledger.salt, [&](const RowState& row, const Text& text) {
            if (rows == rows_a_step || bytes > bytes_a_step) {
                is_more = true;
                return false;
            }
            ++rows;
            bytes += text.comment.size() + text.metadata.size();
            look_at_record(database, ledger, row, text);
            return true;
        });
    } catch (const sqlite::Failure& failure) {
        if (failure.trouble() != sqlite::Trouble::damaged) {
            throw;
        }
        add("a record is not as it was written");
        return next_stage();  // nothing behind it can be relied on
    }
    if (!is_more) {
        compare_total(ledger);
        next_stage();
    }
}

void Verification::look_at_record(sqlite::Database& database, const Ledger& ledger,
                                  const RowState& row, const Text& text) {
    const auto lane = static_cast<int>(row.lane);
    if (lane < 0 || lane > static_cast<int>(Lane::discarded)) {
        add("a record is in the lane " + std::to_string(lane));
    }
    if (after_ > 0 && row.id <= id_) {
        add("ids do not grow with the records", row.key);
    }
    if (row.lane == Lane::fresh && row.key <= ledger.fresh_cursor) {
        add("a fresh record stands before the cursor", row.key);
    }
    if (row.lane <= Lane::left && row.key < ledger.low_key) {
        add("an open record stands before the first one", row.key);
    }
    if ((row.lane == Lane::retry || row.lane == Lane::unknown) && !row.due) {
        add("a record that waits for its time has none", row.key);
    }
    if (row.lane == Lane::discarded && !(text.comment.empty() && text.metadata.empty())) {
        add("a discarded record still has its text", row.key);
    }
    if (row.caller && !database
                           .query("SELECT 1 FROM caller_id WHERE id = ? AND key = ?",
                                  bytes_of(*row.caller), row.key)
                           .next()) {
        add("a record cannot be found by its caller's id", row.key);
    }
    records_ += row.key <= last_key_ ? 1 : 0;
    after_ = row.key;
    id_ = row.id;
}

/// Rows are only ever added behind the last, and every one that goes is counted: how many there
/// are of those that were there at first is known but for those that went meanwhile.
void Verification::compare_total(const Ledger& ledger) {
    const auto accepted = static_cast<std::uint64_t>(last_key_);
    const bool is_too_many = records_ + gone_before_ > accepted;
    const bool is_too_few = records_ + gone(ledger) < accepted;
    if (is_too_many || is_too_few) {
        add("the ledger says accepted " + std::to_string(accepted) + ", the records say " +
            std::to_string(records_ + (is_too_many ? gone_before_ : gone(ledger))));
    }
}

void Verification::look_at_order(sqlite::Database& database) {
    for (int i = 0; i < rows_a_step; ++i) {
        {
            sqlite::Rows rows = database.query(
                "SELECT conversation FROM record INDEXED BY open WHERE conversation > ?"
                " AND (lane = 1 OR lane = 3 OR lane = 4 OR lane = 5) ORDER BY conversation"
                " LIMIT 1",
                conversation_);
            if (!rows.next()) {
                after_ = 0;
                id_ = {};
                return next_stage();
            }
            conversation_ = rows.text(0);
        }
        look_at_conversation(database);
    }
}

void Verification::look_at_conversation(sqlite::Database& database) {
    sqlite::Rows rows = database.query(
        "SELECT key, lane FROM record INDEXED BY open WHERE conversation = ? AND lane > 1"
        " AND (lane = 1 OR lane = 3 OR lane = 4 OR lane = 5) ORDER BY lane LIMIT 2",
        conversation_);
    if (!rows.next()) {
        return add("a conversation waits behind no one");
    }
    const bool is_sent = static_cast<Lane>(rows.integer(1)) != Lane::unknown;
    if (is_sent && rows.next() && static_cast<Lane>(rows.integer(1)) != Lane::unknown) {
        add("two records of one conversation are sent at a time", rows.integer(0));
    }
}

void Verification::look_at_callers(sqlite::Database& database) {
    sqlite::Rows rows = database.query(
        "SELECT caller_id.id, caller_id.key, record.key IS NULL"
        " FROM caller_id LEFT JOIN record"
        " ON record.key = caller_id.key AND record.caller = caller_id.id"
        " WHERE caller_id.id > ? ORDER BY caller_id.id LIMIT ?",
        bytes_of(id_), rows_a_step);
    int seen = 0;
    while (rows.next()) {
        ++seen;
        if (rows.integer(2) != 0) {
            add("a caller's id names no record", rows.integer(1));
        }
        id_ = uuid_of(rows.bytes(0));
    }
    if (seen < rows_a_step) {
        after_ = 0;
        next_stage();
    }
}

void Verification::look_at_attempts(sqlite::Database& database) {
    sqlite::Rows rows = database.query(
        "SELECT attempt.key, record.key IS NULL FROM attempt LEFT JOIN record"
        " ON record.key = attempt.key WHERE attempt.key > ?"
        " GROUP BY attempt.key ORDER BY attempt.key LIMIT ?",
        after_, rows_a_step);
    int seen = 0;
    while (rows.next()) {
        ++seen;
        after_ = rows.integer(0);
        if (rows.integer(1) != 0) {
            add("an attempt belongs to no record", after_);
        }
    }
    if (seen < rows_a_step) {
        next_stage();
    }
}

std::vector<std::string> find_contradictions(sqlite::Database& database) {
    Verification verification;
    verification.check_file(database);
    while (!verification.done()) {
        verification.step(database);
    }
    return verification.take();
}

}  // namespace agentsight::outbox
