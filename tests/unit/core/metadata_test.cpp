#include "core/metadata.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <clocale>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>

#include "agentsight/detail/metadata.hpp"
#include "agentsight/error.hpp"
#include "core/json_text.hpp"
#include "fuzz.hpp"
#include "support/test_random.hpp"

using namespace agentsight;
using namespace agentsight::core;
using namespace agentsight::test;
using nlohmann::json;

namespace {

const std::error_code ok;
constexpr std::size_t limit = 256 * 1024;

std::error_code check(std::string_view text, std::size_t max_bytes = limit) {
    std::string out;
    return compact_metadata(text, max_bytes, out);
}

/// What is stored of `text`; the reason where it is refused.
std::string stored(std::string_view text) {
    std::string out;
    const std::error_code problem = compact_metadata(text, limit, out);
    return problem ? problem.message() : out;
}

/// The whole way of a value: through the public header, then as text.
std::error_code check_value(const json& value, std::string* out = nullptr) {
    std::string text;
    if (const std::error_code problem = detail::metadata_text(value, text)) {
        return problem;
    }
    std::string compact;
    const std::error_code problem = compact_metadata(text, limit, compact);
    if (out != nullptr) {
        *out = compact;
    }
    return problem;
}

/// An object `levels` deep, of arrays inside.
std::string nested_arrays(std::size_t levels) {
    return "{\"a\":" + std::string(levels - 1, '[') + std::string(levels - 1, ']') + "}";
}

/// An object `levels` deep, of objects.
std::string nested_objects(std::size_t levels) {
    return repeated("{\"a\":", levels - 1) + "{}" + std::string(levels - 1, '}');
}

std::string of_size(std::size_t bytes) {
    return "{\"a\":\"" + std::string(bytes - 8, 'x') + "\"}";
}

json random_value(TestRandom& random, int depth) {
    switch (random.below(depth > 0 ? 9 : 7)) {
        case 0:
            return nullptr;
        case 1:
            return random.one_in(2);
        case 2:
            return random.next();
        case 3:
            return static_cast<std::int64_t>(random.next());
        case 4: {
            const auto number = std::bit_cast<double>(random.next());
            return std::isfinite(number) ? number : -0.0;
        }
        case 5:
            return static_cast<double>(random.below(1'000'000)) / 1'000;
        case 6: {
            std::string text;
            for (std::uint64_t length = random.below(8); length > 0; --length) {
                const auto c = static_cast<char32_t>(random.one_in(2) ? random.below(0x80)
                                                                      : random.below(0x110000));
                text += c >= 0xd800 && c <= 0xdfff ? "?" : utf8(c);
            }
            return text;
        }
        case 7: {
            json array = json::array();
            for (std::uint64_t size = random.below(4); size > 0; --size) {
                array.push_back(random_value(random, depth - 1));
            }
            return array;
        }
        default: {
            json object = json::object();
            for (std::uint64_t size = random.below(4); size > 0; --size) {
                object["k" + std::to_string(random.below(100))] = random_value(random, depth - 1);
            }
            return object;
        }
    }
}

}  // namespace

TEST_CASE("metadata is kept compactly, in the order given") {
    CHECK(stored(" {\n\t\"z\" : [ 1 , true , null , \"x\" ] , \"a\" : { } , \"b\" : [ ] }\r\n") ==
          R"({"z":[1,true,null,"x"],"a":{},"b":[]})");
    CHECK(stored("").empty());
    CHECK(stored("{}").empty());
    CHECK(stored(" { } ").empty());
    CHECK(stored(R"({"":0})") == R"({"":0})");
}

TEST_CASE("metadata as text is a JSON object and nothing else") {
    for (const char* const bad :
         {"[]", "[{}]", "1", "\"x\"", "null", "true", "1.5", "18446744073709551615"}) {
        CAPTURE(bad);
        CHECK(check(bad) == errc::metadata_not_object);
    }
    for (const char* const bad : {" ",
                                  "{",
                                  "}",
                                  "{]",
                                  "{\"a\"}",
                                  "{\"a\":}",
                                  "{\"a\":1,}",
                                  "{,}",
                                  "{a:1}",
                                  "{'a':1}",
                                  "{\"a\":1}x",
                                  "{\"a\":1}{}",
                                  "{} {}",
                                  "{\"a\":01}",
                                  "{\"a\":+1}",
                                  "{\"a\":.5}",
                                  "{\"a\":1.}",
                                  "{\"a\":-}",
                                  "{\"a\":1e}",
                                  "{\"a\":0x10}",
                                  "{\"a\":NaN}",
                                  "{\"a\":Infinity}",
                                  "{\"a\":-Infinity}",
                                  "{\"a\":nan}",
                                  "{\"a\":True}",
                                  "{\"a\":\"x}",
                                  "{\"a\":\"\t\"}",
                                  "{\"a\":\"\\x\"}",
                                  "{\"a\":\"\\u12\"}",
                                  "{\"a\":1 /* no */}",
                                  "{\"a\":1} // no",
                                  "{\"a\" 1}",
                                  "{\"a\":1 \"b\":2}",
                                  "{1:2}",
                                  "undefined"}) {
        CAPTURE(bad);
        CHECK(check(bad) == errc::metadata_not_json);
    }
    CHECK(check(std::string_view{"{}\0", 3}) == errc::metadata_not_json);
    CHECK(check(std::string_view{"{}\0garbage", 10}) == errc::metadata_not_json);
    CHECK(check(std::string_view{"{\"a\":\"\0\"}", 9}) == errc::metadata_not_json);
}

TEST_CASE("metadata is UTF-8 everywhere") {
    CHECK(check("{\"a\":\"\xff\"}") == errc::metadata_not_utf8);
    CHECK(check("{\"a\":\"\xed\xa0\x80\"}") == errc::metadata_not_utf8);
    CHECK(check("{\"a\":\"\xc0\x80\"}") == errc::metadata_not_utf8);
    CHECK(check("{\"\xed\xb0\x80\":1}") == errc::metadata_not_utf8);
    CHECK(check("{\"a\":1}\xff") == errc::metadata_not_utf8);
    CHECK(check("\xff") == errc::metadata_not_utf8);
    CHECK(stored("{\"\xc3\xa9\":\"\xf0\x9f\x98\x80\"}") == "{\"\xc3\xa9\":\"\xf0\x9f\x98\x80\"}");
}

TEST_CASE("escapes become the characters they stand for; only what must be is escaped") {
    CHECK(stored(R"({"a":"\u00e9\ud83d\ude00\/\u0041"})") ==
          "{\"a\":\"\xc3\xa9\xf0\x9f\x98\x80/A\"}");
    CHECK(stored(R"({"a":"\"\\\b\f\n\r\t\u0001\u001F"})") ==
          R"({"a":"\"\\\b\f\n\r\t\u0001\u001f"})");
    // A NUL is legal in a JSON string; only ids and comments forbid it.
    CHECK(stored(R"({"a\u0000":"\u0000"})") == R"({"a\u0000":"\u0000"})");
}

TEST_CASE("an unpaired surrogate escape is refused") {
    for (const char* const bad :
         {R"({"a":"\ud800"})", R"({"a":"\udc00"})", R"({"a":"\ud800x"})", R"({"a":"\ud800\n"})",
          R"({"a":"\ud800\ud800"})", R"({"a":"\ude00\ud83d"})", R"({"\ud800":1})",
          R"({"a":"\uDBFF\uE000"})"}) {
        CAPTURE(bad);
        CHECK(check(bad) == errc::metadata_not_json);
    }
}

TEST_CASE("a member named twice is refused at any depth") {
    CHECK(check(R"({"a":1,"a":1})") == errc::metadata_duplicate_name);
    CHECK(check(R"({"a":1,"b":2,"c":3,"a":4})") == errc::metadata_duplicate_name);
    CHECK(check(R"({"a":1,"\u0061":2})") == errc::metadata_duplicate_name);
    CHECK(check(R"({"":1,"":2})") == errc::metadata_duplicate_name);
    CHECK(check(R"({"x":{"a":1,"a":2}})") == errc::metadata_duplicate_name);
    CHECK(check(R"({"x":[[{"y":{"a":1,"b":{},"a":2}}]]})") == errc::metadata_duplicate_name);
    CHECK(check(R"({"x":{"a":1},"y":2,"x":3})") == errc::metadata_duplicate_name);
    CHECK(check(R"({"a":{"a":{"a":1}},"b":{"a":1},"c":[{"a":1},{"a":1}]})") == ok);
    CHECK(check(R"({"a":"a","A":1,"a ":2})") == ok);
    CHECK(check(R"({"\u0000":1,"\u0000":2})") == errc::metadata_duplicate_name);
}

TEST_CASE("metadata is at most 100 levels deep; the object itself is the first") {
    for (const auto& nested : {nested_arrays, nested_objects}) {
        CHECK(check(nested(99)) == ok);
        CHECK(check(nested(100)) == ok);
        CHECK(check(nested(101)) == errc::metadata_too_deep);
        CHECK(check_value(json::parse(nested(100))) == ok);
        CHECK(check_value(json::parse(nested(101))) == errc::metadata_too_deep);
    }
    // Siblings add no depth.
    CHECK(check("{\"a\":[" + repeated("[],", 1'000) + "[]]}") == ok);
}

TEST_CASE("a hostile depth needs no stack") {
    CHECK(check(nested_arrays(1'000'000)) == errc::metadata_too_deep);
    CHECK(check(nested_objects(1'000'000)) == errc::metadata_too_deep);
    CHECK(check("{\"a\":" + std::string(1'000'000, '[')) == errc::metadata_too_deep);
    CHECK(check(std::string(1'000'000, '[')) == errc::metadata_not_object);
    CHECK(check_value(json::parse(nested_arrays(200'000))) == errc::metadata_too_deep);
}

TEST_CASE("metadata is at most as large as the limit, as compact text") {
    CHECK(check(of_size(limit)) == ok);
    CHECK(check(of_size(limit + 1)) == errc::metadata_too_large);
    CHECK(check(of_size(limit) + std::string(100, ' ')) == ok);
    CHECK(check(R"({"a":1})", 7) == ok);
    CHECK(check(R"({"a":1})", 6) == errc::metadata_too_large);
    CHECK(check(R"({"a":[]})", 8) == ok);
    CHECK(check(R"({"a":[]})", 7) == errc::metadata_too_large);
    CHECK(check(R"({"a":"\u0041"})", 9) == ok);
    CHECK(check("{}", 2) == ok);
    CHECK(check_value({{"a", std::string(limit - 8, 'x')}}) == ok);
    CHECK(check_value({{"a", std::string(limit - 7, 'x')}}) == errc::metadata_too_large);
}

TEST_CASE("integers from -2^63 to 2^64-1 are exact, beyond they are refused, never rounded") {
    for (const std::string_view number :
         {"0", "1", "-1", "9007199254740993", "-9007199254740993", "9223372036854775807",
          "9223372036854775808", "18446744073709551615", "-9223372036854775808"}) {
        CAPTURE(number);
        const std::string text = "{\"n\":" + std::string{number} + "}";
        CHECK(stored(text) == text);
        std::string through_value;
        CHECK(check_value(json::parse(text), &through_value) == ok);
        CHECK(through_value == text);
    }
    for (const std::string& number :
         {std::string{"18446744073709551616"}, std::string{"-9223372036854775809"},
          std::string{"-18446744073709551616"}, std::string{"100000000000000000000"},
          std::string(400, '9'), "-" + std::string(400, '9'), std::string(5'000, '1')}) {
        CAPTURE(number);
        CHECK(check("{\"n\":" + number + "}") == errc::metadata_integer_out_of_range);
        CHECK(check("{\"n\":[1,{\"m\":" + number + "}]}") == errc::metadata_integer_out_of_range);
    }
    CHECK(stored(R"({"n":-0})") == R"({"n":0})");  // An integer has one zero.
}

TEST_CASE("a number that no double holds is out of range") {
    CHECK(check(R"({"n":1e999})") == errc::metadata_integer_out_of_range);
    CHECK(check(R"({"n":-1e309})") == errc::metadata_integer_out_of_range);
    CHECK(check("{\"n\":" + std::string(400, '9') + ".5}") == errc::metadata_integer_out_of_range);
    CHECK(stored(R"({"n":1.7976931348623157e308})") == R"({"n":1.7976931348623157e+308})");
    CHECK(stored(R"({"n":1e-999})") == R"({"n":0.0})");
}

TEST_CASE("doubles stay doubles, in the shortest text that reads back the same") {
    CHECK(stored(R"({"n":-0.0})") == R"({"n":-0.0})");
    CHECK(stored(R"({"n":0.1})") == R"({"n":0.1})");
    CHECK(stored(R"({"n":0.10000000000000000555})") == R"({"n":0.1})");
    CHECK(stored(R"({"n":1.0})") == R"({"n":1.0})");
    CHECK(stored(R"({"n":100000.0})") == R"({"n":100000.0})");
    CHECK(stored(R"({"n":1E22})") == R"({"n":1e+22})");
    CHECK(stored(R"({"n":18446744073709551616.0})") == R"({"n":1.8446744073709552e+19})");
    CHECK(stored(R"({"n":5e-324})") == R"({"n":5e-324})");
    CHECK(stored(R"({"n":0.0001})") == R"({"n":0.0001})");
    CHECK(stored(R"({"n":0.00001})") == R"({"n":1e-05})");
    CHECK(stored(R"({"n":9999999999999998.0})") == R"({"n":9999999999999998.0})");
    CHECK(stored(R"({"n":10000000000000000.0})") == R"({"n":1e+16})");
    std::string through_value;
    CHECK(check_value({{"n", -0.0}}, &through_value) == ok);
    CHECK(through_value == R"({"n":-0.0})");
}

TEST_CASE("any double reads back as itself") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        auto number = std::bit_cast<double>(random.next());
        if (random.one_in(2)) {
            number = std::ldexp(static_cast<double>(static_cast<std::int64_t>(random.next()) >> 20),
                                static_cast<int>(random.below(60)) - 50);
        }
        if (!std::isfinite(number)) {
            continue;
        }
        std::string text;
        append_json_number(text, number);
        const json read = json::parse(text);
        REQUIRE(read.is_number_float());
        REQUIRE(std::bit_cast<std::uint64_t>(read.get<double>()) ==
                std::bit_cast<std::uint64_t>(number));
        // Below 1e16 it stands without an exponent, as Python writes it: up to 19 characters.
        REQUIRE(text.size() <= std::max<std::size_t>(json(number).dump().size() + 1, 19));
        REQUIRE(stored("{\"n\":" + text + "}") == "{\"n\":" + text + "}");
    }
}

TEST_CASE("a locale with a decimal comma changes nothing") {
    const std::string before = std::setlocale(LC_NUMERIC, nullptr);
    // Where no such locale is installed there is nothing to show.
    for (const char* const name : {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8"}) {
        if (std::setlocale(LC_NUMERIC, name) != nullptr) {
            break;
        }
    }
    CHECK(stored(R"({"n":1.5})") == R"({"n":1.5})");
    CHECK(check(R"({"n":1,5})") == errc::metadata_not_json);
    std::setlocale(LC_NUMERIC, before.c_str());
}

TEST_CASE("a value's metadata is checked for what its text cannot show") {
    CHECK(check_value(nullptr) == ok);
    CHECK(check_value(json::object()) == ok);
    CHECK(check_value(json::array()) == errc::metadata_not_object);
    CHECK(check_value("text") == errc::metadata_not_object);
    CHECK(check_value(5) == errc::metadata_not_object);
    CHECK(check_value(true) == errc::metadata_not_object);
    CHECK(check_value(std::numeric_limits<double>::quiet_NaN()) == errc::metadata_not_object);

    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double infinite = std::numeric_limits<double>::infinity();
    CHECK(check_value({{"a", nan}}) == errc::metadata_not_finite);
    CHECK(check_value({{"a", infinite}}) == errc::metadata_not_finite);
    CHECK(check_value({{"a", -infinite}}) == errc::metadata_not_finite);
    CHECK(check_value({{"a", {1, {{"b", {nan}}}}}}) == errc::metadata_not_finite);
    CHECK(check_value({{"a", std::numeric_limits<double>::max()}}) == ok);
    CHECK(check_value({{"a", std::numeric_limits<double>::denorm_min()}}) == ok);

    CHECK(check_value({{"a", "\xff"}}) == errc::metadata_not_utf8);
    CHECK(check_value({{"a", "\xed\xa0\x80"}}) == errc::metadata_not_utf8);
    CHECK(check_value({{"a", {"\xc0\x80"}}}) == errc::metadata_not_utf8);
    CHECK(check_value({{"\xff", 1}}) == errc::metadata_not_utf8);
    CHECK(check_value({{"a", json::binary({1, 2})}}) == errc::metadata_not_json);
    CHECK(check_value({{"a", json(json::value_t::discarded)}}) == errc::metadata_not_json);

    std::string text = "old";
    CHECK(detail::metadata_text(json(nullptr), text) == ok);
    CHECK(text.empty());
    text = "old";
    CHECK(detail::metadata_text(json::object(), text) == ok);
    CHECK(text.empty());
}

TEST_CASE("a value of an ordered JSON type keeps its order") {
    nlohmann::ordered_json value;
    value["z"] = 1;
    value["a"] = {{"y", 2}, {"b", 3}};
    std::string text;
    REQUIRE(detail::metadata_text(value, text) == ok);
    CHECK(stored(text) == R"({"z":1,"a":{"y":2,"b":3}})");
}

TEST_CASE("any metadata arrives equal, and its text is a fixed point") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    for (int i = 0; i < 3'000; ++i) {
        const json value = {{"a", random_value(random, 4)}, {"b", random_value(random, 4)}};
        std::string compact;
        REQUIRE(check_value(value, &compact) == ok);
        REQUIRE(json::parse(compact) == value);
        REQUIRE(stored(compact) == compact);
        REQUIRE(stored(value.dump(3)) == compact);
        REQUIRE(stored(value.dump(-1, ' ', true)) == compact);
        REQUIRE(has_member(compact, "a"));
    }
}

TEST_CASE("whatever bytes are accepted are JSON that means the same") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    int accepted = 0;
    for (int i = 0; i < 20'000; ++i) {
        const json value = {{"a", random_value(random, 2)}, {"b", random_value(random, 2)}};
        const std::string text =
            random.one_in(4) ? random_text(random, "{}[]\",:0123456789.eE+-ntrufals\\ud8 ", 60)
                             : mutated(random, value.dump());
        std::string compact;
        if (compact_metadata(text, limit, compact) || compact.empty()) {
            continue;
        }
        ++accepted;
        REQUIRE(json::parse(compact) == json::parse(text));
    }
    CHECK(accepted > 0);
}

TEST_CASE("a member is found at the top level only, and only as a name") {
    CHECK(has_member(R"({"collected_at":1})", "collected_at"));
    CHECK(has_member(R"({"a":{"b":[{"c":1}]},"collected_at":null})", "collected_at"));
    CHECK_FALSE(has_member("", "collected_at"));
    CHECK_FALSE(has_member(R"({"a":"collected_at"})", "collected_at"));
    CHECK_FALSE(has_member(R"({"a":{"collected_at":1}})", "collected_at"));
    CHECK_FALSE(has_member(R"({"a":[{"collected_at":1}]})", "collected_at"));
    CHECK_FALSE(has_member(R"({"collected_at ":1,"xcollected_at":2})", "collected_at"));
    CHECK_FALSE(has_member(R"({"a":"\"collected_at\":1"})", "collected_at"));
    CHECK_FALSE(has_member(R"({"a":"}","b":{"collected_at":"{"}})", "collected_at"));
    CHECK(has_member(R"({"a":"{[\\","collected_at":2})", "collected_at"));
    CHECK(has_member(R"({"a\"b":1})", "a\"b"));
    // Text of a damaged file: no harm.
    CHECK_FALSE(has_member("{\"a\\", "a"));
    CHECK_FALSE(has_member("}}}\"a\":", "a"));
}
