#pragma once

#include <cstdint>
#include <optional>

#include "core/time.hpp"

namespace agentsight::core {

/// A time of the proleptic Gregorian calendar, in UTC.
struct CivilTime {
    int year = 1970;
    int month = 1;
    int day = 1;
    int hour = 0;
    int minute = 0;
    int second = 0;  ///< 60 is taken as the second after 59
    int millisecond = 0;
};

/// Clamped to the years 0000 to 9999, beyond which no four digits can say the year.
CivilTime civil_time(UtcMs utc_ms);

/// None where a part is out of its range (30 February, 24:00, ...), or the year is not
/// 0 to 9999.
std::optional<UtcMs> utc_ms(const CivilTime& time);

}  // namespace agentsight::core
