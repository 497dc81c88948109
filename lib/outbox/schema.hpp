#pragma once

#include <cstdint>

#include "outbox/schema_version.hpp"
#include "sqlite/database.hpp"

namespace agentsight::outbox {

inline constexpr std::int64_t application_id = 0x4167534F;  // "AgSO"
inline constexpr std::int64_t page_size = 4096;

/// What a file is, told without writing to it.
enum class FileKind {
    fresh,         ///< nothing in it yet: the schema may be made
    ours,          ///< the newest version
    older_schema,  ///< an earlier version: used as it is, or migrated
    newer_schema,  ///< written by a newer version of this library
    damaged,       ///< ours once: its schema or its header is not as we wrote it
    foreign,       ///< another application's database
};
FileKind inspect(sqlite::Database& database, Schema schema);

/// Whether application_id and user_version are still such as we know: cheap, for every
/// transaction after another's.
bool is_known(sqlite::Database& database, std::int64_t newest);

/// Makes a fresh file an outbox: WAL, auto_vacuum, then all tables in one transaction.
/// `salt` keys the fingerprints of erased texts. Under the commit lock.
void create_schema(sqlite::Database& database, Schema schema, sqlite::Bytes salt);

/// Brings a file of an older version to the newest, in one transaction: a crash leaves the one or
/// the other. Under the commit lock, and while no other process has the outbox open.
void migrate(sqlite::Database& database, Schema schema);

}  // namespace agentsight::outbox
