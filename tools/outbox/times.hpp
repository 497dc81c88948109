#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "agentsight/status.hpp"

namespace agentsight::tool {

/// UTC ISO 8601 with milliseconds: "2026-08-17T18:52:44.956Z".
std::string iso8601(UtcMilliseconds time);

/// The wall clock now.
UtcMilliseconds utc_now();

/// How long ago, in the largest unit that reads well: "3 h ago".
std::string ago(UtcMilliseconds time, UtcMilliseconds now);

/// An integer and ms, s, m, h or d. Throws UsageError naming `flag`, also where the value
/// lies outside the bounds.
std::chrono::milliseconds parse_duration(std::string_view flag, std::string_view text,
                                         std::chrono::milliseconds least,
                                         std::chrono::milliseconds most);

/// A duration as parse_duration reads it, in the largest unit that is exact.
std::string duration_text(std::chrono::milliseconds duration);

/// An ISO 8601 time with Z or an offset, or a UTC date; none where it is neither.
std::optional<UtcMilliseconds> time_from(std::string_view text);

/// A UTC date ("2026-08-17"), an ISO 8601 time with Z or an offset, or a duration, which
/// means that long ago. Throws UsageError naming `flag`.
UtcMilliseconds parse_time(std::string_view flag, std::string_view text);

}  // namespace agentsight::tool
