#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/uuid.hpp"
#include "outbox/ledger.hpp"
#include "outbox/rows.hpp"
#include "sqlite/database.hpp"

namespace agentsight::outbox {

/// A check of everything that must hold, in steps of a bounded number of rows each: while an
/// outbox is verified others go on writing, and one long read would let the WAL grow for as long.
/// What must be true at one moment is compared within one step; across steps only what no other
/// writer can change meanwhile.
class Verification {
  public:
    /// SQLite's own check of the file, in one read. False where it was interrupted: then it has
    /// found nothing.
    bool check_file(sqlite::Database& database);

    bool done() const { return stage_ == Stage::done; }
    /// Inside the caller's read transaction.
    void step(sqlite::Database& database);

    /// A sentence each. Empty: all is well.
    std::vector<std::string> take() { return std::move(findings_); }

  private:
    enum class Stage { counts, records, order, callers, attempts, done };

    void add(std::string finding);
    void add(const char* what, std::int64_t key);
    void expect_equal(const char* what, std::uint64_t ledger, std::uint64_t rows);
    void look(sqlite::Database& database);
    void next_stage() { stage_ = static_cast<Stage>(static_cast<int>(stage_) + 1); }

    void look_at_counts(sqlite::Database& database, const Ledger& ledger);
    void look_at_records(sqlite::Database& database, const Ledger& ledger);
    void look_at_record(sqlite::Database& database, const Ledger& ledger, const RowState& row,
                        const Text& text);
    void compare_total(const Ledger& ledger);
    void look_at_order(sqlite::Database& database);
    void look_at_conversation(sqlite::Database& database);
    void look_at_callers(sqlite::Database& database);
    void look_at_attempts(sqlite::Database& database);

    Stage stage_ = Stage::counts;
    std::vector<std::string> findings_;
    std::int64_t last_key_ = 0;      ///< accepted when it began
    std::uint64_t gone_before_ = 0;  ///< rows removed by then
    std::uint64_t records_ = 0;      ///< found up to last_key_
    std::int64_t after_ = 0;         ///< where the walk along a table stands
    core::Uuid id_;                  ///< of the record before, or of the caller's id before
    std::string conversation_;
};

/// All of it at once, for whoever keeps others from writing meanwhile.
std::vector<std::string> find_contradictions(sqlite::Database& database);

}  // namespace agentsight::outbox
