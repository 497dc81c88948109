#include "text.hpp"

#include <array>
#include <cstdint>
#include <cstdio>

namespace agentsight::tool {
namespace {

constexpr char32_t not_utf8 = 0xFFFFFFFF;

struct CodePoint {
    char32_t value;
    std::size_t size;  ///< bytes it takes; 1 where the byte is not UTF-8
};

/// The code point at `at`; a byte that starts none is `not_utf8`. Overlong forms,
/// surrogates and what lies over U+10FFFF are not UTF-8 (RFC 3629).
CodePoint decode(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(at);
    if (first < 0x80) {
        return {first, 1};
    }
    const std::size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || at + size > text.size()) {
        return {not_utf8, 1};
    }
    char32_t value = first & (0x7F >> size);
    for (std::size_t i = 1; i < size; ++i) {
        if ((byte(at + i) & 0xC0) != 0x80) {
            return {not_utf8, 1};
        }
        value = (value << 6) | (byte(at + i) & 0x3F);
    }
    constexpr std::array<char32_t, 5> smallest{0, 0, 0x80, 0x800, 0x10000};
    if (value < smallest[size] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
        return {not_utf8, 1};
    }
    return {value, size};
}

/// What a terminal, or a reader's eye, could take for something else than text.
bool is_active(char32_t value) {
    return value < 0x20 || (value >= 0x7F && value <= 0x9F) || value == 0x061C || value == 0x200B ||
           value == 0x200E || value == 0x200F || (value >= 0x2028 && value <= 0x202E) ||
           (value >= 0x2060 && value <= 0x206F) || value == 0xFEFF ||
           (value >= 0xFFF9 && value <= 0xFFFB) || (value >= 0xE0000 && value <= 0xE007F);
}

std::string hex(const char* format, unsigned value) {
    std::array<char, 16> buffer{};
    std::snprintf(buffer.data(), buffer.size(), format, value);
    return buffer.data();
}

std::string escape(char32_t value) {
    switch (value) {
        case '\n':
            return "\\n";
        case '\r':
            return "\\r";
        case '\t':
            return "\\t";
        default:
            break;
    }
    const auto number = static_cast<unsigned>(value);
    return value <= 0x7F ? hex("\\x%02x", number) : hex("\\u%04x", number);
}

std::string json_escape(char32_t value) {
    if (value <= 0xFFFF) {
        return hex("\\u%04x", static_cast<unsigned>(value));
    }
    const auto rest = static_cast<unsigned>(value - 0x10000);
    return hex("\\u%04x", 0xD800 + (rest >> 10)) + hex("\\u%04x", 0xDC00 + (rest & 0x3FF));
}

}  // namespace

std::string inert(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint point = decode(text, at);
        if (point.value == not_utf8) {
            result += hex("\\x%02x", static_cast<unsigned char>(text[at]));
        } else if (is_active(point.value)) {
            result += escape(point.value);
        } else {
            result += text.substr(at, point.size);
        }
        at += point.size;
    }
    return result;
}

std::string inert_json(std::string json) {
    std::string result;
    result.reserve(json.size());
    for (std::size_t at = 0; at < json.size();) {
        const CodePoint point = decode(json, at);
        // Below 0x20 stands only the layout: JSON has escaped those in strings.
        if (point.value != not_utf8 && point.value >= 0x7F && is_active(point.value)) {
            result += json_escape(point.value);
        } else {
            result.append(json, at, point.size);
        }
        at += point.size;
    }
    return result;
}

std::string status_and_words(std::optional<int> status, std::string_view words) {
    if (!status) {
        return std::string(words);
    }
    std::string text = std::to_string(*status);
    // What is said of an answer without words begins with its status.
    const std::string said = "status " + text;
    const bool says_it = words == said || words.starts_with(said + " ");
    if (says_it) {
        words.remove_prefix(said.size());
        return text + std::string(words);
    }
    text += words.empty() ? "" : " ";
    return text + std::string(words);
}

std::string shortened(std::string_view text, std::size_t columns) {
    std::size_t at = 0;
    std::size_t points = 0;
    std::size_t cut = 0;  // where the text ends if an ellipsis must follow
    while (at < text.size()) {
        if (points == columns) {
            return std::string(text.substr(0, cut)) + "…";
        }
        at += decode(text, at).size;
        ++points;
        if (points + 1 == columns) {
            cut = at;
        }
    }
    return std::string(text);
}

std::string padded(std::string_view text, std::size_t columns) {
    std::size_t points = 0;
    for (std::size_t at = 0; at < text.size(); at += decode(text, at).size) {
        ++points;
    }
    std::string result(text);
    if (points < columns) {
        result.append(columns - points, ' ');
    }
    return result;
}

std::string counted(std::size_t number, std::string_view noun) {
    std::string result = std::to_string(number) + " " + std::string(noun);
    if (number != 1) {
        result += 's';
    }
    return result;
}

std::string human_bytes(std::size_t bytes) {
    constexpr std::array<const char*, 5> units{"B", "kB", "MB", "GB", "TB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1000 && unit + 1 < units.size()) {
        value /= 1000;
        ++unit;
    }
    std::array<char, 32> buffer{};
    std::snprintf(buffer.data(), buffer.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value,
                  units[unit]);
    return buffer.data();
}

}  // namespace agentsight::tool
