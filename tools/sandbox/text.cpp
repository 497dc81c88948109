#include "sandbox/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>

namespace sandbox {
namespace {

struct CodePoint {
    char32_t value = 0;
    std::size_t length = 0;  ///< 0: not UTF-8 here
};

unsigned byte_at(std::string_view text, std::size_t index) {
    return static_cast<unsigned char>(text[index]);
}

CodePoint decode(std::string_view text) {
    const unsigned lead = byte_at(text, 0);
    if (lead < 0x80)
        return {lead, 1};
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || text.size() < length)
        return {};
    char32_t value = lead & (0x7Fu >> length);
    for (std::size_t index = 1; index < length; ++index) {
        if ((byte_at(text, index) & 0xC0u) != 0x80)
            return {};
        value = value << 6 | (byte_at(text, index) & 0x3Fu);
    }
    constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
    if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        return {};
    return {value, length};
}

bool is_space(char32_t c) {
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

std::size_t last_start(std::string_view text) {
    std::size_t index = text.size() - 1;
    while (index > 0 && (byte_at(text, index) & 0xC0u) == 0x80)
        --index;
    return index;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

std::string percent_decode(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t index = 0; index < text.size(); ++index) {
        const bool coded = text[index] == '%' && index + 2 < text.size() &&
                           hex_digit(text[index + 1]) >= 0 && hex_digit(text[index + 2]) >= 0;
        if (coded) {
            out += static_cast<char>(hex_digit(text[index + 1]) * 16 + hex_digit(text[index + 2]));
            index += 2;
        } else {
            out += text[index] == '+' ? ' ' : text[index];
        }
    }
    return out;
}

/// Takes exactly `digits` digits off the front.
bool take_number(std::string_view& text, std::size_t digits, int& value) {
    if (text.size() < digits)
        return false;
    const char* end = text.data() + digits;
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stop != end || text[0] == '-')
        return false;
    text.remove_prefix(digits);
    return true;
}

bool take(std::string_view& text, char c) {
    if (text.empty() || text[0] != c)
        return false;
    text.remove_prefix(1);
    return true;
}

std::int64_t take_fraction_us(std::string_view& text) {
    std::int64_t us = 0;
    std::int64_t unit = 100'000;
    while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
        us += (text[0] - '0') * unit;
        unit /= 10;
        text.remove_prefix(1);
    }
    return us;
}

/// Minutes east of UTC; none where there is neither Z nor an offset.
std::optional<int> take_zone(std::string_view& text) {
    if (text.empty() || take(text, 'Z'))
        return 0;
    const int sign = text[0] == '-' ? -1 : 1;
    if (!take(text, '+') && !take(text, '-'))
        return std::nullopt;
    int hours = 0;
    int minutes = 0;
    if (!take_number(text, 2, hours))
        return std::nullopt;
    take(text, ':');
    if (!take_number(text, 2, minutes))
        return std::nullopt;
    return sign * (hours * 60 + minutes);
}

std::optional<std::int64_t> take_date_days(std::string_view& text) {
    int year = 0;
    int month = 0;
    int day = 0;
    const bool complete = take_number(text, 4, year) && take(text, '-') &&
                          take_number(text, 2, month) && take(text, '-') &&
                          take_number(text, 2, day);
    const std::chrono::year_month_day date{std::chrono::year{year},
                                           std::chrono::month{static_cast<unsigned>(month)},
                                           std::chrono::day{static_cast<unsigned>(day)}};
    if (!complete || !date.ok())
        return std::nullopt;
    return std::chrono::sys_days{date}.time_since_epoch().count();
}

struct Civil {
    std::chrono::year_month_day date;
    std::chrono::weekday weekday;
    int hour, minute, second;
};

Civil civil(std::int64_t utc_s) {
    const std::chrono::sys_seconds time{std::chrono::seconds{utc_s}};
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const auto rest = (time - day).count();
    return {std::chrono::year_month_day{day}, std::chrono::weekday{day},
            static_cast<int>(rest / 3600), static_cast<int>(rest / 60 % 60),
            static_cast<int>(rest % 60)};
}

unsigned month_of(const Civil& at) {
    return static_cast<unsigned>(at.date.month());
}
unsigned day_of(const Civil& at) {
    return static_cast<unsigned>(at.date.day());
}

}  // namespace

std::optional<std::size_t> count_code_points(std::string_view text) {
    std::size_t count = 0;
    while (!text.empty()) {
        const CodePoint point = decode(text);
        if (point.length == 0)
            return std::nullopt;
        text.remove_prefix(point.length);
        ++count;
    }
    return count;
}

std::string_view strip(std::string_view text) {
    while (!text.empty()) {
        const CodePoint first = decode(text);
        if (first.length == 0 || !is_space(first.value))
            break;
        text.remove_prefix(first.length);
    }
    while (!text.empty()) {
        const std::size_t start = last_start(text);
        const CodePoint last = decode(text.substr(start));
        if (last.length == 0 || !is_space(last.value))
            break;
        text.remove_suffix(text.size() - start);
    }
    return text;
}

bool equal_ignoring_case(std::string_view left, std::string_view right) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                      [&](char a, char b) { return lower(a) == lower(b); });
}

std::string_view find_field(const Fields& fields, std::string_view name) {
    for (const auto& [key, value] : fields)
        if (equal_ignoring_case(key, name))
            return value;
    return {};
}

std::size_t count_fields(const Fields& fields, std::string_view name) {
    return static_cast<std::size_t>(std::count_if(fields.begin(), fields.end(), [&](auto& field) {
        return equal_ignoring_case(field.first, name);
    }));
}

std::string RequestRecord::header(std::string_view name) const {
    return std::string{find_field(headers, name)};
}

Fields parse_query(std::string_view query) {
    Fields out;
    while (!query.empty()) {
        const std::string_view item = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(query.size(), item.size() + 1));
        const std::size_t equals = item.find('=');
        const bool valued = equals != std::string_view::npos;
        if (!item.empty())
            out.emplace_back(percent_decode(item.substr(0, equals)),
                             valued ? percent_decode(item.substr(equals + 1)) : std::string{});
    }
    return out;
}

std::string percent_encode(std::string_view text) {
    constexpr std::string_view plain =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        if (plain.find(c) != std::string_view::npos) {
            out += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        out += '%';
        out += digits[byte >> 4];
        out += digits[byte & 15];
    }
    return out;
}

std::string iso8601(std::int64_t utc_us, bool whole_seconds) {
    const auto us = std::chrono::microseconds{utc_us};
    const auto s = std::chrono::floor<std::chrono::seconds>(us);
    const Civil at = civil(s.count());
    const auto fraction = static_cast<int>((us - s).count());
    std::array<char, 64> text{};
    const int length = std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d",
                                     static_cast<int>(at.date.year()), month_of(at), day_of(at),
                                     at.hour, at.minute, at.second);
    std::string out{text.data(), static_cast<std::size_t>(length)};
    if (!whole_seconds && fraction != 0) {
        std::snprintf(text.data(), text.size(), ".%06d", fraction);
        out += text.data();
    }
    return out + "Z";
}

std::optional<std::int64_t> parse_iso8601(std::string_view text) {
    const auto days = take_date_days(text);
    if (!days)
        return std::nullopt;
    std::int64_t us = *days * 86'400'000'000;
    if (text.empty())
        return us;
    int hour = 0;
    int minute = 0;
    int second = 0;
    if ((!take(text, 'T') && !take(text, ' ')) || !take_number(text, 2, hour) || !take(text, ':') ||
        !take_number(text, 2, minute))
        return std::nullopt;
    if (take(text, ':') && !take_number(text, 2, second))
        return std::nullopt;
    if (take(text, '.'))
        us += take_fraction_us(text);
    const auto zone = take_zone(text);
    if (!zone || !text.empty() || hour > 23 || minute > 59 || second > 59)
        return std::nullopt;
    return us + ((hour * 60LL + minute - *zone) * 60 + second) * 1'000'000;
}

std::string http_date(std::int64_t utc_s) {
    constexpr std::array days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const Civil at = civil(utc_s);
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%s, %02u %s %04d %02d:%02d:%02d GMT",
                  days[at.weekday.c_encoding()], day_of(at), months[month_of(at) - 1],
                  static_cast<int>(at.date.year()), at.hour, at.minute, at.second);
    return text.data();
}

}  // namespace sandbox
