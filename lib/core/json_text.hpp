#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Writes JSON by hand where the order of members and the exact text matter.
namespace agentsight::core {

/// A string with quotes; `utf8` must be UTF-8. Escapes only what RFC 8259 demands, so that
/// equal strings have equal texts.
void append_json_string(std::string& out, std::string_view utf8);

void append_json_number(std::string& out, std::int64_t value);
void append_json_number(std::string& out, std::uint64_t value);

/// The shortest text that reads back as the same double, always with a point or an
/// exponent, so that it stays a float. `value` must be finite.
void append_json_number(std::string& out, double value);

}  // namespace agentsight::core
