#include "outbox/ledger.hpp"

#include <algorithm>
#include <cstring>

#include "agentsight/error.hpp"
#include "core/sip_hash.hpp"
#include "core/throw_error.hpp"
#include "outbox/rows.hpp"

namespace agentsight::outbox {

namespace {

constexpr const char* select_ledger =
    "SELECT salt, claimed, unknown, left_to_person, dead, delivered, discarded, dropped,"
    " possible_duplicates, other_api_key, other_jwt, kept_delivered, kept_discarded, floor_key,"
    " floor_id, fresh_cursor, low_key, epoch, tight, person_hold, person_hold_since, releases,"
    " route, server_date, trusted_time, refusals_in_row, boot_id, axis_offset, last_seen,"
    " last_delivered, checksum FROM ledger WHERE one = 1";

constexpr const char* update_ledger =
    "UPDATE ledger SET salt = ?, claimed = ?, unknown = ?, left_to_person = ?, dead = ?,"
    " delivered = ?, discarded = ?, dropped = ?, possible_duplicates = ?, other_api_key = ?, "
    "other_jwt = ?,"
    " kept_delivered = ?, kept_discarded = ?, floor_key = ?, floor_id = ?, fresh_cursor = ?,"
    " low_key = ?, epoch = ?, tight = ?, person_hold = ?, person_hold_since = ?, releases = ?,"
    " route = ?, server_date = ?, trusted_time = ?, refusals_in_row = ?, boot_id = ?,"
    " axis_offset = ?, last_seen = ?, last_delivered = ?, checksum = ? WHERE one = 1";

/// The ledger's row from left to right, behind the salt.
class Row {
  public:
    explicit Row(const sqlite::Rows& rows) : rows_(rows) {}
    std::int64_t number() { return rows_.integer(column_++); }
    std::optional<std::int64_t> maybe() { return rows_.maybe_integer(column_++); }
    core::Uuid id() { return uuid_of(rows_.bytes(column_++)); }

  private:
    const sqlite::Rows& rows_;
    int column_ = 1;
};

sqlite::Bytes bytes_of(const Salt& salt) {
    return {reinterpret_cast<const std::uint8_t*>(salt.data()), sizeof salt};
}

}  // namespace

Salt salt_of(sqlite::Bytes bytes) {
    Salt salt{};
    std::memcpy(salt.data(), bytes.data(), std::min(bytes.size(), sizeof salt));
    return salt;
}

Ledger read_ledger(sqlite::Database& database) {
    sqlite::Rows rows = database.query(select_ledger);
    if (!rows.next()) {
        core::throw_error(errc::damaged,
                          "the outbox has no ledger; run `agentsight-outbox salvage`");
    }
    Row from{rows};
    const Ledger ledger = ledger_from(from, salt_of(rows.bytes(0)));
    if (from.number() != checksum(ledger)) {
        sqlite::throw_damaged("the ledger is not as it was written");
    }
    return ledger;
}

void write_ledger(sqlite::Database& database, const Ledger& ledger) {
    database.execute(update_ledger, bytes_of(ledger.salt), ledger.claimed, ledger.unknown,
                     ledger.left, ledger.dead, ledger.delivered, ledger.discarded, ledger.dropped,
                     ledger.possible_duplicates, ledger.other_api_key, ledger.other_jwt,
                     ledger.kept_delivered, ledger.kept_discarded, ledger.floor_key,
                     bytes_of(ledger.floor_id), ledger.fresh_cursor, ledger.low_key, ledger.epoch,
                     ledger.tight, ledger.control.person_hold, ledger.control.person_hold_since,
                     ledger.control.releases, ledger.route, ledger.server_date, ledger.trusted_time,
                     ledger.refusals_in_row, ledger.boot_id, ledger.axis_offset, ledger.last_seen,
                     ledger.last_delivered, checksum(ledger));
}

std::int64_t checksum(const Ledger& ledger) {
    core::SipHash hash{ledger.salt};
    for (const std::uint64_t value :
         {ledger.claimed, ledger.unknown, ledger.left, ledger.dead, ledger.delivered,
          ledger.discarded, ledger.dropped, ledger.possible_duplicates, ledger.other_api_key,
          ledger.other_jwt, ledger.kept_delivered, ledger.kept_discarded, ledger.control.releases,
          ledger.boot_id}) {
        hash.add(value);
    }
    for (const std::int64_t value :
         {ledger.floor_key, ledger.fresh_cursor, ledger.low_key, ledger.epoch,
          std::int64_t{ledger.tight}, std::int64_t{ledger.control.person_hold},
          ledger.control.person_hold_since, std::int64_t{ledger.route}, ledger.trusted_time,
          std::int64_t{ledger.refusals_in_row}, ledger.axis_offset, ledger.last_seen}) {
        hash.add(value);
    }
    hash.add(ledger.floor_id);
    hash.add(ledger.server_date);
    hash.add(ledger.last_delivered);
    return hash.result();
}

void recount(sqlite::Database& database, Ledger& ledger) {
    ledger.claimed = ledger.unknown = ledger.left = ledger.dead = 0;
    ledger.other_api_key = ledger.other_jwt = ledger.kept_delivered = ledger.kept_discarded = 0;
    sqlite::Rows rows =
        database.query("SELECT lane, kind, count(*) FROM record GROUP BY lane, kind");
    while (rows.next()) {
        const auto count = static_cast<std::uint64_t>(rows.integer(2));
        switch (static_cast<Lane>(rows.integer(0))) {
            case Lane::fresh:
            case Lane::parked:
            case Lane::retry:
                break;
            case Lane::other_kind:
                ledger.other(static_cast<Credential::Kind>(rows.integer(1))) += count;
                break;
            case Lane::claimed:
                ledger.claimed += count;
                break;
            case Lane::unknown:
                ledger.unknown += count;
                break;
            case Lane::left:
                ledger.left += count;
                break;
            case Lane::dead:
                ledger.dead += count;
                break;
            case Lane::delivered:
                ledger.kept_delivered += count;
                break;
            case Lane::discarded:
                ledger.kept_discarded += count;
                break;
        }
    }
}

std::vector<HoldRow> read_holds(sqlite::Database& database) {
    sqlite::Rows rows = database.query(
        "SELECT reason, since, until, step, status, detail FROM hold ORDER BY reason");
    std::vector<HoldRow> holds;
    while (rows.next()) {
        if (rows.integer(0) < 0 || rows.integer(0) > static_cast<int>(HoldReason::outage)) {
            continue;  // garbled: the next probe shows what holds
        }
        HoldRow hold;
        hold.reason = static_cast<HoldReason>(rows.integer(0));
        hold.since = rows.integer(1);
        hold.until = rows.maybe_integer(2);
        hold.step = static_cast<int>(rows.integer(3));
        hold.status = static_cast<int>(rows.integer(4));
        hold.detail = rows.text(5);
        holds.push_back(std::move(hold));
    }
    return holds;
}

void write_holds(sqlite::Database& database, const std::vector<HoldRow>& holds) {
    database.execute("DELETE FROM hold");
    for (const HoldRow& hold : holds) {
        database.execute(
            "INSERT OR REPLACE INTO hold(reason, since, until, step, status, detail)"
            " VALUES(?, ?, ?, ?, ?, ?)",
            hold.reason, hold.since, hold.until, hold.step, hold.status, hold.detail);
    }
}

std::int64_t axis_offset(const core::Moment& moment, std::uint64_t boot_id, std::int64_t offset,
                         core::OutboxMs last_seen) {
    return moment.boot_id == boot_id ? offset : last_seen - moment.boot_ms;
}

core::OutboxMs Axis::at(const core::Moment& moment) const {
    const std::lock_guard lock{mutex_};
    const std::int64_t offset = axis_offset(moment, boot_id_, offset_, last_seen_);
    // Never back, whatever the clocks do: a due time that has come has come.
    return std::max(moment.boot_ms + offset, last_seen_);
}

void Axis::follow(const Ledger& ledger) {
    const std::lock_guard lock{mutex_};
    boot_id_ = ledger.boot_id;
    offset_ = ledger.axis_offset;
    last_seen_ = ledger.last_seen;
}

}  // namespace agentsight::outbox
