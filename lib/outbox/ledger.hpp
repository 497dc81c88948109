#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "core/time.hpp"
#include "core/uuid.hpp"
#include "outbox/record.hpp"
#include "sqlite/database.hpp"

namespace agentsight::outbox {

/// Key of the fingerprints of erased texts.
using Salt = std::array<std::uint64_t, 2>;
Salt salt_of(sqlite::Bytes bytes);

/// The one row of counts and cursors. Written by transactions that settle, never by a
/// submit: what is waiting follows from the last key.
struct Ledger {
    Salt salt{};
    std::uint64_t claimed = 0;
    std::uint64_t unknown = 0;  ///< being reconciled
    std::uint64_t left = 0;     ///< unknown, left to a person
    std::uint64_t dead = 0;
    std::uint64_t delivered = 0;
    std::uint64_t discarded = 0;
    std::uint64_t dropped = 0;
    std::uint64_t possible_duplicates = 0;
    std::uint64_t other_api_key = 0;  ///< of waiting: in Lane::other_kind, by their own kind
    std::uint64_t other_jwt = 0;
    std::uint64_t kept_delivered = 0;  ///< rows still in the file
    std::uint64_t kept_discarded = 0;
    std::int64_t floor_key = 0;     ///< highest key whose row was deleted
    core::Uuid floor_id;            ///< and its id: neither is ever given again
    std::int64_t fresh_cursor = 0;  ///< every fresh row has a greater key
    std::int64_t low_key = 1;       ///< no row below is waiting, claimed or unknown
    std::int64_t epoch = 0;         ///< grows with every new drainer
    bool tight = false;             ///< the ballast is out: only settling may use space
    Control control;
    int route = 0;
    std::optional<core::UtcMs> server_date;
    core::UtcMs trusted_time = 0;
    int refusals_in_row = 0;
    std::uint64_t boot_id = 0;     ///< of the boot that `axis_offset` is for
    std::int64_t axis_offset = 0;  ///< OutboxMs = boot_ms + axis_offset
    core::OutboxMs last_seen = 0;  ///< latest time this file has seen on its own axis
    std::optional<core::UtcMs> last_delivered;

    bool operator==(const Ledger&) const = default;

    std::uint64_t& other(Credential::Kind kind) {
        return kind == Credential::Kind::jwt ? other_jwt : other_api_key;
    }
    /// Of accepted records, those that are neither waiting nor counted open elsewhere.
    std::uint64_t not_waiting() const {
        return claimed + unknown + left + dead + delivered + discarded + dropped;
    }
};

/// Reads the columns behind the salt, in the order of the schema: of the table, or of a row that
/// a salvage found. `from` has number(), maybe() and id().
template <class From>
Ledger ledger_from(From& from, const Salt& salt) {
    const auto count = [&from] { return static_cast<std::uint64_t>(from.number()); };
    Ledger ledger;
    ledger.salt = salt;
    ledger.claimed = count();
    ledger.unknown = count();
    ledger.left = count();
    ledger.dead = count();
    ledger.delivered = count();
    ledger.discarded = count();
    ledger.dropped = count();
    ledger.possible_duplicates = count();
    ledger.other_api_key = count();
    ledger.other_jwt = count();
    ledger.kept_delivered = count();
    ledger.kept_discarded = count();
    ledger.floor_key = from.number();
    ledger.floor_id = from.id();
    ledger.fresh_cursor = from.number();
    ledger.low_key = from.number();
    ledger.epoch = from.number();
    ledger.tight = from.number() != 0;
    ledger.control.person_hold = from.number() != 0;
    ledger.control.person_hold_since = from.number();
    ledger.control.releases = count();
    ledger.route = static_cast<int>(from.number());
    ledger.server_date = from.maybe();
    ledger.trusted_time = from.number();
    ledger.refusals_in_row = static_cast<int>(from.number());
    ledger.boot_id = count();
    ledger.axis_offset = from.number();
    ledger.last_seen = from.number();
    ledger.last_delivered = from.maybe();
    return ledger;
}

/// Throws sqlite::Failure (damaged) where it is not as it was written.
Ledger read_ledger(sqlite::Database& database);
void write_ledger(sqlite::Database& database, const Ledger& ledger);

/// Of everything in it: what flash garbles within a page no one else would notice.
std::int64_t checksum(const Ledger& ledger);

/// Sets every count of rows, kept ones included, from the rows.
void recount(sqlite::Database& database, Ledger& ledger);

std::vector<HoldRow> read_holds(sqlite::Database& database);
void write_holds(sqlite::Database& database, const std::vector<HoldRow>& holds);

/// The file's own time. Any thread.
class Axis {
  public:
    core::OutboxMs at(const core::Moment& moment) const;
    void follow(const Ledger& ledger);

  private:
    mutable std::mutex mutex_;
    std::uint64_t boot_id_ = 0;
    std::int64_t offset_ = 0;
    core::OutboxMs last_seen_ = 0;
};

/// The offset for this boot: the stored one, or one that goes on where the file stood.
std::int64_t axis_offset(const core::Moment& moment, std::uint64_t boot_id, std::int64_t offset,
                         core::OutboxMs last_seen);

}  // namespace agentsight::outbox
