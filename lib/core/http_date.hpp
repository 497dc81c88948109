#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/time.hpp"

namespace agentsight::core {

/// IMF-fixdate, RFC 850 and asctime forms (RFC 9110, section 5.6.7); none otherwise.
/// `now` resolves the two-digit year of RFC 850 (more than 50 years ahead means past).
std::optional<UtcMs> parse_http_date(std::string_view text, UtcMs now);

/// Retry-After as a wait in milliseconds: seconds, or a date relative to the response's
/// own `date` (else `now`). Garbage: none. Clamped to [0, cap_ms].
std::optional<std::int64_t> parse_retry_after(std::string_view text, std::optional<UtcMs> date,
                                              UtcMs now, std::int64_t cap_ms);

}  // namespace agentsight::core
