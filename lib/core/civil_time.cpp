#include "core/civil_time.hpp"

#include <algorithm>
#include <chrono>

namespace agentsight::core {

namespace {

using std::chrono::days;
using std::chrono::milliseconds;
using std::chrono::sys_days;
using std::chrono::sys_time;
using std::chrono::year_month_day;

constexpr year_month_day date(int year, int month, int day) {
    return {std::chrono::year{year}, std::chrono::month{static_cast<unsigned>(month)},
            std::chrono::day{static_cast<unsigned>(day)}};
}

constexpr UtcMs milliseconds_of(sys_days day) {
    return std::chrono::duration_cast<milliseconds>(day.time_since_epoch()).count();
}

constexpr UtcMs first_ms = milliseconds_of(sys_days{date(0, 1, 1)});
constexpr UtcMs last_ms = milliseconds_of(sys_days{date(10000, 1, 1)}) - 1;

}  // namespace

CivilTime civil_time(UtcMs utc_ms) {
    const sys_time<milliseconds> time{milliseconds{std::clamp(utc_ms, first_ms, last_ms)}};
    const sys_days day = std::chrono::floor<days>(time);
    const year_month_day calendar{day};
    const auto in_day = static_cast<int>((time - day).count());
    CivilTime civil;
    civil.year = static_cast<int>(calendar.year());
    civil.month = static_cast<int>(static_cast<unsigned>(calendar.month()));
    civil.day = static_cast<int>(static_cast<unsigned>(calendar.day()));
    civil.hour = in_day / 3'600'000;
    civil.minute = in_day / 60'000 % 60;
    civil.second = in_day / 1'000 % 60;
    civil.millisecond = in_day % 1'000;
    return civil;
}

std::optional<UtcMs> utc_ms(const CivilTime& time) {
    const auto within = [](int value, int low, int high) { return value >= low && value <= high; };
    if (!within(time.year, 0, 9999) || !within(time.month, 1, 12) || !within(time.day, 1, 31) ||
        !within(time.hour, 0, 23) || !within(time.minute, 0, 59) || !within(time.second, 0, 60) ||
        !within(time.millisecond, 0, 999)) {
        return std::nullopt;
    }
    const year_month_day day = date(time.year, time.month, time.day);
    if (!day.ok()) {
        return std::nullopt;
    }
    const UtcMs seconds = (time.hour * 60 + time.minute) * 60 + time.second;
    return milliseconds_of(sys_days{day}) + seconds * 1'000 + time.millisecond;
}

}  // namespace agentsight::core
