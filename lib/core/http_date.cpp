#include "core/http_date.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

#include "core/civil_time.hpp"
#include "core/text.hpp"

namespace agentsight::core {

namespace {

constexpr std::array<std::string_view, 7> day_names = {
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};
constexpr std::array<std::string_view, 12> month_names = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/// Reads a date from left to right. Whatever follows the first failure fails too.
class Reader {
  public:
    explicit Reader(std::string_view text) : rest_(text) {}

    bool done() const { return ok_ && rest_.empty(); }

    bool skip(std::string_view literal) {
        if (rest_.substr(0, literal.size()) != literal) {
            return false;
        }
        rest_.remove_prefix(literal.size());
        return true;
    }
    void expect(std::string_view literal) { ok_ = ok_ && skip(literal); }

    /// The weekday is not compared with the date: a wrong one harms nobody.
    bool skip_day_name(std::size_t length = std::string_view::npos) {
        return std::any_of(day_names.begin(), day_names.end(),
                           [&](std::string_view name) { return skip(name.substr(0, length)); });
    }

    int number(std::size_t digits) {
        int value = 0;
        for (std::size_t i = 0; i < digits; ++i) {
            if (rest_.empty() || rest_.front() < '0' || rest_.front() > '9') {
                ok_ = false;
                return 0;
            }
            value = value * 10 + (rest_.front() - '0');
            rest_.remove_prefix(1);
        }
        return value;
    }

    int month() {
        for (std::size_t i = 0; i < month_names.size(); ++i) {
            if (skip(month_names[i])) {
                return static_cast<int>(i) + 1;
            }
        }
        ok_ = false;
        return 1;
    }

    void time_of_day(CivilTime& time) {
        time.hour = number(2);
        expect(":");
        time.minute = number(2);
        expect(":");
        time.second = number(2);
    }

  private:
    std::string_view rest_;
    bool ok_ = true;
};

/// "Sun, 06 Nov 1994 08:49:37 GMT"
std::optional<UtcMs> parse_imf_fixdate(Reader reader) {
    CivilTime time;
    if (!reader.skip_day_name(3) || !reader.skip(", ")) {
        return std::nullopt;
    }
    time.day = reader.number(2);
    reader.expect(" ");
    time.month = reader.month();
    reader.expect(" ");
    time.year = reader.number(4);
    reader.expect(" ");
    reader.time_of_day(time);
    reader.expect(" GMT");
    return reader.done() ? utc_ms(time) : std::nullopt;
}

/// "Sunday, 06-Nov-94 08:49:37 GMT": the latest year of these two digits that is not more
/// than 50 years after `now`.
std::optional<UtcMs> parse_rfc850(Reader reader, UtcMs now) {
    CivilTime time;
    if (!reader.skip_day_name() || !reader.skip(", ")) {
        return std::nullopt;
    }
    time.day = reader.number(2);
    reader.expect("-");
    time.month = reader.month();
    reader.expect("-");
    const int two_digits = reader.number(2);
    reader.expect(" ");
    reader.time_of_day(time);
    reader.expect(" GMT");
    if (!reader.done()) {
        return std::nullopt;
    }
    const CivilTime today = civil_time(now);
    const int horizon = today.year + 50;
    time.year = horizon - (horizon - two_digits) % 100;
    const auto in_year = [](const CivilTime& t) {
        return (((std::int64_t{t.month} * 32 + t.day) * 24 + t.hour) * 60 + t.minute) * 61 +
               t.second;
    };
    if (time.year == horizon && in_year(time) > in_year(today)) {
        time.year -= 100;
    }
    return utc_ms(time);
}

/// "Sun Nov  6 08:49:37 1994"
std::optional<UtcMs> parse_asctime(Reader reader) {
    CivilTime time;
    if (!reader.skip_day_name(3) || !reader.skip(" ")) {
        return std::nullopt;
    }
    time.month = reader.month();
    reader.expect(" ");
    time.day = reader.skip(" ") ? reader.number(1) : reader.number(2);
    reader.expect(" ");
    reader.time_of_day(time);
    reader.expect(" ");
    time.year = reader.number(4);
    return reader.done() ? utc_ms(time) : std::nullopt;
}

std::string_view trim_blanks(std::string_view text) {
    constexpr std::string_view blanks = " \t";
    const std::size_t begin = text.find_first_not_of(blanks);
    if (begin == std::string_view::npos) {
        return {};
    }
    return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

/// Decimal digits as milliseconds; what is too large counts as endless.
std::optional<std::int64_t> parse_seconds(std::string_view digits) {
    constexpr std::int64_t endless = std::numeric_limits<std::int64_t>::max();
    if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) {
        return std::nullopt;
    }
    std::int64_t seconds = 0;
    for (const char c : digits) {
        if (seconds > endless / 100'000) {
            return endless;
        }
        seconds = seconds * 10 + (c - '0');
    }
    return seconds > endless / 1'000 ? endless : seconds * 1'000;
}

/// A clock may say anything: kept within what a date can say, so that no difference overflows.
UtcMs sane(UtcMs time) {
    constexpr UtcMs ten_thousand_years = 10'000LL * 366 * 86'400'000;
    return std::clamp(time, -ten_thousand_years, ten_thousand_years);
}

}  // namespace

std::optional<UtcMs> parse_http_date(std::string_view text, UtcMs now) {
    const Reader reader{trim_blanks(text)};
    if (const auto time = parse_imf_fixdate(reader)) {
        return time;
    }
    if (const auto time = parse_rfc850(reader, now)) {
        return time;
    }
    return parse_asctime(reader);
}

std::optional<std::int64_t> parse_retry_after(std::string_view text, std::optional<UtcMs> date,
                                              UtcMs now, std::int64_t cap_ms) {
    text = trim_blanks(text);
    std::int64_t wait = 0;
    if (const auto milliseconds = parse_seconds(text)) {
        wait = *milliseconds;
    } else if (text.substr(0, 1) == "-" && parse_seconds(text.substr(1))) {
        wait = 0;  // Servers that count down from a wrong clock say so; it means "now".
    } else if (const auto until = parse_http_date(text, sane(date.value_or(now)))) {
        wait = *until - sane(date.value_or(now));
    } else {
        return std::nullopt;
    }
    return std::clamp<std::int64_t>(wait, 0, std::max<std::int64_t>(cap_ms, 0));
}

}  // namespace agentsight::core
