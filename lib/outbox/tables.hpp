#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "core/time.hpp"
#include "outbox/ledger.hpp"
#include "outbox/record.hpp"
#include "outbox/rows.hpp"
#include "sqlite/database.hpp"

namespace agentsight::outbox {

/// Bounds that the options set, as the tables need them.
struct TableLimits {
    std::uint64_t max_records = 0;
    WhenFull when_full = WhenFull::refuse;
    std::uint64_t keep_delivered = 0;
    std::int64_t newest_schema = 0;  ///< that this library knows
};

/// The outbox's tables inside one write transaction: every change of a record's lane keeps
/// the ledger true and its conversation in order. Remembers what it read until somebody
/// else writes. One thread at a time, under the commit lock.
class Tables {
  public:
    Tables(sqlite::Database& database, const TableLimits& limits)
        : database_(database), limits_(limits) {}

    /// After BEGIN: reads the ledger and the last key again where another wrote meanwhile.
    /// Throws Error (newer_schema) where a newer version has migrated the file.
    void begin(const core::Moment& moment);
    /// Before COMMIT: writes the ledger where it changed. False: nothing at all to commit.
    bool finish();
    void committed();
    /// After a rollback nothing remembered is true.
    void forget() noexcept {
        known_version_.reset();
        origin_.reset();
        least_id_.reset();
    }

    sqlite::Database& database() { return database_; }
    Ledger& ledger() { return ledger_; }
    const Ledger& ledger() const { return ledger_; }
    const TableLimits& limits() const { return limits_; }
    const core::Moment& moment() const { return moment_; }
    core::OutboxMs now() const { return now_; }

    // --- records -------------------------------------------------------------------------
    std::int64_t last_key() const { return last_.key; }
    const core::Uuid& last_id() const { return last_.id; }
    /// Accepted and neither delivered nor gone.
    std::uint64_t open_records() const;
    std::uint64_t waiting() const;
    std::optional<std::int64_t> find(const core::Uuid& id);
    /// Inserts a fresh record behind all others; its id must be greater than last_id().
    std::int64_t insert(const core::Uuid& id, const Submission& submission);
    /// Erases the text, and what was said about it; its fingerprint stays. The row itself is still
    /// to be moved.
    void erase_text(const RowState& row);
    /// Deletes the row and all that belongs to it; its place in the ledger is the caller's.
    void remove(const RowState& row);
    /// Deletes the oldest of the history's `lane`, delivered or discarded; false where it is empty.
    bool remove_oldest(Lane lane);
    const Salt& salt() const { return ledger_.salt; }

    // --- lanes ---------------------------------------------------------------------------
    /// Writes the row into `to`, moves the ledger's counts, and where its conversation has
    /// lost its head, makes the next record the head.
    void move(RowState& row, Lane to);
    /// Into waiting again, at its place in its conversation, due at `due`.
    void wait_again(RowState& row, core::OutboxMs due);
    bool has_open(const std::string& conversation);
    /// The open record of the earliest turn is its conversation's head, unless a claimed or
    /// unknown one is. Returns who has become it.
    std::optional<std::int64_t> put_in_order(const std::string& conversation);
    /// A turn behind everything accepted so far.
    std::int64_t last_turn() const { return 2 * last_.key + 1; }
    /// Turns up to this one have been looked at: no fresh record has an earlier one.
    std::int64_t cursor_turn() const { return 2 * ledger_.fresh_cursor + 1; }
    /// The due time that stands for "once the cursor has passed `turn`": before all others.
    static constexpr core::OutboxMs behind_cursor(std::int64_t turn) {
        return std::numeric_limits<core::OutboxMs>::min() + turn;
    }

    // --- delivered -----------------------------------------------------------------------
    std::int64_t origin_number(const std::string& text);
    /// False where another record owns that server id already.
    bool own(std::int64_t origin, const std::string& server_id, std::int64_t key,
             core::UtcMs server_time);

    void note_attempt(std::int64_t key, const AttemptNote& note);

    /// Something was changed, so that finish() has something to commit.
    void touch() { changed_ = true; }
    /// The commit must reach the disk, whether or not anything changed.
    void write_anyway() { must_write_ = true; }

  private:
    struct Origin {
        std::int64_t number;
        std::string text;
    };
    std::int64_t find_origin(const std::string& text);
    void count(const RowState& row, Lane lane, std::int64_t change);
    struct Place {
        std::int64_t key;
        Lane lane;
        std::int64_t turn;
        std::optional<core::OutboxMs> due;
    };
    std::vector<Place> heads(const std::string& conversation);  ///< at most two of them
    std::optional<Place> first_parked(const std::string& conversation);
    /// Fresh records of its conversation may still stand before a requeued one.
    core::OutboxMs due_of(std::int64_t turn, core::OutboxMs due) const;

    sqlite::Database& database_;
    TableLimits limits_;
    core::Moment moment_;
    core::OutboxMs now_ = 0;
    Ledger ledger_;
    Ledger saved_;
    LastRow last_;
    std::optional<Origin> origin_;  ///< the last one asked for
    /// No id of our own is less, nor will be: records come behind the last one, whatever goes.
    std::optional<core::Uuid> least_id_;
    std::optional<std::uint32_t> known_version_;
    bool changed_ = false;
    bool must_write_ = false;
};

}  // namespace agentsight::outbox
