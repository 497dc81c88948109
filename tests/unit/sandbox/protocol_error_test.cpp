#include <doctest/doctest.h>

#include <algorithm>

#include "raw_client.hpp"
#include "sandbox/server.hpp"

using namespace sandbox_test;
using namespace std::chrono_literals;
using sandbox::Server;

namespace {

std::vector<std::string> kinds(const Server& server) {
    std::vector<std::string> out;
    for (const auto& error : server.errors())
        out.push_back(error.kind);
    return out;
}

/// The kinds recorded for one request, sorted.
std::vector<std::string> recorded(const std::string& bytes) {
    Server server;
    exchange(server.port(), bytes);
    auto out = kinds(server);
    std::sort(out.begin(), out.end());
    return out;
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
    const std::size_t at = text.find(what);
    REQUIRE(at != std::string::npos);
    return text.replace(at, what.size(), with);
}

using Kinds = std::vector<std::string>;

std::string body(const std::string& text) {
    return request("POST", old_route, text);
}

}  // namespace

TEST_CASE("a careful client is not complained about") {
    CHECK(recorded(create()) == Kinds{});
    CHECK(recorded(get("/api/feedbacks/?conversation_id=x&page=1")) == Kinds{});
    CHECK(recorded(get("/api/conversations/?conversation_id=X&full=false&include_deleted=true"
                       "&page_size=1")) == Kinds{});
}

TEST_CASE("what the header lacks is recorded") {
    CHECK(recorded(replaced(create(), "Host: 127.0.0.1\r\n", "")) == Kinds{"missing_host"});
    CHECK(recorded(replaced(create(), "User-Agent: test\r\n", "")) == Kinds{"missing_user_agent"});
    CHECK(recorded(replaced(create(), "Accept: application/json", "Accept: */*")) ==
          Kinds{"accept"});
    CHECK(recorded(replaced(create(), "application/json\r\nContent-L",
                            "text/plain\r\nContent-L")) == Kinds{"content_type"});
    CHECK(recorded(replaced(create(), "HTTP/1.1", "HTTP/1.0")) == Kinds{"version"});
    CHECK(recorded(replaced(create(), "Accept:", "Accept: application/json\r\nAccept:")) ==
          Kinds{"repeated_field"});
    CHECK(recorded(replaced(create(), "User-Agent: test", "User-Agent: t\xC3\xA9st")) ==
          Kinds{"header_bytes"});
}

TEST_CASE("a malformed Authorization is recorded") {
    for (const char* field :
         {"", "Api-Key", "Api-Key ", "api-key k", "Token k", "k", "Api-Key a b"}) {
        CAPTURE(field);
        CHECK(recorded(request("GET", "/api/me/", {}, {}, field)) == Kinds{"authorization"});
    }
}

TEST_CASE("what is wrong about the target is recorded") {
    CHECK(recorded(get("/api/feedbacks")) == Kinds{"trailing_slash", "unknown_route"});
    CHECK(recorded(get("/api/nothing/")) == Kinds{"unknown_route"});
    CHECK(recorded(get("/api/feedbacks/?since=1")) == Kinds{"unknown_filter"});
    CHECK(recorded(get("http://127.0.0.1/api/me/")) == Kinds{"target", "unknown_route"});
}

TEST_CASE("what is wrong about the body is recorded") {
    const std::string valid = R"({"sentiment":"neutral","conversation":1)";
    CHECK(recorded(body(valid + "}")) == Kinds{});
    CHECK(recorded(body("{")) == Kinds{"body_json"});
    CHECK(recorded(body("[]")) == Kinds{"body_json"});
    CHECK(recorded(body(valid + R"(,"sentiment":"neutral"})")) == Kinds{"duplicate_name"});
    CHECK(recorded(body(valid + R"(,"metadata":{"a":{"b":1,"b":2}}})")) == Kinds{"duplicate_name"});
    CHECK(recorded(body(valid + R"(,"timestamp":1})")) == Kinds{"unknown_member"});
    CHECK(recorded(body(valid + R"(,"kind":"conversation"})")) == Kinds{"unknown_member"});
    CHECK(recorded(body(valid + R"(,"comment":""})")) == Kinds{"empty_comment"});
    CHECK(recorded(body(valid + R"(,"comment":null})")) == Kinds{"empty_comment"});
    CHECK(recorded(body(valid + R"(,"metadata":{}})")) == Kinds{"empty_metadata"});
    CHECK(recorded(body(valid + R"(,"conversation_id":"x"})")) == Kinds{"conversation"});
    CHECK(recorded(body(R"({"sentiment":"neutral"})")) == Kinds{"conversation"});
    CHECK(recorded(body(R"({"sentiment":"neutral","conversation":"1"})")) == Kinds{"member_type"});
    CHECK(recorded(body(R"({"sentiment":"neutral","conversation_id":1})")) == Kinds{"member_type"});
    CHECK(recorded(replaced(get("/api/me/"), "\r\n\r\n", "\r\nContent-Length: 2\r\n\r\n{}")) ==
          Kinds{"unexpected_body"});
}

TEST_CASE("a duplicate in the body does not repeat the text anywhere") {
    Server server;
    exchange(server.port(), body(R"({"comment":"a secret word",})"));
    for (const auto& error : server.errors())
        CHECK(error.detail.find("secret") == std::string::npos);
    CHECK(server.errors().size() == 1);
}

TEST_CASE("bytes that are no HTTP are recorded and answered 400") {
    for (const char* bytes :
         {"GARBAGE\r\n\r\n", "GET /api/me/ HTTP/1.1\r\nNo colon\r\n\r\n",
          "GET /api/me/ HTTP/3.0\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"}) {
        CAPTURE(bytes);
        Server server;
        RawClient client{server.port()};
        client.send(bytes);
        CHECK(client.response().status == 400);
        CHECK(client.rest() == End::eof);
        CHECK(kinds(server) == Kinds{"bad_http"});
        CHECK(server.requests().empty());
    }
}

TEST_CASE("a header or a body too large is recorded and refused") {
    Server server;
    const Response header =
        exchange(server.port(), request("GET", "/api/me/", {}, "X: " + std::string(20'000, 'x')));
    CHECK(header.status == 431);
    RawClient client{server.port()};
    client.send(replaced(request("POST", old_route, "{}"), "Content-Length: 2",
                         "Content-Length: 99999999"));
    CHECK(client.response().status == 413);
    CHECK(kinds(server) == Kinds{"bad_http", "bad_http"});
}

TEST_CASE("a request that never becomes whole is recorded") {
    Server server;
    RawClient client{server.port()};
    const std::string whole = create();
    client.send(std::string_view{whole}.substr(0, whole.size() - 3));
    client.close();
    // The next connection's answer comes after the first one's end was seen, or soon.
    const auto deadline = std::chrono::steady_clock::now() + 5s;
    while (server.errors().empty() && std::chrono::steady_clock::now() < deadline)
        exchange(server.port(), get("/api/me/"));
    CHECK(kinds(server) == Kinds{"closed_mid_request"});
    CHECK(server.row_count() == 0);
}

TEST_CASE("a request whose rest does not come in time is recorded") {
    Server server{{.settings = {.keep_alive_ms = 1}}};
    RawClient client{server.port()};
    client.send("POST /api/feedbacks/ HTTP/1.1\r\nHost: x\r\n");
    CHECK(client.rest() == End::eof);
    CHECK(kinds(server) == Kinds{"incomplete_request"});
}

TEST_CASE("bytes sent before the answer are recorded, and answered in turn") {
    Server server;
    RawClient client{server.port()};
    client.send(create("one") + create("two"));
    CHECK(client.response().json().at("comment") == "one");
    CHECK(client.response().json().at("comment") == "two");
    CHECK(kinds(server) == Kinds{"pipelined"});
}

TEST_CASE("a length too short shows as bytes before the answer") {
    Server server;
    RawClient client{server.port()};
    client.send(replaced(body("{} "), "Content-Length: 3", "Content-Length: 2"));
    CHECK(client.response().status == 400);
    const auto found = kinds(server);
    CHECK(std::count(found.begin(), found.end(), "pipelined") == 1);
}

TEST_CASE("a body in chunks, and one that waits for 100, are understood") {
    Server server;
    const std::string text = R"({"sentiment":"neutral","conversation":1})";
    std::string chunked = replaced(body(text), "Content-Length: 40", "Transfer-Encoding: chunked");
    chunked = replaced(chunked, text, "28\r\n" + text + "\r\n0\r\n\r\n");
    CHECK(exchange(server.port(), chunked).status == 201);
    RawClient client{server.port()};
    const std::string waiting = request("POST", old_route, text, "Expect: 100-continue\r\n");
    client.send(std::string_view{waiting}.substr(0, waiting.size() - text.size()));
    CHECK(client.response().status == 100);
    client.send(text);
    CHECK(client.response().status == 201);
    CHECK(server.errors().empty());
}

TEST_CASE("requests are logged as they came") {
    Server server;
    RawClient client{server.port()};
    const std::string text = R"({ "sentiment": "neutral", "conversation": 1 })";
    client.send(request("POST", old_route, text, "Idempotency-Key: k-1\r\nX-a: 1\r\n"));
    client.response();
    client.send(get("/api/me/?x=1"));
    client.response();
    const auto requests = server.requests();
    REQUIRE(requests.size() == 2);
    CHECK(requests[0].number == 1);
    CHECK(requests[0].connection == 1);
    CHECK(requests[0].method == "POST");
    CHECK(requests[0].body == text);
    CHECK(requests[0].header("authorization") == "Api-Key ags_test");
    CHECK(requests[0].header("IDEMPOTENCY-KEY") == "k-1");
    CHECK(requests[0].headers.back() == std::pair<std::string, std::string>{"X-a", "1"});
    CHECK(requests[0].status == 201);
    CHECK(requests[0].row_id == 1);
    CHECK(requests[0].answered_us >= requests[0].received_us);
    CHECK(requests[1].target == "/api/me/?x=1");
    CHECK(requests[1].connection == 1);
}

TEST_CASE("the log is bounded: the oldest go first") {
    Server server{{.request_log = 2}};
    for (int round = 0; round < 3; ++round)
        exchange(server.port(), create());
    REQUIRE(server.requests().size() == 2);
    CHECK(server.requests()[0].number == 2);
    CHECK(server.requests()[1].status == 201);
}
