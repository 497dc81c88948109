#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace agentsight::core {

/// Four decimal numbers, no leading zeros: what no resolver reads differently.
std::optional<std::array<std::uint8_t, 4>> parse_ipv4(std::string_view text);

/// RFC 4291, section 2.2, without a zone; no brackets.
std::optional<std::array<std::uint8_t, 16>> parse_ipv6(std::string_view text);

}  // namespace agentsight::core
