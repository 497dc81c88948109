#include <doctest/doctest.h>

#include "raw_client.hpp"
#include "sandbox/server.hpp"

using namespace sandbox_test;
using sandbox::Server;

namespace {

Response posted(const Server& server, std::string_view route, const std::string& body) {
    return exchange(server.port(), request("POST", route, body));
}

Json errors_of(const Server& server, const std::string& body, std::string_view route = old_route) {
    const Response response = posted(server, route, body);
    CHECK(response.status == 400);
    CHECK(response.field("Content-Type") == "application/json");
    return response.json();
}

}  // namespace

TEST_CASE("the older route stores a feedback with its metadata and answers 201") {
    Server server;
    const Json metadata{{"rating", 5}, {"ratio", 0.1}, {"big", 18446744073709551615u}};
    const Response response =
        exchange(server.port(), request("POST", old_route,
                                        Json{{"sentiment", "positive"},
                                             {"conversation_id", "support-session-456"},
                                             {"comment", "Excellent service!"},
                                             {"metadata", metadata}}
                                            .dump(),
                                        "Idempotency-Key: key-1\r\n"));
    CHECK(response.status == 201);
    CHECK(response.head.starts_with("HTTP/1.1 201 Created\r\n"));
    CHECK_FALSE(response.field("Date").empty());
    const Json body = response.json();
    CHECK(body.at("id") == 1);
    CHECK(body.at("conversation") == 1);
    CHECK(body.at("sentiment") == "positive");
    CHECK(body.at("source") == "customer");
    CHECK(body.at("comment") == "Excellent service!");
    CHECK(body.at("metadata") == metadata);
    const auto rows = server.rows();
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].conversation_id == "support-session-456");
    CHECK(Json::parse(rows[0].metadata) == metadata);
    CHECK(rows[0].idempotency_key == "key-1");
    CHECK(rows[0].route == "old");
    CHECK(server.errors().empty());
}

TEST_CASE("the newer route answers its own shape and keeps no metadata") {
    Server server;
    const Json body = posted(server, new_route,
                             R"({"kind":"conversation","sentiment":"neutral","conversation":738,)"
                             R"("metadata":{"a":1}})")
                          .json();
    std::vector<std::string> names;
    for (const auto& [name, value] : body.items())
        names.push_back(name);
    CHECK(names == std::vector<std::string>{"id", "kind", "agent", "conversation",
                                            "conversation_id", "user", "environment",
                                            "environment_id", "sentiment", "category", "comment",
                                            "created_at"});
    CHECK(body.at("kind") == "conversation");
    CHECK(body.at("conversation") == 738);
    CHECK(server.rows().at(0).metadata.empty());
}

TEST_CASE("the newer route requires its kind") {
    Server server;
    const Json errors = errors_of(server, R"({"sentiment":"neutral","conversation":1})", new_route);
    CHECK(errors.at("kind").at(0) == "This field is required.");
}

TEST_CASE("a repeated creation is a second row") {
    Server server;
    RawClient client{server.port()};
    for (int round = 1; round <= 2; ++round) {
        client.send(create("the same"));
        CHECK(client.response().json().at("id") == round);
    }
    CHECK(server.row_count() == 2);
    CHECK(server.connection_count() == 1);
}

TEST_CASE("the credential decides the source") {
    Server server;
    exchange(server.port(),
             request("POST", old_route, R"({"sentiment":"neutral","conversation":1})", {},
                     "Bearer token"));
    CHECK(server.rows().at(0).source == "platform");
}

TEST_CASE("comment and conversation id are trimmed as Python does before they are stored") {
    Server server;
    const std::string spaces = "\t\x1f\xC2\x85\xC2\xA0\xE3\x80\x80 ";
    posted(server, old_route,
           Json{{"sentiment", "neutral"},
                {"conversation_id", spaces + "a b" + spaces},
                {"comment", spaces + "x  y" + spaces}}
               .dump());
    REQUIRE(server.row_count() == 1);
    CHECK(server.rows()[0].conversation_id == "a b");
    CHECK(server.rows()[0].comment == "x  y");
}

TEST_CASE("a comment has at most 5000 code points after trimming") {
    Server server;
    std::string emoji;
    for (int index = 0; index < 5000; ++index)
        emoji += "\xF0\x9F\x98\x80";
    Json body{{"sentiment", "neutral"}, {"conversation", 1}, {"comment", emoji + "  "}};
    CHECK(posted(server, old_route, body.dump()).status == 201);
    body["comment"] = emoji + "x";
    CHECK(errors_of(server, body.dump()).at("comment").at(0) ==
          "Ensure this field has no more than 5000 characters.");
    CHECK(server.row_count() == 1);
}

TEST_CASE("fields that fail are told together, each as a list") {
    Server server;
    const Json errors =
        errors_of(server, R"({"sentiment":"meh","comment":["x"],"metadata":[],"conversation":1})");
    CHECK(errors.at("sentiment") == Json::array({"\"meh\" is not a valid choice."}));
    CHECK(errors.at("comment") == Json::array({"Not a valid string."}));
    CHECK(errors.at("metadata").is_array());
    CHECK(server.row_count() == 0);
}

TEST_CASE("what is missing, null or of another type is a 400") {
    Server server;
    CHECK(errors_of(server, R"({"conversation":1})").at("sentiment").at(0) ==
          "This field is required.");
    CHECK(errors_of(server, R"({"sentiment":null,"conversation":1})").contains("sentiment"));
    CHECK(errors_of(server, R"({"sentiment":"Positive","conversation":1})").contains("sentiment"));
    for (const char* ids :
         {"", R"(,"conversation_id":"")", R"(,"conversation_id":"  ")", R"(,"conversation":null)"})
        CHECK(errors_of(server, R"({"sentiment":"neutral")" + std::string{ids} + "}")
                  .contains("conversation_id"));
    for (const char* key : {"0", "-1", "1.5", "true", "9223372036854775808", "\"x\""})
        CHECK(
            errors_of(server, R"({"sentiment":"neutral","conversation":)" + std::string{key} + "}")
                .contains("conversation"));
}

TEST_CASE("a NUL in comment or conversation id is a 400") {
    Server server;
    CHECK(errors_of(server, R"({"sentiment":"neutral","conversation":1,"comment":"a\u0000b"})")
              .contains("comment"));
    CHECK(errors_of(server, R"({"sentiment":"neutral","conversation_id":"a\u0000b"})")
              .contains("conversation_id"));
}

TEST_CASE("an unpaired surrogate in metadata is a 500 after the row was stored") {
    Server server;
    for (const char* bad : {R"("\ud800")", R"("\udc00\ud800")", R"({"\ud83dx":1})"}) {
        const std::size_t before = server.row_count();
        const Response response =
            posted(server, old_route,
                   R"({"sentiment":"neutral","conversation":1,"metadata":{"a":)" +
                       std::string{bad} + "}}");
        CHECK(response.status == 500);
        CHECK(response.field("Content-Type").starts_with("text/html"));
        CHECK(server.row_count() == before + 1);
    }
    const std::string pair =
        R"({"sentiment":"neutral","conversation":1,"metadata":{"a":"\ud83d\ude00 \\ud800"}})";
    CHECK(posted(server, old_route, pair).status == 201);
    CHECK(Json::parse(server.rows().back().metadata).at("a") == "\xF0\x9F\x98\x80 \\ud800");
}

TEST_CASE("an unpaired surrogate in the comment is a 400") {
    Server server;
    CHECK(errors_of(server, R"({"sentiment":"neutral","conversation":1,"comment":"\ud800"})")
              .contains("comment"));
}

TEST_CASE("a body that is not a JSON object is a 400") {
    Server server;
    for (const char* body :
         {"", "{", "[1]", "\"x\"", "{\"sentiment\": NaN}", "\xEF\xBB\xBF{}", "{\"a\":\"\xFF\"}"})
        errors_of(server, body);
    std::string deep(100'000, '[');
    CHECK(errors_of(server, deep).contains("detail"));
    CHECK(server.row_count() == 0);
}

TEST_CASE("without a usable credential nothing is stored") {
    Server server{{.settings = {.api_keys = {"writer"}, .read_keys = {"reader"}}}};
    const auto with = [&](std::string_view authorization) {
        return exchange(server.port(),
                        request("POST", old_route, R"({"sentiment":"neutral","conversation":1})",
                                {}, authorization));
    };
    CHECK(with("").status == 401);
    CHECK(with("").json().at("detail") == "Authentication credentials were not provided.");
    CHECK(with("Token x").json().at("detail") == "Authentication credentials were not provided.");
    CHECK(with("Api-Key other").status == 401);
    CHECK(with("Api-Key other").json().at("detail") == "Invalid API key.");
    CHECK(with("Api-Key reader").status == 403);
    CHECK(with("Api-Key reader").json().contains("detail"));
    CHECK(server.row_count() == 0);
    CHECK(with("Api-Key writer").status == 201);
    server.change_settings([](sandbox::Settings& settings) { settings.unpaid = true; });
    CHECK(with("Api-Key writer").status == 401);
    CHECK(with("Api-Key writer").json().at("detail") ==
          "Agent does not have an active subscription or development phase.");
}

TEST_CASE("strict conversations: an unknown one is a 404 of the API's") {
    Server server{{.settings = {.strict_conversations = true}}};
    const Response unknown = exchange(server.port(), create("x", "nobody"));
    CHECK(unknown.status == 404);
    CHECK(unknown.json().contains("detail"));
    const auto id = server.add_conversation("somebody", 42);
    CHECK(id == 42);
    const Response known = exchange(server.port(), create("x", "somebody"));
    CHECK(known.json().at("conversation") == 42);
}

TEST_CASE("a path without its slash, and any other path, is a 404 page") {
    Server server;
    for (const char* path : {"/api/conversation-feedbacks", "/api/feedbacks", "/", "/api/",
                             "/api/conversations/x/", "/api/other/"}) {
        const Response response =
            posted(server, path, R"({"sentiment":"neutral","conversation":1})");
        CHECK(response.status == 404);
        CHECK(response.field("Content-Type").starts_with("text/html"));
    }
    CHECK(server.row_count() == 0);
}

TEST_CASE("a verb that a route does not offer is a 405") {
    Server server;
    const Response response = exchange(server.port(), get(old_route));
    CHECK(response.status == 405);
    CHECK(response.json().at("detail") == "Method \"GET\" not allowed.");
    CHECK(response.field("Allow") == "POST");
}

TEST_CASE("another content type is a 415") {
    Server server;
    const std::string body = "sentiment=neutral";
    const Response response =
        exchange(server.port(),
                 "POST /api/feedbacks/ HTTP/1.1\r\nHost: x\r\nAuthorization: Api-Key k\r\n"
                 "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 17\r\n"
                 "\r\n" +
                     body);
    CHECK(response.status == 415);
}

TEST_CASE("the clock can be moved") {
    Server server;
    server.set_clock_offset(std::chrono::hours{-24 * 365 * 20});
    const Response response = exchange(server.port(), create());
    const std::string year = response.field("Date").substr(12, 4);
    CHECK(response.json().at("created_at").get<std::string>().substr(0, 4) == year);
    CHECK(std::stoi(year) < 2020);
}

TEST_CASE("metadata can be discarded, and whole seconds told, as has been observed") {
    Server server{{.settings = {.discard_metadata = true, .whole_seconds = true}}};
    const Json body =
        posted(server, old_route, R"({"sentiment":"neutral","conversation":1,"metadata":{"a":1}})")
            .json();
    CHECK(body.at("metadata").empty());
    CHECK(body.at("created_at").get<std::string>().size() == 20);
}
