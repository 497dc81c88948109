#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/random.hpp"
#include "core/time.hpp"

namespace agentsight::core {

/// 128 bits, compared as bytes, so that UUIDv7 (RFC 9562, section 5.7) sorts in time.
struct Uuid {
    std::array<std::uint8_t, 16> bytes{};

    auto operator<=>(const Uuid&) const = default;

    /// The canonical form only: 36 characters, either case, any version; none otherwise.
    static std::optional<Uuid> parse(std::string_view text);

    /// 36 characters, lower case.
    std::string text() const;
    static constexpr std::size_t text_size = 36;
    void append_text(std::string& out) const;
};

/// A UUIDv7 of `now` that is greater than `last`: where the clock stood still or went
/// back, `last` plus a random step. Never fails, never goes back.
Uuid next_uuid_v7(const Uuid& last, UtcMs now, Random& random);

}  // namespace agentsight::core
