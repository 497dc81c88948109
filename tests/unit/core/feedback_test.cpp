#include "core/feedback.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <ostream>
#include <set>
#include <string>

#include "fuzz.hpp"
#include "support/test_random.hpp"

namespace agentsight::core {

using namespace agentsight::test;

namespace {

const std::string emoji = "\xf0\x9f\x98\x80";
const std::string combining = "e\xcc\x81";  // Two code points, one character for the reader.

FeedbackInput input() {
    return {.conversation = "support-session-456", .sentiment = "positive"};
}

std::error_code check(const FeedbackInput& given) {
    Feedback feedback;
    return validate(given, {}, feedback);
}

std::error_code check_id(const ConversationRef& conversation) {
    FeedbackInput given = input();
    given.conversation = conversation;
    return check(given);
}

std::error_code check_comment(std::string_view comment) {
    FeedbackInput given = input();
    given.comment = comment;
    return check(given);
}

const std::error_code ok;

}  // namespace

TEST_CASE("a feedback that keeps every rule is kept exactly as given") {
    FeedbackInput given = input();
    given.conversation = " id with spaces ";
    given.sentiment = Sentiment::negative;
    const std::string comment = " \tGr\xc3\xbc\xc3\x9f\r\n" + emoji + " ";
    given.comment = comment;
    given.metadata_json = " { \"rating\" : 5 } ";
    Feedback feedback;
    REQUIRE(validate(given, {}, feedback) == ok);
    CHECK(feedback.conversation.value == "= id with spaces ");
    CHECK_FALSE(feedback.conversation.is_number());
    CHECK(feedback.conversation.name() == " id with spaces ");
    CHECK(feedback.sentiment == Sentiment::negative);
    CHECK(feedback.comment == comment);
    CHECK(feedback.metadata == R"({"rating":5})");
}

TEST_CASE("what is left out or empty is none") {
    FeedbackInput given = input();
    Feedback feedback{.comment = "old", .metadata = "old"};
    REQUIRE(validate(given, {}, feedback) == ok);
    CHECK(feedback.comment.empty());
    CHECK(feedback.metadata.empty());
    given.comment = "";
    given.metadata_json = "{}";
    REQUIRE(validate(given, {}, feedback) == ok);
    CHECK(feedback.comment.empty());
    CHECK(feedback.metadata.empty());
}

TEST_CASE("a broken rule leaves the feedback alone") {
    FeedbackInput given = input();
    given.metadata_json = "[]";
    Feedback feedback{.comment = "as it was"};
    REQUIRE(validate(given, {}, feedback) == errc::metadata_not_object);
    CHECK(feedback == Feedback{.comment = "as it was"});
}

TEST_CASE("a business id is not empty, not only white space, UTF-8 without NUL") {
    CHECK(check_id("") == errc::id_empty);
    CHECK(check_id(static_cast<const char*>(nullptr)) == errc::id_empty);
    CHECK(check_id(" ") == errc::id_blank);
    CHECK(check_id("\t\r\n\v\f\x1c\x1d\x1e\x1f") == errc::id_blank);
    CHECK(check_id("\xc2\x85\xc2\xa0\xe1\x9a\x80\xe2\x80\x80\xe2\x80\xa8\xe3\x80\x80") ==
          errc::id_blank);
    CHECK(check_id("\xe2\x80\x8b") == ok);  // Zero width is no white space, as in Python.
    CHECK(check_id(" a ") == ok);
    CHECK(check_id("42") == ok);
    CHECK(check_id("a\xed\xa0\x80") == errc::id_not_utf8);
    CHECK(check_id("a\xc0\x80") == errc::id_not_utf8);
    CHECK(check_id("a\xff") == errc::id_not_utf8);
    CHECK(check_id(std::string_view{"a\0b", 3}) == errc::id_has_nul);
    CHECK(check_id(std::string_view{"\0", 1}) == errc::id_has_nul);
}

TEST_CASE("a business id has at most 255 code points") {
    for (const std::string& piece : {std::string{"a"}, emoji, std::string{"\xc3\xa9"}}) {
        CAPTURE(piece);
        CHECK(check_id(repeated(piece, 255)) == ok);
        CHECK(check_id(repeated(piece, 256)) == errc::id_too_long);
    }
    CHECK(check_id(repeated(combining, 127)) == ok);
    CHECK(check_id(repeated(combining, 127) + "a") == ok);
    CHECK(check_id(repeated(combining, 128)) == errc::id_too_long);
}

TEST_CASE("a database id is at least 1, of any integer type") {
    CHECK(check_id(0) == errc::id_not_positive);
    CHECK(check_id(-1) == errc::id_not_positive);
    CHECK(check_id(std::numeric_limits<std::int64_t>::min()) == errc::id_not_positive);
    CHECK(check_id(static_cast<signed char>(-1)) == errc::id_not_positive);
    CHECK(check_id(1) == ok);
    CHECK(check_id(std::uint8_t{42}) == ok);
    FeedbackInput given = input();
    given.conversation = std::numeric_limits<std::uint64_t>::max();
    Feedback feedback;
    REQUIRE(validate(given, {}, feedback) == ok);
    CHECK(feedback.conversation.value == "#18446744073709551615");
    CHECK(feedback.conversation.is_number());
    CHECK(feedback.conversation.name() == "18446744073709551615");
}

TEST_CASE("a text id and a database id are never the same conversation") {
    Feedback text;
    Feedback number;
    Feedback odd;
    FeedbackInput given = input();
    given.conversation = "42";
    REQUIRE(validate(given, {}, text) == ok);
    given.conversation = 42;
    REQUIRE(validate(given, {}, number) == ok);
    given.conversation = "#42";
    REQUIRE(validate(given, {}, odd) == ok);
    CHECK(std::set{text.conversation, number.conversation, odd.conversation}.size() == 3);
    CHECK_FALSE(odd.conversation.is_number());
}

TEST_CASE("a sentiment is one of three exact names") {
    const auto check_sentiment = [](const SentimentRef& sentiment) {
        FeedbackInput given = input();
        given.sentiment = sentiment;
        return check(given);
    };
    for (const auto sentiment : {Sentiment::positive, Sentiment::neutral, Sentiment::negative}) {
        CHECK(check_sentiment(sentiment) == ok);
        CHECK(check_sentiment(to_string(sentiment)) == ok);
        CHECK(parse_sentiment(to_string(sentiment)) == sentiment);
    }
    for (const std::string_view bad :
         {std::string_view{""}, std::string_view{"Positive"}, std::string_view{"POSITIVE"},
          std::string_view{" positive"}, std::string_view{"positive "}, std::string_view{"positiv"},
          std::string_view{"positive\0", 9}, std::string_view{"meh"}, std::string_view{"1"}}) {
        CAPTURE(bad);
        CHECK(check_sentiment(bad) == errc::sentiment_invalid);
        CHECK_FALSE(parse_sentiment(bad));
    }
    CHECK(check_sentiment(static_cast<Sentiment>(7)) == errc::sentiment_invalid);
}

TEST_CASE("a comment has at most 5000 code points, before any trimming") {
    for (const std::string& piece : {std::string{"a"}, emoji, std::string{"\xcc\x81"},
                                     std::string{" "}, std::string{"\xe3\x80\x80"}}) {
        CAPTURE(piece);
        CHECK(check_comment(repeated(piece, 5000)) == ok);
        CHECK(check_comment(repeated(piece, 5001)) == errc::comment_too_long);
    }
    CHECK(check_comment(repeated(combining, 2500)) == ok);
    CHECK(check_comment(repeated(combining, 2500) + "a") == errc::comment_too_long);
    CHECK(check_comment(repeated("a", 10'000'000)) == errc::comment_too_long);
}

TEST_CASE("a comment is UTF-8 without NUL") {
    CHECK(check_comment("a\xed\xa0\xbd\xed\xb8\x80") == errc::comment_not_utf8);
    CHECK(check_comment("\xed\xa0\x80") == errc::comment_not_utf8);
    CHECK(check_comment("\xc0\xaf") == errc::comment_not_utf8);
    CHECK(check_comment("\xe0\x80\xaf") == errc::comment_not_utf8);
    CHECK(check_comment("\xf8\x88\x80\x80\x80") == errc::comment_not_utf8);
    CHECK(check_comment("abc\xf0\x9f\x98") == errc::comment_not_utf8);
    CHECK(check_comment(std::string_view{"\0", 1}) == errc::comment_has_nul);
    CHECK(check_comment(std::string(4999, 'a') + std::string(1, '\0')) == errc::comment_has_nul);
    CHECK(check_comment("\x01\x1b\x7f") == ok);
    CHECK(check_comment(" ") == ok);
}

TEST_CASE("rules are checked in the order id, sentiment, comment, metadata") {
    FeedbackInput given = input();
    given.metadata_json = "[]";
    given.metadata_problem = errc::metadata_not_finite;
    CHECK(check(given) == errc::metadata_not_finite);
    given.comment = "\xff";
    CHECK(check(given) == errc::comment_not_utf8);
    given.sentiment = "meh";
    CHECK(check(given) == errc::sentiment_invalid);
    given.conversation = 0;
    CHECK(check(given) == errc::id_not_positive);
}

TEST_CASE("every broken rule has a sentence of its own, which names the field") {
    std::set<std::string> sentences;
    std::size_t count = 0;
    for (int value = static_cast<int>(errc::id_empty);
         value <= static_cast<int>(errc::record_id_invalid); ++value) {
        const std::error_code code = static_cast<errc>(value);
        CHECK(is_validation_error(code));
        const std::string sentence = validation_message(code);
        CAPTURE(sentence);
        const bool names_a_field =
            sentence.find("conversation") == 0 || sentence.find("sentiment") == 0 ||
            sentence.find("comment") == 0 || sentence.find("metadata") == 0 ||
            sentence.find("the record's id") == 0;
        CHECK(names_a_field);
        CHECK(code.message() == sentence);
        sentences.insert(sentence);
        ++count;
    }
    CHECK(sentences.size() == count);
    CHECK(validation_message(errc::metadata_too_large, {.max_metadata_bytes = 1234}).find("1234") !=
          std::string::npos);
}

TEST_CASE("any bytes are judged without harm") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    for (int i = 0; i < 5'000; ++i) {
        const std::string id = random_text(random, "ab \xc3\xa9\xf0\x9f\x98\x80", 300);
        const std::string comment = random_text(random, "ab \xc3\xa9\xf0\x9f\x98\x80", 100);
        const std::string metadata =
            random_text(random, "{}[]\",:0123456789.eE+-ntrufalse\\ud8 ", 60);
        FeedbackInput given = input();
        given.conversation = id;
        given.comment = comment;
        given.metadata_json = metadata;
        Feedback feedback;
        const std::error_code code = validate(given, {}, feedback);
        REQUIRE((!code || is_validation_error(code)));
        if (!code) {
            REQUIRE(feedback.conversation.value == "=" + id);
            REQUIRE(feedback.comment == comment);
        }
    }
}

}  // namespace agentsight::core
