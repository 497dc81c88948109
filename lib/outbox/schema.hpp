#pragma once

#include <cstdint>

#include "sqlite/database.hpp"

namespace agentsight::outbox {

inline constexpr std::int64_t application_id = 0x4167534F;  // "AgSO"
inline constexpr std::int64_t schema_version = 1;
inline constexpr std::int64_t page_size = 4096;

/// What a file is, told without writing to it.
enum class FileKind {
    fresh,         ///< nothing in it yet: the schema may be made
    ours,          ///< this schema
    newer_schema,  ///< written by a newer version of this library
    damaged,       ///< ours once: its schema or its header is not as we wrote it
    foreign,       ///< another application's database
};
FileKind inspect(sqlite::Database& database);

/// Whether application_id and user_version are still what we write: cheap, for every
/// transaction after another's.
bool is_current(sqlite::Database& database);

/// Makes a fresh file an outbox: WAL, auto_vacuum, then all tables in one transaction.
/// `salt` keys the fingerprints of erased texts. Under the commit lock.
void create_schema(sqlite::Database& database, sqlite::Bytes salt);

}  // namespace agentsight::outbox
