#include "times.hpp"

#include <array>
#include <charconv>
#include <cstdio>
#include <limits>

#include "exit_code.hpp"
#include "text.hpp"

namespace agentsight::tool {
namespace {

using std::chrono::milliseconds;

struct Unit {
    std::string_view name;
    std::int64_t ms;
};

// "ms" stands before "m" and "s": the first name that fits the whole rest wins.
constexpr std::array<Unit, 5> units{
    {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};

std::optional<std::int64_t> duration_ms(std::string_view text) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || number < 0 || text.front() == '-') {
        return std::nullopt;
    }
    const std::string_view name(end, static_cast<std::size_t>(text.data() + text.size() - end));
    for (const Unit& unit : units) {
        if (unit.name == name && number <= std::numeric_limits<std::int64_t>::max() / unit.ms) {
            return number * unit.ms;
        }
    }
    return std::nullopt;
}

/// Reads what it expects from the front of a text; once wrong, always wrong.
class Reader {
  public:
    explicit Reader(std::string_view text) : rest_(text) {}

    int digits(std::size_t count) {
        int value = 0;
        for (std::size_t i = 0; i < count; ++i) {
            if (i >= rest_.size() || rest_[i] < '0' || rest_[i] > '9') {
                good_ = false;
                return 0;
            }
            value = value * 10 + (rest_[i] - '0');
        }
        rest_.remove_prefix(count);
        return value;
    }

    bool take(std::string_view any_of) {
        if (rest_.empty() || any_of.find(rest_.front()) == std::string_view::npos) {
            return false;
        }
        taken_ = rest_.front();
        rest_.remove_prefix(1);
        return true;
    }

    void expect(std::string_view any_of) { good_ = take(any_of) && good_; }

    /// Milliseconds of a fraction of any length; further digits are cut off.
    int fraction() {
        int value = 0;
        std::size_t count = 0;
        while (take("0123456789")) {
            if (count < 3) {
                value = value * 10 + (taken_ - '0');
            }
            ++count;
        }
        good_ = good_ && count > 0;
        for (; count < 3; ++count) {
            value *= 10;
        }
        return value;
    }

    char taken() const { return taken_; }
    bool at_end() const { return rest_.empty(); }
    bool good() const { return good_; }

  private:
    std::string_view rest_;
    bool good_ = true;
    char taken_ = '\0';
};

std::optional<std::int64_t> iso8601_ms(std::string_view text) {
    Reader reader(text);
    const int year = reader.digits(4);
    reader.expect("-");
    const int month = reader.digits(2);
    reader.expect("-");
    const int day = reader.digits(2);
    const std::chrono::year_month_day date{std::chrono::year{year},
                                           std::chrono::month{static_cast<unsigned>(month)},
                                           std::chrono::day{static_cast<unsigned>(day)}};
    if (!reader.good() || !date.ok()) {
        return std::nullopt;
    }
    const std::int64_t midnight =
        milliseconds(std::chrono::sys_days(date).time_since_epoch()).count();
    if (reader.at_end()) {
        return midnight;
    }
    reader.expect("Tt ");
    const int hour = reader.digits(2);
    reader.expect(":");
    const int minute = reader.digits(2);
    reader.expect(":");
    const int second = reader.digits(2);
    const int fraction = reader.take(".") ? reader.fraction() : 0;
    int offset_minutes = 0;
    reader.expect("Zz+-");
    if (reader.taken() == '+' || reader.taken() == '-') {
        const int sign = reader.taken() == '+' ? 1 : -1;
        const int hours = reader.digits(2);
        reader.take(":");
        const int minutes = reader.digits(2);
        if (hours > 23 || minutes > 59) {
            return std::nullopt;
        }
        offset_minutes = sign * (hours * 60 + minutes);
    }
    if (!reader.good() || !reader.at_end() || hour > 23 || minute > 59 || second > 60) {
        return std::nullopt;
    }
    return midnight + ((hour * 60 + minute - offset_minutes) * 60LL + second) * 1000 + fraction;
}

}  // namespace

std::string iso8601(UtcMilliseconds time) {
    // Years outside 0000 ... 9999 have no such form; no honest clock shows them.
    constexpr std::int64_t first = -62'167'219'200'000;
    constexpr std::int64_t last = 253'402'300'799'999;
    const milliseconds since_epoch(time < first ? first : time > last ? last : time);
    const auto day = std::chrono::floor<std::chrono::days>(since_epoch);
    const std::chrono::year_month_day date{std::chrono::sys_days(day)};
    const std::chrono::hh_mm_ss clock(since_epoch - day);
    std::array<char, 80> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
                  static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                  static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
                  static_cast<int>(clock.minutes().count()),
                  static_cast<int>(clock.seconds().count()),
                  static_cast<int>(clock.subseconds().count()));
    return buffer.data();
}

UtcMilliseconds utc_now() {
    return std::chrono::duration_cast<milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

std::string ago(UtcMilliseconds time, UtcMilliseconds now) {
    const std::int64_t seconds = (now - time) / 1000;
    if (seconds < 0) {
        return "in the future: a clock was wrong";
    }
    if (seconds < 120) {
        return std::to_string(seconds) + " s ago";
    }
    if (seconds < 2 * 3600) {
        return std::to_string(seconds / 60) + " min ago";
    }
    if (seconds < 2 * 86400) {
        return std::to_string(seconds / 3600) + " h ago";
    }
    return std::to_string(seconds / 86400) + " days ago";
}

milliseconds parse_duration(std::string_view flag, std::string_view text, milliseconds least,
                            milliseconds most) {
    const std::optional<std::int64_t> value = text.empty() ? std::nullopt : duration_ms(text);
    if (!value) {
        throw UsageError(std::string(flag) + ": '" + shortened(text, 40) +
                         "' is not a duration; write an integer and ms, s, m, h or d, as in 30s");
    }
    if (*value < least.count() || *value > most.count()) {
        throw UsageError(std::string(flag) + ": must lie between " + duration_text(least) +
                         " and " + duration_text(most));
    }
    return milliseconds(*value);
}

std::string duration_text(milliseconds duration) {
    std::string text = std::to_string(duration.count()) + "ms";
    for (const Unit& unit : units) {
        if (duration.count() != 0 && duration.count() % unit.ms == 0) {
            text = std::to_string(duration.count() / unit.ms) + std::string(unit.name);
        }
    }
    return text;
}

std::optional<UtcMilliseconds> time_from(std::string_view text) {
    return iso8601_ms(text);
}

UtcMilliseconds parse_time(std::string_view flag, std::string_view text) {
    if (const auto time = iso8601_ms(text)) {
        return *time;
    }
    if (const auto duration = text.empty() ? std::nullopt : duration_ms(text)) {
        return utc_now() - *duration;
    }
    throw UsageError(std::string(flag) + ": '" + shortened(text, 40) +
                     "' is not a time; write one as 2026-08-17T18:52:44Z, 2026-08-17, or 2h "
                     "(that long ago)");
}

}  // namespace agentsight::tool
