#pragma once

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace agentsight::core {

/// Code points of UTF-8 text; none where it is not UTF-8 (RFC 3629: no surrogates, no
/// overlong forms, nothing over U+10FFFF).
std::optional<std::size_t> count_code_points(std::string_view text);

/// `text` without leading and trailing white space, as Python's str.strip() does
/// (its set of Unicode white space), which is how the server trims. UTF-8 in, a view out.
std::string_view strip(std::string_view text);

/// One after the other. Smaller than a chain of `+`, of which each makes a string of its own.
std::string joined(std::initializer_list<std::string_view> parts);

/// A foreign text made fit for a message: at most `max_bytes`, control characters,
/// bidirectional controls and bytes that are not UTF-8 replaced, on one line.
std::string printable(std::string_view text, std::size_t max_bytes = 300);

/// Puts '*' over every occurrence of `secret`. A secret of less than 6 bytes is left: its
/// place would be found in ordinary words.
void blot_out(std::string& text, std::string_view secret);

/// UTC ISO 8601 with milliseconds and Z; "1970-01-01T00:00:00.000Z" for 0.
std::string iso8601(std::int64_t utc_ms);

/// An ISO 8601 / RFC 3339 time, with or without fraction, with Z or an offset; none else.
std::optional<std::int64_t> parse_iso8601(std::string_view text);

}  // namespace agentsight::core
