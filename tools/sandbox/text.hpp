#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sandbox/row.hpp"

/// Text as a Django server treats it. Written apart from the library on purpose, so that
/// an error there does not hide behind the same error here.
namespace sandbox {

/// Code points of UTF-8 text; none where it is not UTF-8.
std::optional<std::size_t> count_code_points(std::string_view text);

/// Without leading and trailing white space, as Python's str.strip().
std::string_view strip(std::string_view text);

bool equal_ignoring_case(std::string_view left, std::string_view right);

/// The value of the first field of that name, whatever its case; empty: none.
std::string_view find_field(const Fields& fields, std::string_view name);
std::size_t count_fields(const Fields& fields, std::string_view name);

/// A query string's names and values, percent-decoded, + as space.
Fields parse_query(std::string_view query);
std::string percent_encode(std::string_view text);

/// 2026-08-17T18:52:44.956984Z, without the fraction where it is 0 or not wanted.
std::string iso8601(std::int64_t utc_us, bool whole_seconds);
/// Microseconds since 1970; a date alone means its midnight; none where it is no such time.
std::optional<std::int64_t> parse_iso8601(std::string_view text);
/// IMF-fixdate.
std::string http_date(std::int64_t utc_s);

}  // namespace sandbox
