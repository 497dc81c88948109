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
    older,         ///< an earlier schema of ours: to be migrated
    newer_schema,  ///< written by a newer version of this library
    foreign,       ///< another application's database
};
FileKind inspect(sqlite::Database& database);

/// Makes a fresh file an outbox: WAL, auto_vacuum, then all tables in one transaction.
/// `salt` keys the fingerprints of erased texts. Under the commit lock.
void create_schema(sqlite::Database& database, sqlite::Bytes salt);

}  // namespace agentsight::outbox
