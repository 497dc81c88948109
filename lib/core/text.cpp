#include "core/text.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "core/civil_time.hpp"
#include "core/utf8.hpp"

namespace agentsight::core {

namespace {

/// What str.isspace() of Python says: bidirectional type WS, B or S, or category Zs.
bool is_white_space(char32_t c) {
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

/// Characters that steer a terminal, or reorder what stands around them.
bool is_control(char32_t c) {
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x061c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff9 && c <= 0xfffb);
}

std::string_view strip_front(std::string_view text) {
    while (!text.empty()) {
        const Decoded first = decode_utf8(text);
        if (!first.valid() || !is_white_space(first.code_point)) {
            break;
        }
        text.remove_prefix(first.length);
    }
    return text;
}

/// Where the last character begins; a byte that belongs to none stands for itself.
std::size_t last_character(std::string_view text) {
    std::size_t at = text.size() - 1;
    const std::size_t lowest = text.size() > 4 ? text.size() - 4 : 0;
    while (at > lowest && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) {
        --at;
    }
    return at;
}

std::string_view strip_back(std::string_view text) {
    while (!text.empty()) {
        const std::size_t at = last_character(text);
        const Decoded last = decode_utf8(text.substr(at));
        if (!last.valid() || at + last.length != text.size() || !is_white_space(last.code_point)) {
            break;
        }
        text = text.substr(0, at);
    }
    return text;
}

/// Reads fixed-width numbers and separators from the front of a text.
class Scanner {
  public:
    explicit Scanner(std::string_view text) : rest_(text) {}

    bool done() const { return ok_ && rest_.empty(); }
    bool ok() const { return ok_; }

    int number(std::size_t digits) {
        int value = 0;
        for (std::size_t i = 0; i < digits; ++i) {
            value = value * 10 + digit();
        }
        return value;
    }

    bool skip(std::string_view any_of) {
        if (rest_.empty() || any_of.find(rest_.front()) == std::string_view::npos) {
            return false;
        }
        rest_.remove_prefix(1);
        return true;
    }

    void expect(std::string_view any_of) { ok_ = skip(any_of) && ok_; }

    bool at_digit() const { return !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9'; }

    /// The digits of a fraction, cut to milliseconds.
    int milliseconds() {
        int value = 0;
        int weight = 100;
        do {
            value += digit() * weight;
            weight /= 10;
        } while (at_digit());
        return value;
    }

    /// Z, or hours and minutes east of Greenwich; in minutes.
    int offset() {
        if (skip("Zz")) {
            return 0;
        }
        const bool west = skip("-");
        if (!west) {
            expect("+");
        }
        const int hours = number(2);
        int minutes = 0;
        if (skip(":") || at_digit()) {
            minutes = number(2);
        }
        ok_ = ok_ && hours < 24 && minutes < 60;
        const int sum = hours * 60 + minutes;
        return west ? -sum : sum;
    }

  private:
    int digit() {
        if (!at_digit()) {
            ok_ = false;
            return 0;
        }
        const int value = rest_.front() - '0';
        rest_.remove_prefix(1);
        return value;
    }

    std::string_view rest_;
    bool ok_ = true;
};

void put_digits(char* at, std::size_t digits, std::int64_t value) {
    for (std::size_t i = digits; i-- > 0;) {
        at[i] = static_cast<char>('0' + value % 10);
        value /= 10;
    }
}

}  // namespace

std::optional<std::size_t> count_code_points(std::string_view text) {
    std::size_t count = 0;
    while (!text.empty()) {
        std::uint64_t eight = 0;
        if (text.size() >= sizeof eight) {
            std::memcpy(&eight, text.data(), sizeof eight);
            if ((eight & 0x8080808080808080U) == 0) {
                count += sizeof eight;
                text.remove_prefix(sizeof eight);
                continue;
            }
        }
        const Decoded next = decode_utf8(text);
        if (!next.valid()) {
            return std::nullopt;
        }
        ++count;
        text.remove_prefix(next.length);
    }
    return count;
}

std::string_view strip(std::string_view text) {
    return strip_back(strip_front(text));
}

std::string joined(std::initializer_list<std::string_view> parts) {
    std::size_t size = 0;
    for (const std::string_view part : parts) {
        size += part.size();
    }
    std::string text;
    text.reserve(size);
    for (const std::string_view part : parts) {
        text.append(part);
    }
    return text;
}

std::string printable(std::string_view text, std::size_t max_bytes) {
    constexpr std::string_view ellipsis = "...";
    std::string out;
    std::size_t room_for_ellipsis = 0;  // Where to cut should the text turn out too long.
    while (!text.empty()) {
        const Decoded next = decode_utf8(text);
        std::string_view piece = text.substr(0, next.length);
        if (!next.valid()) {
            piece = "?";
        } else if (is_white_space(next.code_point)) {
            piece = " ";
        } else if (is_control(next.code_point)) {
            piece = "?";
        }
        if (out.size() + piece.size() > max_bytes) {
            out.resize(room_for_ellipsis);
            out.append(ellipsis.substr(0, max_bytes - room_for_ellipsis));
            return out;
        }
        out.append(piece);
        if (out.size() + ellipsis.size() <= max_bytes) {
            room_for_ellipsis = out.size();
        }
        text.remove_prefix(next.length);
    }
    return out;
}

void blot_out(std::string& text, std::string_view secret) {
    constexpr std::size_t least = 6;
    if (secret.size() < least) {
        return;
    }
    for (auto at = text.find(secret); at != std::string::npos;
         at = text.find(secret, at + secret.size())) {
        text.replace(at, secret.size(), secret.size(), '*');
    }
}

std::string iso8601(std::int64_t utc_ms) {
    const CivilTime time = civil_time(utc_ms);
    std::string text = "0000-00-00T00:00:00.000Z";
    put_digits(&text[0], 4, time.year);
    put_digits(&text[5], 2, time.month);
    put_digits(&text[8], 2, time.day);
    put_digits(&text[11], 2, time.hour);
    put_digits(&text[14], 2, time.minute);
    put_digits(&text[17], 2, time.second);
    put_digits(&text[20], 3, time.millisecond);
    return text;
}

std::optional<std::int64_t> parse_iso8601(std::string_view text) {
    Scanner scan{text};
    CivilTime time;
    time.year = scan.number(4);
    scan.expect("-");
    time.month = scan.number(2);
    scan.expect("-");
    time.day = scan.number(2);
    scan.expect("Tt ");
    time.hour = scan.number(2);
    scan.expect(":");
    time.minute = scan.number(2);
    scan.expect(":");
    time.second = scan.number(2);
    if (scan.ok() && scan.skip(".,")) {
        time.millisecond = scan.milliseconds();
    }
    const int offset_minutes = scan.offset();
    if (!scan.done()) {
        return std::nullopt;
    }
    const std::optional<std::int64_t> local = utc_ms(time);
    if (!local) {
        return std::nullopt;
    }
    return *local - std::int64_t{offset_minutes} * 60'000;
}

}  // namespace agentsight::core
