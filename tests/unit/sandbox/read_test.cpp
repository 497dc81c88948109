#include <doctest/doctest.h>

#include "raw_client.hpp"
#include "sandbox/server.hpp"

using namespace sandbox_test;
using sandbox::Server;

namespace {

Json read(const Server& server, const std::string& target) {
    const Response response = exchange(server.port(), get(target));
    CHECK(response.status == 200);
    return response.json();
}

std::vector<int> ids(const Json& list) {
    std::vector<int> out;
    for (const Json& row : list.at("results"))
        out.push_back(row.at("id").get<int>());
    return out;
}

void fill(const Server& server, int count, const std::string& name = "conv") {
    RawClient client{server.port()};
    for (int index = 1; index <= count; ++index) {
        client.send(create("comment " + std::to_string(index), name));
        REQUIRE(client.response().status == 201);
    }
}

using Ids = std::vector<int>;

}  // namespace

TEST_CASE("the list pages by 15, at most 100, newest first") {
    Server server;
    fill(server, 120);
    const Json first = read(server, "/api/feedbacks/");
    CHECK(first.at("count") == 120);
    CHECK(first.at("page_size") == 15);
    CHECK(first.at("total_pages") == 8);
    CHECK(first.at("current_page") == 1);
    CHECK(first.at("previous").is_null());
    CHECK(first.at("next") == "http://127.0.0.1/api/feedbacks/?page=2");
    CHECK(ids(first).front() == 120);
    CHECK(ids(first).size() == 15);
    CHECK(ids(read(server, "/api/feedbacks/?page_size=1000")).size() == 100);
    const Json last = read(server, "/api/feedbacks/?page_size=100&page=2");
    CHECK(ids(last).size() == 20);
    CHECK(last.at("next").is_null());
    const Response beyond = exchange(server.port(), get("/api/feedbacks/?page=9"));
    CHECK(beyond.status == 404);
    CHECK(beyond.json().at("detail") == "Invalid page.");
}

TEST_CASE("older servers send the shorter envelope") {
    Server server{{.settings = {.older_envelope = true}}};
    fill(server, 1);
    const Json list = read(server, "/api/feedbacks/");
    CHECK(list.contains("count"));
    CHECK(list.contains("next"));
    CHECK_FALSE(list.contains("page_size"));
    CHECK_FALSE(list.contains("total_pages"));
}

TEST_CASE("each filter of the list narrows it, an unknown one does not") {
    Server server;
    fill(server, 2, "first");
    fill(server, 1, " second conv ");
    exchange(server.port(), post(old_route, {{"sentiment", "negative"}, {"conversation", 1}}));
    const auto listed = [&](const std::string& query) {
        return ids(read(server, "/api/feedbacks/?ordering=id&" + query));
    };
    CHECK(listed("conversation_id=first") == Ids{1, 2, 4});
    CHECK(listed("conversation_id=second%20conv") == Ids{3});
    CHECK(listed("conversation_id=+second+conv+") == Ids{3});
    CHECK(listed("conversation=1") == Ids{1, 2, 4});
    CHECK(listed("conversation=99") == Ids{});
    CHECK(listed("sentiment=negative") == Ids{4});
    CHECK(listed("has_comment=false") == Ids{4});
    CHECK(listed("has_comment=true") == Ids{1, 2, 3});
    CHECK(listed("kind=conversation").size() == 4);
    CHECK(listed("kind=message").empty());
    CHECK(listed("nonsense=1").size() == 4);
    CHECK(server.errors().back().kind == "unknown_filter");
}

TEST_CASE("the list's times are bounds that include") {
    Server server;
    fill(server, 1);
    server.set_clock_offset(std::chrono::hours{1});
    fill(server, 1);
    const Json rows = read(server, "/api/feedbacks/?ordering=created_at").at("results");
    const auto first = rows[0].at("created_at").get<std::string>();
    const auto second = rows[1].at("created_at").get<std::string>();
    CHECK(ids(read(server, "/api/feedbacks/?created_at_after=" + second)) == Ids{2});
    CHECK(ids(read(server, "/api/feedbacks/?created_at_after=" + first)) == Ids{2, 1});
    CHECK(ids(read(server, "/api/feedbacks/?created_at_before=" + first)) == Ids{1});
    const std::string hour_east = first.substr(0, first.size() - 1) + "%2B01:00";
    CHECK(ids(read(server, "/api/feedbacks/?created_at_after=" + hour_east)) == Ids{2, 1});
    for (const char* bad :
         {"yesterday", "2026-13-01", "2026-01-01T25:00:00Z", "2026-01-01T00:00:00+00:00"})
        CHECK(exchange(server.port(), get("/api/feedbacks/?created_at_after=" + std::string{bad}))
                  .status == 400);
}

TEST_CASE("the list orders by time or id, both ways") {
    Server server;
    fill(server, 1);
    server.set_clock_offset(std::chrono::hours{-1});
    fill(server, 1);
    CHECK(ids(read(server, "/api/feedbacks/?ordering=id")) == Ids{1, 2});
    CHECK(ids(read(server, "/api/feedbacks/?ordering=-id")) == Ids{2, 1});
    CHECK(ids(read(server, "/api/feedbacks/?ordering=created_at")) == Ids{2, 1});
    CHECK(ids(read(server, "/api/feedbacks/?ordering=-created_at")) == Ids{1, 2});
}

TEST_CASE("a filter's value the list does not know is a 400 of the API's") {
    Server server;
    for (const char* query : {"sentiment=meh", "conversation=x"}) {
        const Response response =
            exchange(server.port(), get("/api/feedbacks/?" + std::string{query}));
        CHECK(response.status == 400);
        CHECK(response.json().is_object());
    }
}

TEST_CASE("a conversation shows its feedbacks") {
    Server server;
    fill(server, 2, "first");
    fill(server, 1, "second");
    const Json conversation = read(server, "/api/conversations/1/");
    CHECK(conversation.at("id") == 1);
    CHECK(conversation.at("conversation_id") == "first");
    REQUIRE(conversation.at("feedbacks").size() == 2);
    CHECK(conversation.at("feedbacks")[0].at("source") == "customer");
    CHECK(conversation.at("feedbacks")[1].at("comment") == "comment 2");
    const Response unknown = exchange(server.port(), get("/api/conversations/99/"));
    CHECK(unknown.status == 404);
    CHECK(unknown.json().at("detail") == "Not found.");
    server.change_settings([](sandbox::Settings& settings) { settings.hide_source = true; });
    CHECK_FALSE(read(server, "/api/conversations/1/").at("feedbacks")[0].contains("source"));
}

TEST_CASE("a conversation is found by its business id, in the list and by the helper") {
    Server server;
    server.add_conversation("other");
    server.add_conversation("a/b c", 42);
    const Json found = read(server,
                            "/api/conversations/?conversation_id=a%2Fb%20c&full=false"
                            "&include_deleted=true&page_size=1");
    CHECK(found.at("count") == 1);
    CHECK(found.at("results")[0].at("id") == 42);
    CHECK(read(server, "/api/conversations/?conversation_id=none").at("results").empty());
    CHECK(read(server, "/api/conversations/lookup/?conversation_id=a%2Fb+c") == Json{{"id", 42}});
    CHECK(exchange(server.port(), get("/api/conversations/lookup/?conversation_id=x")).status ==
          404);
    CHECK(exchange(server.port(), get("/api/conversations/lookup/")).json().contains("error"));
    CHECK(server.errors().empty());
}

TEST_CASE("the credential's owner is told its role") {
    Server server{{.settings = {.read_keys = {"reader"}}}};
    CHECK(read(server, "/api/me/").at("role") == "write");
    const Response reader =
        exchange(server.port(), request("GET", "/api/me/", {}, {}, "Api-Key reader"));
    CHECK(reader.json().at("role") == "read");
}

TEST_CASE("a client that does not ask for JSON is shown a page") {
    Server server;
    const Response page = exchange(server.port(),
                                   "GET /api/me/ HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n"
                                   "Authorization: Api-Key k\r\n\r\n");
    CHECK(page.status == 200);
    CHECK(page.field("Content-Type").starts_with("text/html"));
    CHECK(page.body.find("agent_id") != std::string::npos);
}

TEST_CASE("a row a moderator removed is not shown") {
    Server server;
    fill(server, 2);
    CHECK(server.remove_row(1));
    CHECK_FALSE(server.remove_row(1));
    CHECK(ids(read(server, "/api/feedbacks/")) == Ids{2});
    CHECK(server.row_count() == 1);
    CHECK(server.rows().at(0).id == 2);
}
