#include "core/text.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "core/utf8.hpp"
#include "fuzz.hpp"
#include "support/test_random.hpp"

using namespace agentsight::core;
using namespace agentsight::test;

TEST_CASE("every code point but the surrogates is one character of UTF-8") {
    std::string all;
    std::size_t count = 0;
    for (char32_t c = 0; c <= 0x10ffff; ++c) {
        const std::string text = utf8(c);
        const Decoded decoded = decode_utf8(text);
        const bool surrogate = c >= 0xd800 && c <= 0xdfff;
        if (decoded.valid() == surrogate ||
            (!surrogate && (decoded.code_point != c || decoded.length != text.size()))) {
            FAIL("code point ", static_cast<unsigned>(c));
        }
        if (!surrogate) {
            all += text;
            ++count;
        }
    }
    CHECK(count_code_points(all) == count);
}

TEST_CASE("what decodes is the one encoding of its code point") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    // All pairs of bytes, each followed by bytes that may or may not continue them.
    for (unsigned pair = 0; pair < 0x10000; ++pair) {
        std::string text{static_cast<char>(pair >> 8), static_cast<char>(pair)};
        for (int i = 0; i < 2; ++i) {
            text.push_back(
                static_cast<char>(random.one_in(4) ? random.next() : 0x80 | random.below(64)));
        }
        const Decoded decoded = decode_utf8(text);
        if (decoded.valid() && utf8(decoded.code_point) != text.substr(0, decoded.length)) {
            FAIL("bytes ", pair);
        }
    }
}

TEST_CASE("text that is not UTF-8 has no length") {
    for (const std::string_view bad :
         {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x80\x80", "\xe0\x9f\xbf",
          "\xed\xa0\x80", "\xed\xbf\xbf", "\xed\xa0\xbd\xed\xb8\x80", "\xe2\x82",
          "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
          "\xf0\x9f\x98", "\xfe", "\xff"}) {
        CAPTURE(bad.size());
        CHECK_FALSE(count_code_points(bad));
        for (std::size_t before = 0; before < 18; ++before) {
            CHECK_FALSE(count_code_points(std::string(before, 'a') + std::string{bad}));
            CHECK_FALSE(count_code_points(std::string{bad} + std::string(before, 'a')));
        }
    }
    CHECK(count_code_points("") == 0u);
    CHECK(count_code_points(std::string_view{"\0", 1}) == 1u);
}

TEST_CASE("strip removes exactly the white space that Python's str.strip removes") {
    // [c for c in range(0x110000) if chr(c).isspace()]
    const std::set<char32_t> white = {
        0x9,    0xa,    0xb,    0xc,    0xd,    0x1c,   0x1d,   0x1e,   0x1f,   0x20,
        0x85,   0xa0,   0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005, 0x2006,
        0x2007, 0x2008, 0x2009, 0x200a, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000};
    for (char32_t c = 0; c <= 0x10ffff; ++c) {
        if (c >= 0xd800 && c <= 0xdfff) {
            continue;
        }
        const std::string piece = utf8(c);
        const std::string text = piece + "a" + piece;
        const std::string_view stripped = strip(text);
        if (stripped != (white.count(c) ? std::string_view{"a"} : std::string_view{text})) {
            FAIL("code point ", static_cast<unsigned>(c));
        }
    }
    std::string all;
    for (const char32_t c : white) {
        all += utf8(c);
    }
    CHECK(strip(all).empty());
    CHECK(strip(all + "a b" + all) == "a b");
    CHECK(strip("").empty());
}

TEST_CASE("strip leaves bytes that are not UTF-8 where they are") {
    CHECK(strip(" \xa0 ") == "\xa0");
    CHECK(strip("\x85") == "\x85");
    CHECK(strip("a \x80") == "a \x80");
    CHECK(strip("a\xe3\x80\x80\xbf") == "a\xe3\x80\x80\xbf");
    CHECK(strip("\xe3\x80") == "\xe3\x80");
    CHECK(strip("\x80\x80\x80\x80\x80 ") == "\x80\x80\x80\x80\x80");
}

TEST_CASE("printable text cannot steer a terminal and stays on one line") {
    CHECK(printable("plain") == "plain");
    CHECK(printable("a\nb\tc") == "a b c");
    CHECK(printable("\x1b[31mred") == "?[31mred");
    CHECK(printable("\x7f") == "?");
    CHECK(printable("\xc2\x9b"
                    "31m") == "?31m");
    CHECK(printable("abc\xe2\x80\xaexyz") == "abc?xyz");
    CHECK(printable("\xe2\x81\xa6\xe2\x80\x8f\xd8\x9c") == "???");
    CHECK(printable("a\xff\xfe"
                    "b") == "a??b");
    CHECK(printable(std::string_view{"a\0b", 3}) == "a?b");
    CHECK(printable("\xe2\x80\xa8") == " ");
    CHECK(printable("Gr\xc3\xbc\xc3\x9f"
                    "e \xf0\x9f\x98\x80") ==
          "Gr\xc3\xbc\xc3\x9f"
          "e \xf0\x9f\x98\x80");
}

TEST_CASE("printable text keeps its bound and says that it was cut") {
    CHECK(printable("abcdef", 6) == "abcdef");
    CHECK(printable("abcdefg", 6) == "abc...");
    CHECK(printable("abcdefg", 3) == "...");
    CHECK(printable("abcdefg", 2) == "..");
    CHECK(printable("abcdefg", 0).empty());
    // Never half a character.
    CHECK(printable("\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80", 8) ==
          "\xf0\x9f\x98\x80...");
}

TEST_CASE("printable text of any bytes is UTF-8 without control characters, within its bound") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    for (int i = 0; i < 20'000; ++i) {
        const std::string text =
            random_text(random, "a \n\x1b\xe2\x80\xae\xf0\x9f\x98\xc2\x85", 40);
        const std::size_t bound = random.below(50);
        const std::string out = printable(text, bound);
        REQUIRE(out.size() <= bound);
        REQUIRE(count_code_points(out));
        for (const char c : out) {
            REQUIRE(static_cast<unsigned char>(c) >= 0x20);
        }
        REQUIRE(printable(out, bound) == out);
        REQUIRE(strip(text).size() <= text.size());
        count_code_points(text);
    }
}

TEST_CASE("a secret is blotted out wherever it stands, and its length stays") {
    std::string text = "ags_secretags_secret: your key ags_secret is wrong, ags_secre too";
    blot_out(text, "ags_secret");
    CHECK(text == "********************: your key ********** is wrong, ags_secre too");
    std::string words = "the key is wrong";
    blot_out(words, "key");
    blot_out(words, "");
    CHECK(words == "the key is wrong");
}
