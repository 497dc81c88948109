#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "net/http_codec.hpp"

using namespace agentsight;
using net::Response;
using net::ResponseReader;
using State = ResponseReader::State;
using core::Failure;

namespace {

/// Feeds `bytes` in pieces of `step`; stops at the first state that is not `more`.
State feed(ResponseReader& reader, std::string_view bytes, std::size_t step = 4096) {
    State state = State::more;
    while (!bytes.empty() && state == State::more) {
        const auto room = reader.room();
        REQUIRE(!room.empty());
        const std::size_t size = std::min({step, room.size(), bytes.size()});
        std::memcpy(room.data(), bytes.data(), size);
        bytes.remove_prefix(size);
        state = reader.received(size);
    }
    return state;
}

struct Fed {
    State state = State::more;
    Failure failure = Failure::none;
    std::string detail;
    Response response;
    bool leftover = false;
};

Fed read(std::string_view bytes, std::size_t step = 4096,
         ResponseReader::Kind kind = ResponseReader::Kind::ordinary) {
    ResponseReader reader{{}};
    reader.start(kind);
    Fed fed;
    fed.state = feed(reader, bytes, step);
    fed.failure = reader.failure();
    fed.detail = reader.detail();
    fed.leftover = reader.leftover();
    if (fed.state == State::complete) {
        fed.response = reader.take();
    }
    return fed;
}

const std::string with_length =
    "HTTP/1.1 201 Created\r\nContent-Type: application/json; charset=utf-8\r\n"
    "Date: Mon, 15 Jan 2024 10:40:00 GMT\r\nContent-Length: 9\r\n\r\n{\"id\":10}";
const std::string with_chunks =
    "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
    "5\r\n{\"id\"\r\n4;x=y\r\n:10}\r\n0\r\nTrailer: t\r\n\r\n";
const std::string empty_chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";

}  // namespace

TEST_CASE("a request is one text: head, fields, body") {
    core::SecretText out;
    out.renew(0) = "what stood here before";
    REQUIRE(net::serialize({.method = "POST",
                            .target = "/v1/api/feedbacks/",
                            .host = "api.example:8443",
                            .user_agent = "agentsight-outbox/1",
                            .authorization = "Api-Key ags_1",
                            .idempotency_key = "id-1",
                            .body = "{}"},
                           out));
    CHECK(out.text() ==
          "POST /v1/api/feedbacks/ HTTP/1.1\r\nHost: api.example:8443\r\n"
          "User-Agent: agentsight-outbox/1\r\nAuthorization: Api-Key ags_1\r\n"
          "Accept: application/json\r\nAccept-Encoding: identity\r\nIdempotency-Key: id-1\r\n"
          "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
}

TEST_CASE("a get has no body, no type and no empty fields") {
    core::SecretText out;
    REQUIRE(net::serialize({.method = "GET", .target = "/api/me/", .host = "h", .user_agent = "u"},
                           out));
    CHECK(out.text() ==
          "GET /api/me/ HTTP/1.1\r\nHost: h\r\nUser-Agent: u\r\nAccept: application/json\r\n"
          "Accept-Encoding: identity\r\n\r\n");
}

TEST_CASE("a value with a line break or NUL is not serialized") {
    for (const char bad : {'\r', '\n', '\0'}) {
        const std::string value = std::string{"a"} + bad + "b";
        core::SecretText out;
        CHECK_FALSE(net::serialize({.method = "GET", .target = value, .host = "h"}, out));
        CHECK_FALSE(net::serialize({.method = "GET", .target = "/", .host = value}, out));
        CHECK_FALSE(net::serialize(
            {.method = "GET", .target = "/", .host = "h", .user_agent = value}, out));
        CHECK_FALSE(net::serialize(
            {.method = "GET", .target = "/", .host = "h", .authorization = value}, out));
        CHECK_FALSE(net::serialize(
            {.method = "GET", .target = "/", .host = "h", .proxy_authorization = value}, out));
        CHECK_FALSE(net::serialize(
            {.method = "GET", .target = "/", .host = "h", .idempotency_key = value}, out));
    }
}

TEST_CASE("a response is the same in pieces of any size") {
    for (std::size_t step = 1; step < with_length.size(); ++step) {
        CAPTURE(step);
        const Fed fed = read(with_length, step);
        REQUIRE(fed.state == State::complete);
        CHECK(fed.response.status == 201);
        CHECK(fed.response.json);
        CHECK(fed.response.body == R"({"id":10})");
        CHECK(fed.response.date == "Mon, 15 Jan 2024 10:40:00 GMT");
        CHECK(fed.response.keep_alive);
        const Fed chunked = read(with_chunks, step);
        REQUIRE(chunked.state == State::complete);
        CHECK(chunked.response.body == R"({"id":10})");
        CHECK(chunked.response.json);  // nothing is said
        const Fed empty = read(empty_chunks, step);
        REQUIRE(empty.state == State::complete);
        CHECK(empty.response.body.empty());
    }
}

TEST_CASE("H6: a response cut at any byte is not complete") {
    for (const std::string& whole : {with_length, with_chunks, empty_chunks}) {
        for (std::size_t size = 0; size < whole.size(); ++size) {
            CAPTURE(size);
            CHECK(read(whole.substr(0, size)).state == State::more);
            CHECK(read(whole.substr(0, size), 1).state == State::more);
        }
    }
}

TEST_CASE("a body that ends with the connection is refused before it is read") {
    const Fed fed = read("HTTP/1.1 201 Created\r\n\r\n{\"id\":10}");
    CHECK(fed.failure == Failure::malformed);
    CHECK(fed.detail == "the answer's body has neither length nor chunks");
    CHECK(read("HTTP/1.0 200 OK\r\n\r\n").failure == Failure::malformed);
    CHECK(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx").failure ==
          Failure::malformed);
}

TEST_CASE("a status that HTTP does not have is malformed") {
    for (const char* status : {"000", "099", "600", "999", "20", "2000", "-01", "abc"}) {
        CAPTURE(status);
        const Fed fed =
            read(std::string{"HTTP/1.1 "} + status + " Words\r\nContent-Length: 0\r\n\r\n");
        CHECK(fed.failure == Failure::malformed);
    }
}

TEST_CASE("statuses without a body need no length") {
    for (const char* status : {"204 No Content", "304 Not Modified"}) {
        const Fed fed = read(std::string{"HTTP/1.1 "} + status + "\r\n\r\n");
        CHECK(fed.state == State::complete);
        CHECK(fed.response.body.empty());
    }
}

TEST_CASE("H5: interim responses are skipped, but not without end") {
    const std::string interim =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    for (const std::size_t step : {1, 7, 4096}) {
        const Fed fed = read(interim + with_length, step);
        REQUIRE(fed.state == State::complete);
        CHECK(fed.response.status == 201);
    }
    std::string many;
    for (int i = 0; i < ResponseReader::most_interim; ++i) {
        many += "HTTP/1.1 102 Processing\r\n\r\n";
    }
    CHECK(read(many + with_length).state == State::complete);
    const Fed endless = read(many + "HTTP/1.1 102 Processing\r\n\r\n" + with_length);
    CHECK(endless.failure == Failure::malformed);
    CHECK(endless.detail == "too many interim responses");
}

TEST_CASE("a switch of protocols is malformed") {
    const Fed fed = read("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n");
    CHECK(fed.failure == Failure::malformed);
}

TEST_CASE("H35: a compressed answer is malformed, identity is not") {
    const auto encoded = [](const std::string& name) {
        return read("HTTP/1.1 200 OK\r\nContent-Encoding: " + name +
                    "\r\nContent-Length: 2\r\n\r\n{}");
    };
    CHECK(encoded("gzip").failure == Failure::malformed);
    CHECK(encoded("gzip").detail == "the answer is compressed (gzip), which was not asked for");
    CHECK(encoded("br\x1b[2J").failure == Failure::malformed);
    CHECK(encoded("Identity").state == State::complete);
}

TEST_CASE("H20: two lengths, a length beside chunks, two encodings are malformed") {
    CHECK(read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x").failure ==
          Failure::malformed);
    CHECK(read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
               "0\r\n\r\n")
              .failure == Failure::malformed);
    CHECK(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n").failure ==
          Failure::malformed);
    for (const std::string coding : {"gzip", "identity", "", "chunked, gzip", "chunked;q=1"}) {
        CAPTURE(coding);
        const std::string field = "Transfer-Encoding: " + coding + "\r\n";
        const std::string length = "Content-Length: 9\r\n";
        for (const std::string& fields : {field + length, length + field}) {
            CHECK(read("HTTP/1.1 201 Created\r\n" + fields + "\r\n{\"id\":10}").failure ==
                  Failure::malformed);
        }
    }
    CHECK(read("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n").failure == Failure::malformed);
    CHECK(read("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n").failure ==
          Failure::malformed);
    CHECK(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n").failure ==
          Failure::malformed);
    CHECK(read("SSH-2.0-OpenSSH_9\r\n\r\n").failure == Failure::malformed);
}

TEST_CASE("H18: header and body are limited, wherever the limit is met") {
    const std::string filler(9 * 1024, 'x');
    for (const std::size_t step : {1, 1000, 4096}) {
        CHECK(read("HTTP/1.1 200 OK\r\nX: " + filler, step).failure == Failure::too_large);
        CHECK(read("HTTP/1.1 200 " + filler, step).failure == Failure::too_large);
    }
    CHECK(read("HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n").failure == Failure::too_large);
    const std::string most(64 * 1024, 'y');
    const Fed full = read("HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n" + most);
    REQUIRE(full.state == State::complete);
    CHECK(full.response.body == most);
    std::string chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 17; ++i) {
        chunks += "1000\r\n" + std::string(4096, 'z') + "\r\n";
    }
    CHECK(read(chunks).failure == Failure::too_large);
    // A chunk's own line and the trailer are limited by what is kept unread.
    const std::string line = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;";
    CHECK(read(line + std::string(20 * 1024, 'e')).failure != Failure::none);
}

TEST_CASE("an answer may be as much larger as its request was, and the next one may not") {
    ResponseReader reader{{}};
    const std::string head = "HTTP/1.1 201 Created\r\nContent-Length: ";
    const std::string body(64 * 1024 + 1000, 'y');
    const std::string answer = head + std::to_string(body.size()) + "\r\n\r\n" + body;
    reader.start(ResponseReader::Kind::ordinary, 1000);
    REQUIRE(feed(reader, "HTTP/1.1 103 Early Hints\r\n\r\n" + answer) == State::complete);
    CHECK(reader.take().body == body);
    reader.start(ResponseReader::Kind::ordinary, 999);
    CHECK(feed(reader, answer) == State::failed);
    CHECK(reader.failure() == Failure::too_large);
    ResponseReader other{{}};
    other.start(ResponseReader::Kind::ordinary, 1000);
    REQUIRE(feed(other, with_length) == State::complete);
    other.take();
    other.start();
    CHECK(feed(other, head + "65537\r\n\r\n") == State::failed);
}

TEST_CASE("whether the server keeps the connection") {
    const auto kept = [](const std::string& head) {
        return read(head + "Content-Length: 2\r\n\r\n{}").response.keep_alive;
    };
    CHECK(kept("HTTP/1.1 200 OK\r\n"));
    CHECK_FALSE(kept("HTTP/1.1 200 OK\r\nConnection: close\r\n"));
    CHECK_FALSE(kept("HTTP/1.1 200 OK\r\nConnection: foo, Close\r\n"));
    CHECK_FALSE(kept("HTTP/1.0 200 OK\r\n"));
    CHECK(kept("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"));
}

TEST_CASE("the hint how long an idle connection is kept") {
    const auto hint = [](const std::string& value) {
        return read("HTTP/1.1 200 OK\r\nKeep-Alive: " + value + "\r\nContent-Length: 2\r\n\r\n{}")
            .response.idle_seconds;
    };
    CHECK(hint("timeout=5, max=100") == 5);
    CHECK(hint("max=100 , Timeout = 15") == 15);
    CHECK(hint("timeout=-3") == 0);
    CHECK_FALSE(hint("timeout=99999999999999").has_value());
    CHECK_FALSE(hint("timeout=abc").has_value());
    CHECK_FALSE(hint("timeout").has_value());
    CHECK_FALSE(hint(", ,=,").has_value());
}

TEST_CASE("which media types are JSON") {
    const auto json = [](const std::string& type) {
        return read("HTTP/1.1 200 OK\r\nContent-Type: " + type + "\r\nContent-Length: 2\r\n\r\n{}")
            .response.json;
    };
    CHECK(json("application/json"));
    CHECK(json("Application/JSON ; charset=utf-8"));
    CHECK(json("application/problem+json"));
    CHECK(json(""));
    CHECK_FALSE(json("text/html"));
    CHECK_FALSE(json("application/jsonp"));
    CHECK_FALSE(json("application/+json"));
    CHECK_FALSE(json("text/plain; a=application/json"));
}

TEST_CASE("bytes after the response are leftover") {
    const Fed fed = read(with_length + "H");
    CHECK(fed.state == State::complete);
    CHECK(fed.leftover);
    CHECK_FALSE(read(with_length).leftover);
}

TEST_CASE("a reader reads one response after another") {
    ResponseReader reader{{}};
    for (int i = 0; i < 3; ++i) {
        reader.start();
        REQUIRE(feed(reader, i % 2 == 0 ? with_length : with_chunks, 11) == State::complete);
        CHECK(reader.take().body == R"({"id":10})");
        CHECK_FALSE(reader.leftover());
    }
}

TEST_CASE("the answer to CONNECT ends with its head") {
    const auto connect = ResponseReader::Kind::connect;
    CHECK(read("HTTP/1.1 200 Connection established\r\n\r\n", 1, connect).response.status == 200);
    CHECK(read("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", 9, connect).response.status == 200);
    const Fed denied = read("HTTP/1.1 407 Auth\r\nContent-Length: 9999999\r\n\r\n", 4096, connect);
    CHECK(denied.response.status == 407);
    CHECK(read("HTTP/1.1 200 OK\r\n\r\n<html>", 4096, connect).leftover);
}
