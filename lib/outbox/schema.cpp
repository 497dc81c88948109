#include "outbox/schema.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include "outbox/ledger.hpp"

namespace agentsight::outbox {

namespace {

// Keys are dense, assigned and never reused, so `accepted` is the last key and a submit
// touches no counter. `id` is the library's own and grows with the key: a lookup is a binary
// search over the keys. What a delivery changes stands before the text, so that it is read
// without the text's overflow pages. `room` is what a delivery takes up of it: a row keeps its
// size, and is changed where it stands. `fingerprint` is of the content, `checksum` of all but the
// text: what flash garbles within a page no one else would notice. Lanes are outbox::Lane; the
// partial indexes know only rows that a fresh record is not among, so that inserting one touches
// the table alone.
constexpr std::string_view tables = R"sql(
CREATE TABLE record(
    key INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    lane INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    caller BLOB,
    turn INTEGER,
    due INTEGER,
    attempts INTEGER,
    refusals INTEGER,
    last_status INTEGER,
    last_error TEXT,
    first_utc INTEGER, first_boot INTEGER, first_boot_id INTEGER,
    began_utc INTEGER, began_boot INTEGER, began_boot_id INTEGER,
    ended_utc INTEGER, ended_boot INTEGER, ended_boot_id INTEGER,
    server_date INTEGER,
    origin INTEGER,
    looks INTEGER,
    first_absent INTEGER,
    server_id TEXT,
    server_time INTEGER,
    delivered_utc INTEGER,
    room BLOB,
    fingerprint INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    submitted_utc INTEGER NOT NULL,
    submitted_boot INTEGER NOT NULL,
    submitted_boot_id INTEGER NOT NULL,
    sentiment INTEGER NOT NULL,
    conversation TEXT NOT NULL,
    comment TEXT,
    metadata TEXT
) STRICT;
CREATE INDEX open ON record(conversation, lane, turn)
    WHERE (lane = 1 OR lane = 3 OR lane = 4 OR lane = 5);
CREATE INDEX work ON record(lane, due) WHERE lane BETWEEN 3 AND 5;
CREATE INDEX other_kind ON record(kind, turn) WHERE lane = 2;
CREATE INDEX rare ON record(lane) WHERE lane BETWEEN 5 AND 7;
CREATE INDEX history ON record(lane, turn) WHERE lane IN (8, 9);

CREATE TABLE caller_id(
    id BLOB PRIMARY KEY,
    key INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt(
    key INTEGER NOT NULL,
    n INTEGER NOT NULL,
    began INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER,
    detail TEXT,
    PRIMARY KEY(key, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE origin(
    number INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE owned(
    origin INTEGER NOT NULL,
    server_id TEXT NOT NULL,
    key INTEGER NOT NULL,
    server_time INTEGER NOT NULL,
    PRIMARY KEY(origin, server_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE hold(
    reason INTEGER PRIMARY KEY,
    since INTEGER NOT NULL,
    until INTEGER,
    step INTEGER NOT NULL,
    status INTEGER NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE TABLE ledger(
    one INTEGER PRIMARY KEY CHECK (one = 1),
    salt BLOB NOT NULL,
    claimed INTEGER NOT NULL DEFAULT 0,
    unknown INTEGER NOT NULL DEFAULT 0,
    left_to_person INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    discarded INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0,
    possible_duplicates INTEGER NOT NULL DEFAULT 0,
    other_api_key INTEGER NOT NULL DEFAULT 0,
    other_jwt INTEGER NOT NULL DEFAULT 0,
    kept_delivered INTEGER NOT NULL DEFAULT 0,
    kept_discarded INTEGER NOT NULL DEFAULT 0,
    floor_key INTEGER NOT NULL DEFAULT 0,
    floor_id BLOB,
    fresh_cursor INTEGER NOT NULL DEFAULT 0,
    low_key INTEGER NOT NULL DEFAULT 1,
    epoch INTEGER NOT NULL DEFAULT 0,
    tight INTEGER NOT NULL DEFAULT 0,
    person_hold INTEGER NOT NULL DEFAULT 0,
    person_hold_since INTEGER NOT NULL DEFAULT 0,
    releases INTEGER NOT NULL DEFAULT 0,
    route INTEGER NOT NULL DEFAULT 0,
    server_date INTEGER,
    trusted_time INTEGER NOT NULL DEFAULT 0,
    refusals_in_row INTEGER NOT NULL DEFAULT 0,
    boot_id INTEGER NOT NULL DEFAULT 0,
    axis_offset INTEGER NOT NULL DEFAULT 0,
    last_seen INTEGER NOT NULL DEFAULT 0,
    last_delivered INTEGER,
    checksum INTEGER NOT NULL DEFAULT 0
) STRICT;
)sql";

constexpr SchemaVersion versions[] = {{tables, {}}};

/// Whether every table and index stands there word for word: a local attacker's triggers and
/// views are switched off, but a table with another meaning would be ours to read.
bool has_tables(sqlite::Database& database, std::string_view statements) {
    std::string_view rest = statements;
    for (std::size_t end = 0; (end = rest.find(';')) != std::string_view::npos;) {
        std::string_view statement = rest.substr(0, end);
        statement.remove_prefix(std::min(statement.find_first_not_of('\n'), statement.size()));
        rest.remove_prefix(end + 1);
        if (!database.query("SELECT 1 FROM sqlite_schema WHERE sql = ?", statement).next()) {
            return false;
        }
    }
    return true;
}

const SchemaVersion& at(Schema schema, std::int64_t version) {
    return schema[static_cast<std::size_t>(version - 1)];
}

void set_version(sqlite::Database& database, std::int64_t version) {
    database.script("PRAGMA user_version=" + std::to_string(version));
}

/// Versions beyond this were never ours: the header is damaged.
constexpr std::int64_t plausible_version = 10'000;

}  // namespace

Schema our_schema() noexcept {
    return versions;
}

FileKind inspect(sqlite::Database& database, Schema schema) {
    const std::int64_t id = database.integer("PRAGMA application_id");
    const std::int64_t version = database.integer("PRAGMA user_version");
    const std::int64_t current = newest(schema);
    if (id == application_id) {
        if (version > current && version < plausible_version) {
            return FileKind::newer_schema;
        }
        // Until the first schema is made in one transaction there is no id.
        const bool known = version >= 1 && version <= current;
        if (!known || !has_tables(database, at(schema, version).tables)) {
            return FileKind::damaged;
        }
        return version == current ? FileKind::ours : FileKind::older_schema;
    }
    const auto is_made_by = [&](const SchemaVersion& made) {
        return has_tables(database, made.tables);
    };
    if (std::ranges::any_of(schema, is_made_by)) {
        return FileKind::damaged;
    }
    const bool empty = database.integer("SELECT count(*) FROM sqlite_schema") == 0;
    if (id != 0 || !empty || version < 0 || version > current) {
        return FileKind::foreign;
    }
    // A crash while the file was being made leaves a database without tables; a kill between two
    // bytes of its header, one with a version of ours and no id.
    return version == 0 ? FileKind::fresh : FileKind::damaged;
}

bool is_known(sqlite::Database& database, std::int64_t newest) {
    return database.integer("PRAGMA application_id") == application_id &&
           database.integer("PRAGMA user_version") <= newest;
}

void create_schema(sqlite::Database& database, Schema schema, sqlite::Bytes salt) {
    // DELETE first: after a power cut in here a journal may have come back and taken WAL out of the
    // header, while a -wal stands there that makes this connection use it, and say so. Once that
    // log is empty the next connection would not.
    database.script("PRAGMA page_size=" + std::to_string(page_size) +
                    "; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=DELETE;"
                    " PRAGMA journal_mode=WAL;");
    sqlite::Transaction transaction{database};
    database.script(std::string{schema.back().tables});
    database.execute("INSERT INTO ledger(one, salt) VALUES(1, ?)", salt);
    write_ledger(database, {.salt = salt_of(salt)});
    database.script("PRAGMA application_id=" + std::to_string(application_id));
    set_version(database, newest(schema));
    transaction.commit();
}

void migrate(sqlite::Database& database, Schema schema) {
    sqlite::Transaction transaction{database};
    for (std::int64_t version = database.integer("PRAGMA user_version") + 1;
         version <= newest(schema); ++version) {
        database.script(std::string{at(schema, version).upgrade});
        if (!has_tables(database, at(schema, version).tables)) {
            throw sqlite::Failure::other("the upgrade to schema " + std::to_string(version) +
                                         " did not make its tables");
        }
        set_version(database, version);
    }
    transaction.commit();
}

}  // namespace agentsight::outbox
