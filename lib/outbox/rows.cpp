#include "outbox/rows.hpp"

#include <array>
#include <cstring>

#include "core/sip_hash.hpp"
#include "outbox/row_size.hpp"

namespace agentsight::outbox {

namespace {

#define AGENTSIGHT_STATE_COLUMNS                                                           \
    "key, id, caller, lane, kind, turn, due, attempts, refusals, last_status, last_error," \
    " first_utc, first_boot, first_boot_id, began_utc, began_boot, began_boot_id,"         \
    " ended_utc, ended_boot, ended_boot_id, server_date, origin, looks, first_absent,"     \
    " server_id, server_time, delivered_utc, fingerprint, checksum, submitted_utc, "       \
    "submitted_boot,"                                                                      \
    " submitted_boot_id, sentiment, conversation"

constexpr const char* select_row = "SELECT " AGENTSIGHT_STATE_COLUMNS " FROM record WHERE key = ?";
constexpr const char* select_from =
    "SELECT " AGENTSIGHT_STATE_COLUMNS " FROM record WHERE key >= ? ORDER BY key LIMIT 1";
constexpr const char* select_first =
    "SELECT " AGENTSIGHT_STATE_COLUMNS " FROM record ORDER BY key LIMIT 1";
constexpr const char* select_last =
    "SELECT " AGENTSIGHT_STATE_COLUMNS " FROM record ORDER BY key DESC LIMIT 1";
constexpr const char* select_behind =
    "SELECT " AGENTSIGHT_STATE_COLUMNS ", comment, metadata FROM record WHERE key > ? ORDER BY key";
constexpr int comment_column = 34;

#undef AGENTSIGHT_STATE_COLUMNS

constexpr const char* update_row =
    "UPDATE record SET lane = ?, turn = ?, due = ?, attempts = ?, refusals = ?, last_status = ?,"
    " last_error = ?, first_utc = ?, first_boot = ?, first_boot_id = ?, began_utc = ?,"
    " began_boot = ?, began_boot_id = ?, ended_utc = ?, ended_boot = ?, ended_boot_id = ?,"
    " server_date = ?, origin = ?, looks = ?, first_absent = ?, server_id = ?, server_time = ?,"
    " delivered_utc = ?, checksum = ?, room = ? WHERE key = ?";

/// What claiming and delivering add to a row, with a server id of a few digits. A fresh row has it
/// as room already.
constexpr std::size_t growth = 76;
constexpr std::array<std::uint8_t, growth> nothing{};

/// Reads columns from left to right.
class Cursor {
  public:
    explicit Cursor(const sqlite::Rows& rows) : rows_(rows) {}

    std::int64_t number() { return rows_.integer(column_++); }
    int small() { return static_cast<int>(number()); }
    std::optional<std::int64_t> maybe() { return rows_.maybe_integer(column_++); }
    std::optional<int> maybe_small() {
        const auto value = maybe();
        return value ? std::optional<int>{static_cast<int>(*value)} : std::nullopt;
    }
    std::string text() { return rows_.text(column_++); }
    core::Uuid uuid() { return uuid_of(rows_.bytes(column_++)); }
    std::optional<core::Uuid> maybe_uuid() {
        const bool none = rows_.is_null(column_);
        const core::Uuid id = uuid();
        return none ? std::nullopt : std::optional{id};
    }
    std::optional<core::Moment> maybe_moment() {
        const bool none = rows_.is_null(column_);
        const core::Moment read = moment();
        return none ? std::nullopt : std::optional{read};
    }
    core::Moment moment() {
        core::Moment moment;
        moment.utc_ms = number();
        moment.boot_ms = number();
        moment.boot_id = static_cast<std::uint64_t>(number());
        return moment;
    }

  private:
    const sqlite::Rows& rows_;
    int column_ = 0;
};

RowState state_of(const sqlite::Rows& rows) {
    Cursor from{rows};
    RowState row;
    row.key = from.number();
    row.id = from.uuid();
    row.caller = from.maybe_uuid();
    row.lane = static_cast<Lane>(from.number());
    row.kind = static_cast<Credential::Kind>(from.number());
    row.turn = from.maybe();
    row.due = from.maybe();
    row.attempts = from.small();
    row.refusals = from.small();
    row.last_status = from.maybe_small();
    row.last_error = from.text();
    row.first_attempt = from.maybe_moment();
    row.began = from.maybe_moment();
    row.ended = from.maybe_moment();
    row.server_date = from.maybe();
    row.origin = from.maybe();
    row.looks = from.small();
    row.first_absent = from.maybe();
    row.server_id = from.text();
    row.server_time = from.maybe();
    row.delivered = from.maybe();
    row.fingerprint = from.number();
    const std::int64_t written = from.number();
    row.submitted = from.moment();
    row.sentiment = static_cast<Sentiment>(from.number());
    row.conversation = from.text();
    if (written != checksum(row)) {
        sqlite::throw_damaged("a record is not as it was written");
    }
    return row;
}

/// What keeps the row as large as it always was.
sqlite::Bytes room_of(const RowState& row, std::int64_t sum) {
    RowSize size;
    size.add(static_cast<std::int64_t>(row.lane));
    size.add(row.turn);
    size.add(row.due);
    size.add(std::int64_t{row.attempts});
    size.add(std::int64_t{row.refusals});
    size.add(row.last_status);
    size.add(std::string_view{row.last_error});
    size.add(row.first_attempt);
    size.add(row.began);
    size.add(row.ended);
    size.add(row.server_date);
    size.add(row.origin);
    size.add(std::int64_t{row.looks});
    size.add(row.first_absent);
    size.add(std::string_view{row.server_id});
    size.add(row.server_time);
    size.add(row.delivered);
    size.add(sum);
    return {nothing.data(), size.filler(growth)};
}

/// Throws where a text that is still there is not the one that was submitted.
void require_text(const RowState& row, const Text& text, const Salt& salt) {
    const core::Feedback feedback{{row.conversation}, row.sentiment, text.comment, text.metadata};
    const bool erased = feedback.comment.empty() && feedback.metadata.empty();
    if (!erased && fingerprint(feedback, salt) != row.fingerprint) {
        sqlite::throw_damaged("a record's text is not as it was written");
    }
}

std::optional<std::int64_t> zero_as_null(int value) {
    return value == 0 ? std::nullopt : std::optional<std::int64_t>{value};
}

std::optional<std::string_view> empty_as_null(const std::string& text) {
    return text.empty() ? std::nullopt : std::optional<std::string_view>{text};
}

/// A moment as its three columns.
struct Columns {
    explicit Columns(const std::optional<core::Moment>& moment) {
        if (moment) {
            utc = moment->utc_ms;
            boot = moment->boot_ms;
            boot_id = static_cast<std::int64_t>(moment->boot_id);
        }
    }
    std::optional<std::int64_t> utc, boot, boot_id;
};

/// One row of a search by id: all of it is looked at only where a garbled id must not mislead.
class Probe {
  public:
    Probe(sqlite::Rows rows, bool whole) : rows_(std::move(rows)), there_(rows_.next()) {
        if (there_ && whole) {
            state_of(rows_);
        }
    }
    bool there() const { return there_; }
    std::int64_t key() const { return rows_.integer(0); }
    core::Uuid id() const { return uuid_of(rows_.bytes(1)); }
    bool has_callers_id() const { return !rows_.is_null(2); }

  private:
    sqlite::Rows rows_;
    bool there_;
};

/// The time in an id of the library's own.
core::UtcMs time_of(const core::Uuid& id) {
    core::UtcMs time = 0;
    for (int i = 0; i < 6; ++i) {
        time = time << 8 | id.bytes[static_cast<std::size_t>(i)];
    }
    return time;
}

/// Binary search: ids grow with the keys, whatever rows are gone between them.
std::optional<std::int64_t> search_own_id(sqlite::Database& database, const core::Uuid& id,
                                          std::int64_t last_key, bool whole) {
    std::int64_t low = 1;
    std::int64_t high = last_key;
    while (low <= high) {
        const std::int64_t middle = low + (high - low) / 2;
        const Probe probe{database.query(select_from, middle), whole};
        if (!probe.there() || probe.key() > high) {
            high = middle - 1;
            continue;
        }
        const core::Uuid found = probe.id();
        if (found == id) {
            return probe.has_callers_id() ? std::nullopt : std::optional{probe.key()};
        }
        if (found < id) {
            low = probe.key() + 1;
        } else {
            high = middle - 1;
        }
    }
    return std::nullopt;
}

}  // namespace

core::Uuid uuid_of(sqlite::Bytes bytes) {
    core::Uuid id;
    if (bytes.size() == id.bytes.size()) {
        std::memcpy(id.bytes.data(), bytes.data(), bytes.size());
    }
    return id;
}

std::optional<RowState> read_row(sqlite::Database& database, std::int64_t key) {
    sqlite::Rows rows = database.query(select_row, key);
    return rows.next() ? std::optional{state_of(rows)} : std::nullopt;
}

RowState existing_row(sqlite::Database& database, std::int64_t key) {
    auto row = read_row(database, key);
    if (!row) {
        sqlite::throw_damaged("an index names a record that is not there");
    }
    return std::move(*row);
}

RowState existing_row(sqlite::Database& database, std::int64_t key, Lane lane) {
    RowState row = existing_row(database, key);
    if (row.lane != lane) {
        sqlite::throw_damaged("an index names a record that is elsewhere");
    }
    return row;
}

void insert_row(sqlite::Database& database, const RowState& row, const std::string& comment,
                const std::string& metadata) {
    std::optional<sqlite::Bytes> caller;
    if (row.caller) {
        caller = bytes_of(*row.caller);
    }
    const std::int64_t sum = checksum(row);
    database.execute(
        "INSERT INTO record(key, id, lane, kind, caller, room, fingerprint, checksum,"
        " submitted_utc, submitted_boot, submitted_boot_id, sentiment, conversation, comment,"
        " metadata) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row.key, bytes_of(row.id), row.lane, row.kind, caller, room_of(row, sum), row.fingerprint,
        sum, row.submitted.utc_ms, row.submitted.boot_ms, row.submitted.boot_id, row.sentiment,
        row.conversation, empty_as_null(comment), empty_as_null(metadata));
    if (row.lane != Lane::fresh) {
        write_row(database, row);
    }
}

void write_row(sqlite::Database& database, const RowState& row) {
    const std::int64_t sum = checksum(row);
    const Columns first{row.first_attempt};
    const Columns began{row.began};
    const Columns ended{row.ended};
    database.execute(update_row, row.lane, row.turn, row.due, zero_as_null(row.attempts),
                     zero_as_null(row.refusals), row.last_status, empty_as_null(row.last_error),
                     first.utc, first.boot, first.boot_id, began.utc, began.boot, began.boot_id,
                     ended.utc, ended.boot, ended.boot_id, row.server_date, row.origin,
                     zero_as_null(row.looks), row.first_absent, empty_as_null(row.server_id),
                     row.server_time, row.delivered, sum, room_of(row, sum), row.key);
}

Text read_text(sqlite::Database& database, std::int64_t key) {
    sqlite::Rows rows = database.query("SELECT comment, metadata FROM record WHERE key = ?", key);
    return rows.next() ? Text{rows.text(0), rows.text(1)} : Text{};
}

Text checked_text(sqlite::Database& database, const RowState& row, const Salt& salt) {
    Text text = read_text(database, row.key);
    require_text(row, text, salt);
    return text;
}

ClaimedRecord claimed_record(RowState row, Text text, std::string origin) {
    ClaimedRecord record;
    record.key = row.key;
    record.id = row.name();
    record.feedback.conversation.value = std::move(row.conversation);
    record.feedback.sentiment = row.sentiment;
    record.feedback.comment = std::move(text.comment);
    record.feedback.metadata = std::move(text.metadata);
    record.kind = row.kind;
    record.submitted = row.submitted;
    record.attempts = row.attempts;
    record.refusals = row.refusals;
    record.last_status = row.last_status;
    record.first_attempt = row.first_attempt;
    record.attempt_began = row.began.value_or(core::Moment{});
    record.attempt_ended = row.ended;
    record.server_date = row.server_date;
    record.origin = std::move(origin);
    record.looks = row.looks;
    record.first_absent = row.first_absent;
    return record;
}

std::optional<ClaimedRecord> read_claimed(sqlite::Database& database, std::int64_t key) {
    auto row = read_row(database, key);
    if (!row) {
        return std::nullopt;
    }
    Text text = read_text(database, key);
    std::string origin = row->origin ? read_origin(database, *row->origin) : std::string{};
    return claimed_record(std::move(*row), std::move(text), std::move(origin));
}

ClaimedRecord existing_claimed(sqlite::Database& database, std::int64_t key, const Salt& salt) {
    const RowState row = existing_row(database, key);
    Text text = checked_text(database, row, salt);
    std::string origin = row.origin ? read_origin(database, *row.origin) : std::string{};
    return claimed_record(row, std::move(text), std::move(origin));
}

std::string read_origin(sqlite::Database& database, std::int64_t number) {
    sqlite::Rows rows = database.query("SELECT text FROM origin WHERE number = ?", number);
    return rows.next() ? rows.text(0) : std::string{};
}

LastRow read_last(sqlite::Database& database, const Ledger& ledger) {
    // Checked as a whole: what is accepted next, and how much there is, follow from its key.
    sqlite::Rows rows = database.query(select_last);
    if (rows.next()) {
        const RowState row = state_of(rows);
        if (row.key >= ledger.floor_key) {
            return {row.key, row.id};
        }
    }
    return {ledger.floor_key, ledger.floor_id};
}

std::optional<std::int64_t> find_callers_key(sqlite::Database& database, const core::Uuid& id) {
    sqlite::Rows rows = database.query("SELECT key FROM caller_id WHERE id = ?", bytes_of(id));
    if (!rows.next()) {
        return std::nullopt;
    }
    const std::int64_t key = rows.integer(0);
    if (existing_row(database, key).caller != id) {
        sqlite::throw_damaged("a caller's id names a record of another id");
    }
    return key;
}

std::optional<std::int64_t> find_own_key(sqlite::Database& database, const core::Uuid& id,
                                         std::int64_t last_key) {
    if (const auto key = search_own_id(database, id, last_key, false)) {
        return key;
    }
    return search_own_id(database, id, last_key, true);
}

std::optional<std::int64_t> find_key(sqlite::Database& database, const core::Uuid& id,
                                     std::int64_t last_key) {
    const auto key = find_callers_key(database, id);
    return key ? key : find_own_key(database, id, last_key);
}

std::optional<core::Uuid> first_own_id(sqlite::Database& database) {
    const Probe first{database.query(select_first), true};
    return first.there() ? std::optional{first.id()} : std::nullopt;
}

std::int64_t first_key_since(sqlite::Database& database, core::UtcMs since, std::int64_t last_key) {
    std::int64_t low = 1;
    std::int64_t high = last_key + 1;
    while (low < high) {
        const std::int64_t middle = low + (high - low) / 2;
        const Probe probe{database.query(select_from, middle), true};
        if (!probe.there() || probe.key() >= high || time_of(probe.id()) >= since) {
            high = middle;
        } else {
            low = probe.key() + 1;
        }
    }
    return low;
}

std::int64_t fingerprint(const core::Feedback& feedback, const Salt& salt) {
    core::SipHash hash{salt};
    hash.add(std::string_view{feedback.conversation.value});
    hash.add(static_cast<int>(feedback.sentiment));
    hash.add(std::string_view{feedback.comment});
    hash.add(std::string_view{feedback.metadata});
    return hash.result();
}

std::int64_t checksum(const RowState& row) {
    core::SipHash hash{Salt{}};
    hash.add(row.key);
    hash.add(row.id);
    hash.add(row.caller);
    hash.add(static_cast<int>(row.lane));
    hash.add(static_cast<int>(row.kind));
    hash.add(row.turn);
    hash.add(row.due);
    hash.add(row.attempts);
    hash.add(row.refusals);
    hash.add(row.last_status);
    hash.add(std::string_view{row.last_error});
    hash.add(row.first_attempt);
    hash.add(row.began);
    hash.add(row.ended);
    hash.add(row.server_date);
    hash.add(row.origin);
    hash.add(row.looks);
    hash.add(row.first_absent);
    hash.add(std::string_view{row.server_id});
    hash.add(row.server_time);
    hash.add(row.delivered);
    hash.add(row.fingerprint);
    hash.add(row.submitted);
    hash.add(static_cast<int>(row.sentiment));
    hash.add(std::string_view{row.conversation});
    return hash.result();
}

void visit_rows(sqlite::Database& database, std::int64_t after, const Salt& salt,
                const std::function<bool(const RowState&, const Text&)>& visit) {
    sqlite::Rows rows = database.query(select_behind, after);
    while (rows.next()) {
        const RowState row = state_of(rows);
        const Text text{rows.text(comment_column), rows.text(comment_column + 1)};
        require_text(row, text, salt);
        if (!visit(row, text)) {
            return;
        }
    }
}

}  // namespace agentsight::outbox
