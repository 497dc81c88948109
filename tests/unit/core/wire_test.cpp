#include "core/wire.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "core/text.hpp"
#include "fuzz.hpp"
#include "support/test_random.hpp"

namespace agentsight::core {

using namespace agentsight::test;
using nlohmann::json;

namespace {

const Uuid id = *Uuid::parse("0190163d-8694-739b-aea5-966c26f8ad91");
const ConversationKey business{"=support-session-456"};
const ConversationKey database{"#42"};
constexpr UtcMs since_2024 = 1'705'315'200'000;

Feedback feedback() {
    return {.conversation = business,
            .sentiment = Sentiment::positive,
            .comment = "Excellent service!",
            .metadata = R"({"rating":5,"would_recommend":true})"};
}

std::string body_of(const Feedback& given, std::string_view collected_at = {},
                    Route route = Route::conversation_feedbacks) {
    return create_request(route, given, id, collected_at).body;
}

const std::string row_10 =
    R"({"id":10,"conversation":42,"conversation_id":"support-session-456","kind":"conversation",)"
    R"("sentiment":"positive","source":"customer","comment":"Excellent service!",)"
    R"("created_at":"2024-01-15T10:40:00Z","user":null,"category":null})";

std::string old_list(const std::string& rows, const char* next = "null") {
    return R"({"count":1,"next":)" + std::string{next} + R"(,"previous":null,"results":[)" + rows +
           "]}";
}

std::string new_list(const std::string& rows, int page, int pages, const char* next = "null") {
    return R"({"count":1,"page_size":100,"total_pages":)" + std::to_string(pages) +
           R"(,"current_page":)" + std::to_string(page) + R"(,"next":)" + next +
           R"(,"previous":null,"results":[)" + rows + "]}";
}

}  // namespace

TEST_CASE("a feedback goes out on the documented route as the upstream client sends it") {
    const HttpRequest request = create_request(Route::conversation_feedbacks, feedback(), id, {});
    CHECK(request.method == HttpRequest::Method::post);
    CHECK(request.target == "/api/conversation-feedbacks/");
    CHECK(request.idempotency_key == "0190163d-8694-739b-aea5-966c26f8ad91");
    CHECK(request.body ==
          R"({"sentiment":"positive","conversation_id":"support-session-456",)"
          R"("comment":"Excellent service!","metadata":{"rating":5,"would_recommend":true}})");
    // The answer repeats it, perhaps in ASCII.
    CHECK(request.more_answer >= 3 * request.body.size());
}

TEST_CASE("a database id goes out as an integer, a text id as text") {
    Feedback given{.conversation = {"#18446744073709551615"}, .sentiment = Sentiment::negative};
    CHECK(body_of(given) == R"({"sentiment":"negative","conversation":18446744073709551615})");
    given.conversation = {"=42"};
    CHECK(body_of(given) == R"({"sentiment":"negative","conversation_id":"42"})");
}

TEST_CASE("ids and comments go out exactly as given") {
    Feedback given = feedback();
    given.conversation = {"= \"quoted\"\n "};
    given.comment = " \t\xf0\x9f\x98\x80\"\\\x01\x7f </script>\r\n ";
    const json body = json::parse(body_of(given));
    CHECK(body["conversation_id"] == " \"quoted\"\n ");
    CHECK(body["comment"] == given.comment);
}

TEST_CASE("the successor takes the kind first and no metadata") {
    CHECK(create_request(Route::feedbacks, feedback(), id, {}).target == "/api/feedbacks/");
    const std::string expected =
        R"({"kind":"conversation","sentiment":"positive","conversation_id":"support-session-456",)"
        R"("comment":"Excellent service!"})";
    CHECK(body_of(feedback(), {}, Route::feedbacks) == expected);
    CHECK(body_of(feedback(), "2024-01-15T10:40:00.000Z", Route::feedbacks) == expected);
}

TEST_CASE("collected_at is added where the caller gave none") {
    constexpr std::string_view at = "2024-01-15T10:40:00.000Z";
    const auto metadata_of = [&](std::string metadata) {
        Feedback given = feedback();
        given.metadata = std::move(metadata);
        const json body = json::parse(body_of(given, at));
        return body["metadata"].dump();
    };
    CHECK(metadata_of("") == R"({"collected_at":"2024-01-15T10:40:00.000Z"})");
    CHECK(metadata_of(R"({"a":{"collected_at":1}})") ==
          R"({"a":{"collected_at":1},"collected_at":"2024-01-15T10:40:00.000Z"})");
    CHECK(metadata_of(R"({"a":"collected_at"})") ==
          R"({"a":"collected_at","collected_at":"2024-01-15T10:40:00.000Z"})");
    CHECK(metadata_of(R"({"collected_at":null})") == R"({"collected_at":null})");
    CHECK(metadata_of(R"({"collected_at":"yesterday","z":1})") ==
          R"({"collected_at":"yesterday","z":1})");
    Feedback bare{.conversation = business};
    CHECK(body_of(bare) == R"({"sentiment":"neutral","conversation_id":"support-session-456"})");
}

TEST_CASE("metadata's integers and doubles go out as they came in") {
    Feedback given = feedback();
    given.metadata = R"({"a":18446744073709551615,"b":-9223372036854775808,"c":0.1,"d":-0.0})";
    CHECK(body_of(given).find(given.metadata) != std::string::npos);
}

TEST_CASE("the list is asked for one conversation, newest first") {
    const HttpRequest request = list_feedbacks_request(business, since_2024, 3);
    CHECK(request.method == HttpRequest::Method::get);
    CHECK(request.body.empty());
    CHECK(request.idempotency_key.empty());
    CHECK(
        request.target ==
        "/api/feedbacks/?conversation_id=support-session-456"
        "&created_at_after=2024-01-15T10%3A40%3A00.000Z&ordering=-created_at&page=3&page_size=100");
    CHECK(
        list_feedbacks_request(database, since_2024, 1, 10).target ==
        "/api/feedbacks/?conversation=42"
        "&created_at_after=2024-01-15T10%3A40%3A00.000Z&ordering=-created_at&page=1&page_size=10");
    CHECK(list_feedbacks_request({"=\t a b "}, since_2024, 3).target ==
          list_feedbacks_request({"=a b"}, since_2024, 3).target);
    CHECK(find_conversation_request(" a b\n").target == find_conversation_request("a b").target);
    CHECK(find_conversation_request("a b").target ==
          "/api/conversations/?conversation_id=a%20b&full=false&include_deleted=true&page_size=1");
    CHECK(conversation_request("42").target == "/api/conversations/42/");
    CHECK(request.more_answer == 0);
    CHECK(conversation_request("42").more_answer == 1024 * 1024);
}

TEST_CASE("H19: an id can neither end its parameter nor break the request line") {
    for (int byte = 0; byte < 256; ++byte) {
        const std::string name{'x', static_cast<char>(byte)};
        for (const std::string& target :
             {find_conversation_request(name).target, conversation_request(name).target,
              list_feedbacks_request({"=" + name}, 0, 1).target}) {
            REQUIRE(target.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                             "0123456789-._~/?&=%") == std::string::npos);
        }
    }
    CHECK(find_conversation_request("a&page_size=9#").target.find("a%26page_size%3D9%23&full") !=
          std::string::npos);
    CHECK(conversation_request("../me").target == "/api/conversations/..%2Fme/");
}

TEST_CASE("both envelopes of the list are read, with their rows") {
    for (const std::string& body : {old_list(row_10), new_list(row_10, 1, 1)}) {
        const auto page = parse_feedback_list(body);
        REQUIRE(page);
        CHECK_FALSE(page->more);
        REQUIRE(page->rows.size() == 1);
        const ServerRow& row = page->rows.front();
        CHECK(row.id == "10");
        CHECK(row.sentiment == Sentiment::positive);
        CHECK(row.comment == "Excellent service!");
        CHECK(row.source == "customer");
        CHECK(row.created_at == since_2024);
        CHECK(row.conversation == "42");
        CHECK(row.conversation_id == "support-session-456");
        CHECK(row.kind == "conversation");
    }
}

TEST_CASE("a next page is seen in either envelope") {
    CHECK_FALSE(parse_feedback_list(old_list(""))->more);
    CHECK(parse_feedback_list(old_list("", "\"http://inside/api/feedbacks/?page=2\""))->more);
    CHECK(parse_feedback_list(new_list("", 1, 2))->more);
    CHECK(parse_feedback_list(new_list("", 2, 2, "\"http://inside/\""))->more);
    CHECK_FALSE(parse_feedback_list(new_list("", 2, 2))->more);
    CHECK(parse_feedback_list(R"({"count":0,"results":[]})")->rows.empty());
}

TEST_CASE("rows show only what the server shows") {
    const auto page = parse_feedback_list(
        old_list(R"({"id":"abc"},{"id":7,"sentiment":"mixed","comment":null,"created_at":null})"));
    REQUIRE(page);
    REQUIRE(page->rows.size() == 2);
    CHECK(page->rows[0].id == "abc");
    CHECK_FALSE(page->rows[0].sentiment);
    CHECK_FALSE(page->rows[0].conversation);
    CHECK(page->rows[1].id == "7");
    CHECK_FALSE(page->rows[1].sentiment);
    CHECK(page->rows[1].comment.empty());
    CHECK_FALSE(page->rows[1].created_at);
}

TEST_CASE("a list that is not the API's is not read at all") {
    for (const std::string& bad :
         std::vector<std::string>{"",
                                  "[]",
                                  "null",
                                  "<html>",
                                  "{}",
                                  R"({"results":[]})",
                                  R"({"count":0})",
                                  R"({"count":"0","results":[]})",
                                  R"({"count":-1,"results":[]})",
                                  R"({"count":0,"results":{}})",
                                  R"({"count":0,"results":null})",
                                  R"({"count":0,"results":[],"next":2})",
                                  R"({"count":0,"results":[],"current_page":"1"})",
                                  R"({"count":0,"results":[],"total_pages":1.5})",
                                  old_list("1"),
                                  old_list("null"),
                                  old_list("[]"),
                                  old_list("{}"),
                                  old_list(R"({"id":null})"),
                                  old_list(R"({"id":""})"),
                                  old_list(R"({"id":1.5})"),
                                  old_list(R"({"id":true})"),
                                  old_list(R"({"id":[1]})"),
                                  old_list(R"({"id":1,"sentiment":5})"),
                                  old_list(R"({"id":1,"comment":{}})"),
                                  old_list(R"({"id":1,"source":1})"),
                                  old_list(R"({"id":1,"created_at":1705315200})"),
                                  old_list(R"({"id":1,"conversation":"42"})"),
                                  old_list(R"({"id":1,"conversation_id":42})"),
                                  old_list(R"({"id":1,"kind":1})"),
                                  old_list(row_10) + "x",
                                  old_list(row_10) + '\0',
                                  old_list(row_10 + "," + R"({"sentiment":"positive"})")}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_feedback_list(bad));
    }
}

TEST_CASE("rows of other conversations and other kinds are told apart") {
    ServerRow row;
    CHECK(row.may_be_of(business));
    CHECK(row.may_be_of(database));
    row.conversation = "42";
    CHECK(row.may_be_of(business));
    CHECK(row.may_be_of(database));
    CHECK_FALSE(row.may_be_of({"#43"}));
    row.conversation_id = "support-session-456";
    CHECK(row.may_be_of(business));
    CHECK_FALSE(row.may_be_of({"=support-session-457"}));
    CHECK_FALSE(row.may_be_of({"=Support-session-456"}));
    // The server trims what it stores.
    CHECK(row.may_be_of({"= support-session-456\xc2\xa0\n"}));
    row.kind = "conversation";
    CHECK(row.may_be_of(business));
    row.kind = "message";
    CHECK_FALSE(row.may_be_of(business));
}

TEST_CASE("a conversation shows its feedbacks") {
    const auto rows = parse_conversation(R"({"id":42,"feedbacks":[)" + row_10 + R"(,{"id":11}]})");
    REQUIRE(rows);
    CHECK_FALSE(rows->more);
    CHECK(rows->rows.size() == 2);
    CHECK(parse_conversation(R"({"id":42,"feedbacks":[]})")->rows.empty());
    for (const char* const bad :
         {"", "{}", "[]", R"({"id":42})", R"({"feedbacks":[]})", R"({"id":42,"feedbacks":null})",
          R"({"id":42,"feedbacks":{}})", R"({"id":42,"feedbacks":[{}]})",
          R"({"id":42,"feedbacks":[1]})", R"({"detail":"Not found."})"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_conversation(bad));
    }
}

TEST_CASE("a conversation is found by its business id, and not by an ignored filter") {
    const auto find = [](const std::string& rows) {
        return parse_found_conversation(old_list(rows), "conv-123");
    };
    CHECK(find(R"({"id":42,"conversation_id":"conv-123"})") == "42");
    CHECK(find(R"({"id":42,"conversation_id":" conv-123 "})") == "42");
    CHECK(find(R"({"id":42})") == "42");
    CHECK(find("") == "");
    CHECK(find(R"({"id":41,"conversation_id":"other"},{"id":42,"conversation_id":"conv-123"})") ==
          "42");
    // Only others: the filter was ignored, so nothing is known.
    CHECK_FALSE(find(R"({"id":41,"conversation_id":"other"})"));
    for (const char* const bad :
         {"1", "null", "{}", R"({"id":null})", R"({"conversation_id":"conv-123"})",
          R"({"id":1,"conversation_id":5})"}) {
        CAPTURE(bad);
        CHECK_FALSE(find(bad));
    }
    CHECK_FALSE(parse_found_conversation("{}", "conv-123"));
    CHECK_FALSE(parse_found_conversation("", "conv-123"));
    CHECK_FALSE(parse_found_conversation(R"({"detail":"no"})", "conv-123"));
}

TEST_CASE("a create's answer is one complete object with an id") {
    const auto created = parse_created(
        R"({"id": 10, "conversation": 42, "sentiment": "positive", "source": "customer",)"
        R"("comment": "...", "metadata": {"a": 1}, "created_at": "2024-01-15T10:40:00Z"})");
    REQUIRE(created);
    CHECK(created->id == "10");
    CHECK(created->sentiment == "positive");
    CHECK(created->created_at == since_2024);
    CHECK(parse_created(R"({"id":"f-1"})")->id == "f-1");
    CHECK_FALSE(parse_created(R"({"id":"f-1"})")->sentiment);
    CHECK(parse_created(R"({"id":18446744073709551615})")->id == "18446744073709551615");
    CHECK(parse_created(" {\"id\":1}\r\n")->id == "1");
    CHECK_FALSE(parse_created(R"({"id":1,"sentiment":null,"created_at":5})")->created_at);
    CHECK(parse_created(R"({"id":")" + std::string(255, 'x') + "\"}"));
}

TEST_CASE("H7: what a portal answers is not a create's answer") {
    for (const std::string& bad :
         std::vector<std::string>{"",
                                  "{}",
                                  "[]",
                                  "1",
                                  "\"id\"",
                                  "null",
                                  "<html></html>",
                                  R"({"id":null})",
                                  R"({"id":""})",
                                  R"({"id":" "})",
                                  R"({"id":true})",
                                  R"({"id":1.0})",
                                  R"({"id":1e3})",
                                  R"({"id":{}})",
                                  R"({"id":[1]})",
                                  R"([{"id":1}])",
                                  R"({"ID":1})",
                                  R"({"data":{"id":1}})",
                                  R"({"id":18446744073709551616})",
                                  R"({"id":"a\u0000b"})",
                                  R"({"id":"a\nb"})",
                                  R"({"id":1}{"id":2})",
                                  R"({"id":1}x)",
                                  std::string{R"({"id":1})"} + '\0',
                                  R"({"id":1,"x":"\ud800"})",
                                  "{\"id\":1,\"x\":\"\xff\"}",
                                  R"({"id":")" + std::string(256, 'x') + "\"}"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_created(bad));
    }
}

TEST_CASE("H6: a create's answer cut anywhere is not complete") {
    const std::string whole =
        R"({"id": 10, "sentiment": "positive", "metadata": {"id": 1}, "created_at": "2024"})";
    REQUIRE(parse_created(whole));
    for (std::size_t length = 0; length < whole.size(); ++length) {
        CAPTURE(length);
        CHECK_FALSE(parse_created(whole.substr(0, length)));
    }
}

TEST_CASE("an error's words are its detail, its error, or its fields'") {
    const auto words_of = [](std::string_view body) {
        std::string detail = "old";
        const bool api = parse_api_error(body, detail);
        CHECK((api || detail.empty()));
        return api ? detail : "not the API's";
    };
    CHECK(words_of(R"({"detail":"Invalid API key."})") == "Invalid API key.");
    CHECK(words_of(R"({"error":"gone"})") == "gone");
    CHECK(words_of(R"({"detail":["a","b"],"error":"c"})") == "a b");
    CHECK(words_of(R"({"sentiment":["\"meh\" is not a valid choice."]})") ==
          "sentiment: \"meh\" is not a valid choice.");
    CHECK(words_of(R"({"comment":"too long","conversation_id":["missing","bad"],"n":5})") ==
          "comment: too long; conversation_id: missing bad");
    CHECK(words_of("{}").empty());
    CHECK(words_of(R"({"detail":{"a":1}})").empty());
    CHECK(words_of(R"({"detail":null,"code":"x"})") == "code: x");
    CHECK(words_of("{\"detail\":\"a\\u001b[31m\\nb\\u202ec\"}") == "a?[31m b?c");
    CHECK(words_of(R"({"detail":")" + std::string(60'000, 'x') + "\"}").size() == 300);
    for (const char* const bad :
         {"", "[]", "\"detail\"", "1", "null", "<html>404</html>", "{", "{}x"}) {
        CAPTURE(bad);
        CHECK(words_of(bad) == "not the API's");
    }
}

TEST_CASE("a hostile depth of an answer needs no stack") {
    for (const std::string& deep :
         {std::string(200'000, '['), std::string(100'000, '[') + std::string(100'000, ']'),
          R"({"id":1,"results":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}",
          repeated("{\"id\":", 100'000) + "1" + std::string(100'000, '}')}) {
        std::string detail;
        parse_api_error(deep, detail);
        parse_created(deep);
        parse_feedback_list(deep);
        parse_conversation(deep);
        parse_found_conversation(deep, "x");
    }
    CHECK(parse_created(R"({"id":1,"x":)" + std::string(100'000, '[') + std::string(100'000, ']') +
                        "}"));
}

TEST_CASE("any bytes of an answer are read without harm") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    const std::string seeds[] = {old_list(row_10 + "," + row_10), new_list(row_10, 1, 2), row_10,
                                 R"({"id":42,"feedbacks":[)" + row_10 + "]}",
                                 R"({"sentiment":["a"],"detail":"b"})"};
    for (int i = 0; i < 10'000; ++i) {
        const std::string body = random.one_in(4)
                                     ? random_text(random, "{}[]\",:0123456789idresults\\u", 80)
                                     : mutated(random, seeds[random.below(5)]);
        std::string detail;
        parse_api_error(body, detail);
        REQUIRE(detail.size() <= 300);
        REQUIRE(count_code_points(detail));
        if (const auto created = parse_created(body)) {
            REQUIRE_FALSE(created->id.empty());
            REQUIRE(json::parse(body).is_object());
        }
        for (const auto& rows : {parse_feedback_list(body), parse_conversation(body)}) {
            if (rows) {
                for (const ServerRow& row : rows->rows) {
                    REQUIRE_FALSE(row.id.empty());
                }
            }
        }
        parse_found_conversation(body, "support-session-456");
    }
}

}  // namespace agentsight::core
