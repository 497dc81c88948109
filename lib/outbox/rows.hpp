#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agentsight/outbox.hpp"
#include "core/uuid.hpp"
#include "outbox/ledger.hpp"
#include "outbox/record.hpp"
#include "sqlite/database.hpp"

/// Rows of the tables as values, and the searches both connections share.
namespace agentsight::outbox {

core::Uuid uuid_of(sqlite::Bytes bytes);
inline sqlite::Bytes bytes_of(const core::Uuid& id) {
    return {id.bytes};
}

/// Lanes whose record delays later ones of its conversation.
constexpr bool is_open(Lane lane) {
    return lane == Lane::parked || lane == Lane::retry || lane == Lane::claimed ||
           lane == Lane::unknown;
}
/// Open, and next in its conversation.
constexpr bool is_head(Lane lane) {
    return is_open(lane) && lane != Lane::parked;
}
constexpr bool is_waiting(Lane lane) {
    return lane <= Lane::retry;
}

/// Everything of a record that delivery changes; the text stays where it is.
struct RowState {
    std::int64_t key = 0;
    core::Uuid id;  ///< the library's
    std::optional<core::Uuid> caller;
    Lane lane = Lane::fresh;
    Credential::Kind kind = Credential::Kind::none;
    std::optional<std::int64_t> turn;  ///< place in its conversation's order
    std::optional<core::OutboxMs> due;
    int attempts = 0;
    int refusals = 0;
    std::optional<int> last_status;
    std::string last_error;
    std::optional<core::Moment> first_attempt;
    std::optional<core::Moment> began;
    std::optional<core::Moment> ended;
    std::optional<core::UtcMs> server_date;
    std::optional<std::int64_t> origin;
    int looks = 0;
    std::optional<core::UtcMs> first_absent;
    std::string server_id;
    std::optional<core::UtcMs> server_time;
    std::optional<core::UtcMs> delivered;
    std::int64_t fingerprint = 0;  ///< of the content, also once its text is erased
    core::Moment submitted;
    Sentiment sentiment = Sentiment::neutral;
    std::string conversation;

    /// The record's public name.
    const core::Uuid& name() const { return caller ? *caller : id; }
    std::int64_t own_turn() const { return turn.value_or(2 * key); }
};

struct Text {
    std::string comment;
    std::string metadata;
};

/// Throws sqlite::Failure (damaged) where the row is not as it was written.
std::optional<RowState> read_row(sqlite::Database& database, std::int64_t key);
/// Of a row that an index, or this transaction, knows. Throws sqlite::Failure (damaged).
RowState existing_row(sqlite::Database& database, std::int64_t key);
/// The same, in the lane in which the index has it: an index that was garbled names others.
RowState existing_row(sqlite::Database& database, std::int64_t key, Lane lane);
/// A whole row, whatever its lane.
void insert_row(sqlite::Database& database, const RowState& row, const std::string& comment,
                const std::string& metadata);
/// All but identity, submission and text.
void write_row(sqlite::Database& database, const RowState& row);

Text read_text(sqlite::Database& database, std::int64_t key);
/// The text of a row that was read just now. Throws sqlite::Failure (damaged) where it is not as
/// it was written.
Text checked_text(sqlite::Database& database, const RowState& row, const Salt& salt);

/// The whole record for the drainer, from its parts.
ClaimedRecord claimed_record(RowState row, Text text, std::string origin);
std::optional<ClaimedRecord> read_claimed(sqlite::Database& database, std::int64_t key);
/// The text is checked too.
ClaimedRecord existing_claimed(sqlite::Database& database, std::int64_t key, const Salt& salt);
std::string read_origin(sqlite::Database& database, std::int64_t number);

struct LastRow {
    std::int64_t key = 0;
    core::Uuid id;
};
/// The last record accepted, also where its row is gone.
LastRow read_last(sqlite::Database& database, const Ledger& ledger);

/// The record of this public id. Throws sqlite::Failure (damaged) where "none" cannot be relied
/// on.
std::optional<std::int64_t> find_key(sqlite::Database& database, const core::Uuid& id,
                                     std::int64_t last_key);
/// The two halves of it: an id that a caller gave, and one of the library's own.
std::optional<std::int64_t> find_callers_key(sqlite::Database& database, const core::Uuid& id);
std::optional<std::int64_t> find_own_key(sqlite::Database& database, const core::Uuid& id,
                                         std::int64_t last_key);
/// The least of the library's own ids in the file. Throws sqlite::Failure (damaged).
std::optional<core::Uuid> first_own_id(sqlite::Database& database);

/// No record with a lesser key was submitted at or after `since`: ids grow with the keys, and
/// each has the latest time of all submitted up to it, whatever clocks did meanwhile. A search
/// of the keys. Throws sqlite::Failure (damaged).
std::int64_t first_key_since(sqlite::Database& database, core::UtcMs since, std::int64_t last_key);

/// Identifies content: to compare a resubmit with it, and to notice damage.
std::int64_t fingerprint(const core::Feedback& feedback, const Salt& salt);
/// Of everything in a row but the text, which its fingerprint stands for.
std::int64_t checksum(const RowState& row);
/// The rows behind a key with their texts, in order, until `visit` says false. Throws
/// sqlite::Failure (damaged) at the first that is not as it was written.
void visit_rows(sqlite::Database& database, std::int64_t after, const Salt& salt,
                const std::function<bool(const RowState&, const Text&)>& visit);

}  // namespace agentsight::outbox
