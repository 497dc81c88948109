#include <doctest/doctest.h>

#include <limits>
#include <string>

#include "core/civil_time.hpp"
#include "core/http_date.hpp"
#include "core/text.hpp"
#include "fuzz.hpp"
#include "support/test_random.hpp"

using namespace agentsight::core;
using namespace agentsight::test;

namespace {

constexpr UtcMs day_ms = 86'400'000;
constexpr UtcMs rfc_example = 784'111'777'000;  // 1994-11-06T08:49:37Z
constexpr UtcMs now_2024 = 1'705'315'200'000;   // 2024-01-15T10:40:00Z
constexpr std::int64_t endless = std::numeric_limits<std::int64_t>::max();

int days_in_month(int year, int month) {
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    constexpr int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && leap ? 29 : days[month - 1];
}

}  // namespace

TEST_CASE("the calendar agrees with counting, day by day, for ten thousand years") {
    UtcMs at = -62'167'219'200'000;  // 0000-01-01, as Python's and GNU's date say
    for (int year = 0; year <= 9999; ++year) {
        for (int month = 1; month <= 12; ++month) {
            for (int day = 1; day <= days_in_month(year, month); ++day) {
                const CivilTime civil = civil_time(at + day_ms - 1);
                if (civil.year != year || civil.month != month || civil.day != day ||
                    utc_ms({year, month, day}) != at) {
                    FAIL(year, "-", month, "-", day);
                }
                at += day_ms;
            }
            CHECK_FALSE(utc_ms({year, month, days_in_month(year, month) + 1}));
        }
    }
    CHECK(at == 253'402'300'800'000);
}

TEST_CASE("a time is written as UTC ISO 8601 with milliseconds") {
    CHECK(iso8601(0) == "1970-01-01T00:00:00.000Z");
    CHECK(iso8601(-1) == "1969-12-31T23:59:59.999Z");
    CHECK(iso8601(rfc_example + 7) == "1994-11-06T08:49:37.007Z");
    CHECK(iso8601(951'782'400'000) == "2000-02-29T00:00:00.000Z");
    CHECK(iso8601(4'102'444'800'000) == "2100-01-01T00:00:00.000Z");
    // A clock may say anything; four digits cannot.
    CHECK(iso8601(endless) == "9999-12-31T23:59:59.999Z");
    CHECK(iso8601(std::numeric_limits<std::int64_t>::min()) == "0000-01-01T00:00:00.000Z");
}

TEST_CASE("ISO 8601 times are read with and without fraction, with Z or an offset") {
    CHECK(parse_iso8601("2024-01-15T10:40:00Z") == now_2024);
    CHECK(parse_iso8601("2024-01-15t10:40:00z") == now_2024);
    CHECK(parse_iso8601("2024-01-15 10:40:00+00:00") == now_2024);
    CHECK(parse_iso8601("2024-01-15T12:40:00+02:00") == now_2024);
    CHECK(parse_iso8601("2024-01-15T12:40:00+0200") == now_2024);
    CHECK(parse_iso8601("2024-01-15T12:40:00+02") == now_2024);
    CHECK(parse_iso8601("2024-01-15T05:10:00-05:30") == now_2024);
    CHECK(parse_iso8601("2024-01-15T10:40:00.5Z") == now_2024 + 500);
    CHECK(parse_iso8601("2024-01-15T10:40:00,25Z") == now_2024 + 250);
    CHECK(parse_iso8601("2024-01-15T10:40:00.956984Z") == now_2024 + 956);
    CHECK(parse_iso8601("2024-01-15T10:40:00.999999999999Z") == now_2024 + 999);
    CHECK(parse_iso8601("2016-12-31T23:59:60Z") == parse_iso8601("2017-01-01T00:00:00Z"));
    CHECK(parse_iso8601("1969-12-31T23:59:59.999Z") == -1);
}

TEST_CASE("what is not an ISO 8601 time is refused") {
    for (const char* const bad : {"",
                                  "2024",
                                  "2024-01-15",
                                  "2024-01-15T10:40Z",
                                  "2024-01-15T10:40:00",
                                  "2024-01-15T10:40:00.Z",
                                  "2024-13-15T10:40:00Z",
                                  "2024-00-15T10:40:00Z",
                                  "2023-02-29T10:40:00Z",
                                  "2024-01-32T10:40:00Z",
                                  "2024-01-15T24:00:00Z",
                                  "2024-01-15T10:60:00Z",
                                  "2024-01-15T10:40:61Z",
                                  "2024-01-15T10:40:00Zz",
                                  "2024-01-15T10:40:00Z ",
                                  " 2024-01-15T10:40:00Z",
                                  "2024-1-15T10:40:00Z",
                                  "2024-01-15T10:40:00+24:00",
                                  "2024-01-15T10:40:00+02:60",
                                  "2024-01-15T10:40:00+2",
                                  "2024-01-15T10:40:00+02:",
                                  "+024-01-15T10:40:00Z",
                                  "-2024-01-15T10:40:00Z",
                                  "2024-01-15T1 :40:00Z",
                                  "20240115T104000Z",
                                  "2024-01-15T10:40:00-",
                                  "now"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_iso8601(bad));
    }
}

TEST_CASE("times survive being written and read") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        const UtcMs time =
            -62'167'219'200'000 +
            static_cast<UtcMs>(random.below(62'167'219'200'000 + 253'402'300'800'000));
        REQUIRE(parse_iso8601(iso8601(time)) == time);
    }
}

TEST_CASE("the three forms of an HTTP date name the same second") {
    CHECK(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT", now_2024) == rfc_example);
    CHECK(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", now_2024) == rfc_example);
    CHECK(parse_http_date("Sun Nov  6 08:49:37 1994", now_2024) == rfc_example);
    CHECK(parse_http_date(" \tSun, 06 Nov 1994 08:49:37 GMT ", now_2024) == rfc_example);
    CHECK(parse_http_date("Wed Nov 16 08:49:37 1994", now_2024) == rfc_example + 10 * day_ms);
}

TEST_CASE("a year of two digits is at most 50 years ahead") {
    const auto year_of = [](const char* text, UtcMs now) {
        const auto time = parse_http_date(text, now);
        return time ? civil_time(*time).year : -1;
    };
    const UtcMs new_year_2099 = *parse_iso8601("2099-01-01T00:00:00Z");
    CHECK(year_of("Friday, 01-Jan-74 00:00:00 GMT", now_2024) == 2074);
    CHECK(year_of("Friday, 31-Dec-74 00:00:00 GMT", now_2024) == 1974);
    CHECK(year_of("Friday, 15-Jan-74 10:40:00 GMT", now_2024) == 2074);
    CHECK(year_of("Friday, 15-Jan-74 10:40:01 GMT", now_2024) == 1974);
    CHECK(year_of("Friday, 01-Jan-75 00:00:00 GMT", now_2024) == 1975);
    CHECK(year_of("Friday, 01-Jan-24 00:00:00 GMT", now_2024) == 2024);
    CHECK(year_of("Friday, 01-Jan-01 00:00:00 GMT", new_year_2099) == 2101);
    CHECK(year_of("Friday, 01-Jan-99 00:00:00 GMT", 0) == 1999);
    CHECK(year_of("Friday, 01-Jan-24 00:00:00 GMT", endless) == -1);  // 10024
    // At a clock of 1970, 2024 is more than 50 years ahead; the four-digit forms are not fooled.
    CHECK(year_of("Friday, 01-Jan-24 00:00:00 GMT", 0) == 1924);
    CHECK(year_of("Mon, 01 Jan 2024 00:00:00 GMT", 0) == 2024);
}

TEST_CASE("what is not an HTTP date is refused") {
    for (const char* const bad : {"",
                                  "0",
                                  "tomorrow",
                                  "Sun, 6 Nov 1994 08:49:37 GMT",
                                  "Sun, 06 Nov 1994 08:49:37",
                                  "Sun, 06 Nov 1994 08:49:37 UTC",
                                  "Sun, 06 Nov 1994 08:49:37 +0000",
                                  "sun, 06 nov 1994 08:49:37 gmt",
                                  "Sun, 31 Nov 1994 08:49:37 GMT",
                                  "Sun, 06 Nov 1994 24:49:37 GMT",
                                  "Sun, 06 Nov 1994 08:60:37 GMT",
                                  "Sun, 00 Nov 1994 08:49:37 GMT",
                                  "Sun, 06 Foo 1994 08:49:37 GMT",
                                  "Xyz, 06 Nov 1994 08:49:37 GMT",
                                  "Sun,06 Nov 1994 08:49:37 GMT",
                                  "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
                                  "Sun, 06 Nov -994 08:49:37 GMT",
                                  "Sun, 06-Nov-94 08:49:37 GMT",
                                  "Sunday, 06 Nov 1994 08:49:37 GMT",
                                  "Sunday, 29-Feb-23 08:49:37 GMT",
                                  "Sun Nov 6 08:49:37 1994",
                                  "Sun Nov  6 08:49:37 94",
                                  "Sun Nov  6 08:49:37 1994 GMT",
                                  "Sunday Nov  6 08:49:37 1994"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_http_date(bad, now_2024));
    }
}

TEST_CASE("H16: Retry-After is seconds or a date relative to the answer's own") {
    constexpr std::int64_t cap = 3'600'000;
    const auto wait = [](std::string_view text, std::optional<UtcMs> date, UtcMs now) {
        return parse_retry_after(text, date, now, cap);
    };
    CHECK(wait("30", {}, now_2024) == 30'000);
    CHECK(wait(" 30\t", {}, now_2024) == 30'000);
    CHECK(wait("0", {}, now_2024) == 0);
    CHECK(wait("3600", {}, now_2024) == cap);
    CHECK(wait("3601", {}, now_2024) == cap);
    CHECK(wait("1000000000000", {}, now_2024) == cap);
    CHECK(wait(std::string(500, '9'), {}, now_2024) == cap);
    CHECK(wait("9223372036854775807", {}, now_2024) == cap);
    CHECK(wait("9223372036854775808", {}, now_2024) == cap);
    CHECK(wait("-5", {}, now_2024) == 0);

    // A device whose clock says 1970 waits as long as one whose clock is right.
    for (const char* const date : {"Sun, 06 Nov 1994 08:49:47 GMT",
                                   "Sunday, 06-Nov-94 08:49:47 GMT", "Sun Nov  6 08:49:47 1994"}) {
        CAPTURE(date);
        CHECK(wait(date, rfc_example, 0) == 10'000);
        CHECK(wait(date, rfc_example, now_2024) == 10'000);
        CHECK(wait(date, {}, rfc_example - 5'000) == 15'000);
        CHECK(wait(date, rfc_example + day_ms, now_2024) == 0);
        CHECK(wait(date, rfc_example - day_ms, now_2024) == cap);
        CHECK(wait(date, endless, now_2024) == 0);
        CHECK(wait(date, -endless - 1, now_2024) == cap);
    }
    for (const char* const garbage : {"", " ", "soon", "30s", "1e12", "0.5", "+5", "--5", "-",
                                      "30, 30", "0x10", "\xd9\xa3", "Sun, 06 Nov 1994"}) {
        CAPTURE(garbage);
        CHECK_FALSE(wait(garbage, rfc_example, now_2024));
    }
    CHECK(parse_retry_after("30", {}, now_2024, 0) == 0);
    CHECK(parse_retry_after("30", {}, now_2024, -1) == 0);
    CHECK(parse_retry_after("30", {}, now_2024, endless) == 30'000);
}

TEST_CASE("no bytes at all upset the readers of times") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        const char* const seeds[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                     "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
                                     "2024-01-15T10:40:00.956984+02:00", "120"};
        const std::string text = random.one_in(3)
                                     ? random_text(random, "0123456789-:TZ+. SunNovGMT,", 40)
                                     : mutated(random, seeds[random.below(5)]);
        const auto now = static_cast<UtcMs>(random.next());
        const auto date = parse_http_date(text, now);
        if (const auto wait = parse_retry_after(text, now, now, 1'000)) {
            REQUIRE(*wait >= 0);
            REQUIRE(*wait <= 1'000);
        } else {
            REQUIRE_FALSE(date);
        }
        if (const auto time = parse_iso8601(text); time && *time >= -62'167'219'200'000) {
            REQUIRE(parse_iso8601(iso8601(*time)) == time);
        }
    }
}
