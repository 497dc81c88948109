#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace agentsight::outbox {

/// A column as the file stores it.
struct StoredValue {
    enum class Type { null, integer, real, text, blob };
    Type type = Type::null;
    std::int64_t integer = 0;
    std::string bytes;  ///< of text and blob
};
struct StoredRow {
    std::int64_t rowid = 0;
    std::vector<StoredValue> values;
};

/// Reads every row that stands on a readable leaf page of any table of a database, whatever
/// has become of the pages above it, through the committed frames of its WAL. For a file that
/// was moved aside: it is opened and closed by its name, which would drop SQLite's locks on a
/// live one. Every size that the file claims is checked. Throws std::system_error where the
/// file cannot be read at all.
void scan_rows(const std::filesystem::path& database, const std::filesystem::path& wal,
               const std::function<void(StoredRow&&)>& visit);

}  // namespace agentsight::outbox
