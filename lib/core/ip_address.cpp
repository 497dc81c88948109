#include "core/ip_address.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>

namespace agentsight::core {

namespace {

/// A whole number of at most `max_digits` digits; none otherwise.
std::optional<std::uint16_t> parse_group(std::string_view text, int base, std::size_t max_digits) {
    std::uint16_t value = 0;
    const char* const end = text.data() + text.size();
    if (text.empty() || text.size() > max_digits) {
        return std::nullopt;
    }
    const auto result = std::from_chars(text.data(), end, value, base);
    if (result.ec != std::errc{} || result.ptr != end) {
        return std::nullopt;
    }
    return value;
}

/// The groups on one side of "::".
struct Side {
    std::array<std::uint8_t, 16> bytes{};
    std::size_t size = 0;

    bool add(std::uint8_t byte) {
        if (size == bytes.size()) {
            return false;
        }
        bytes[size++] = byte;
        return true;
    }

    bool add_ipv4(std::string_view text) {
        const auto four = parse_ipv4(text);
        return four && std::all_of(four->begin(), four->end(),
                                   [this](std::uint8_t byte) { return add(byte); });
    }

    bool add_group(std::string_view text) {
        const auto group = parse_group(text, 16, 4);
        return group && add(static_cast<std::uint8_t>(*group >> 8)) &&
               add(static_cast<std::uint8_t>(*group));
    }

    /// `last`: an IPv4 address may stand at the end.
    bool parse(std::string_view text, bool last) {
        while (!text.empty()) {
            const std::size_t colon = text.find(':');
            const std::string_view group = text.substr(0, colon);
            if (colon == std::string_view::npos) {
                const bool dotted = group.find('.') != std::string_view::npos;
                return last && dotted ? add_ipv4(group) : add_group(group);
            }
            text.remove_prefix(colon + 1);
            if (!add_group(group) || text.empty()) {
                return false;
            }
        }
        return true;
    }
};

}  // namespace

std::optional<std::array<std::uint8_t, 4>> parse_ipv4(std::string_view text) {
    std::array<std::uint8_t, 4> address{};
    for (std::size_t i = 0; i < address.size(); ++i) {
        const bool last = i + 1 == address.size();
        const std::size_t end = last ? text.size() : text.find('.');
        if (end == std::string_view::npos) {
            return std::nullopt;
        }
        const std::string_view part = text.substr(0, end);
        const auto number = parse_group(part, 10, 3);
        if (!number || *number > 255 || (part.size() > 1 && part.front() == '0')) {
            return std::nullopt;
        }
        address[i] = static_cast<std::uint8_t>(*number);
        text.remove_prefix(last ? end : end + 1);
    }
    return address;
}

std::optional<std::array<std::uint8_t, 16>> parse_ipv6(std::string_view text) {
    const std::size_t gap = text.find("::");
    Side front;
    if (gap == std::string_view::npos) {
        return front.parse(text, true) && front.size == front.bytes.size()
                   ? std::optional{front.bytes}
                   : std::nullopt;
    }
    Side back;
    // The gap stands for at least one group.
    if (!front.parse(text.substr(0, gap), false) || !back.parse(text.substr(gap + 2), true) ||
        front.size + back.size > front.bytes.size() - 2) {
        return std::nullopt;
    }
    std::copy_n(back.bytes.begin(), back.size,
                front.bytes.end() - static_cast<std::ptrdiff_t>(back.size));
    return front.bytes;
}

}  // namespace agentsight::core
