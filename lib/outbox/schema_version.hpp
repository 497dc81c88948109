#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace agentsight::outbox {

/// One version of the file's schema, and how a file of the version before becomes one.
struct SchemaVersion {
    std::string_view tables;   ///< each statement word for word as sqlite_schema keeps it
    std::string_view upgrade;  ///< leaves exactly `tables`; the first version has none
};

/// The n-th is version n; the last is what a fresh file gets.
using Schema = std::span<const SchemaVersion>;

inline std::int64_t newest(Schema schema) noexcept {
    return static_cast<std::int64_t>(schema.size());
}

/// This library's. A released version is never changed, only followed by another.
Schema our_schema() noexcept;

}  // namespace agentsight::outbox
