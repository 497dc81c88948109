#include <doctest/doctest.h>

#include "raw_client.hpp"
#include "sandbox/server.hpp"

using namespace sandbox_test;
using namespace std::chrono_literals;
using sandbox::Fault;
using sandbox::FaultKind;
using sandbox::Server;

namespace {

using SteadyClock = std::chrono::steady_clock;

/// What a client sees of one creation under one fault: how the connection ended, and
/// every byte that came.
struct Seen {
    End end;
    std::string bytes;
};

Seen see(const Server& server, const std::string& sent = create()) {
    RawClient client{server.port()};
    client.send(sent);
    const End end = client.rest(5s);
    return {end, client.in};
}

bool ends_as(const std::string& text, std::string_view end) {
    return text.ends_with(end);
}

}  // namespace

TEST_CASE("status: any status, with the body and the headers asked for, and no row") {
    Server server;
    server.add_fault({.kind = FaultKind::status, .times = 1, .status = 503, .retry_after = "7"});
    const Response json = exchange(server.port(), create());
    CHECK(json.status == 503);
    CHECK(json.field("Retry-After") == "7");
    CHECK(json.json().contains("detail"));
    server.add_fault({.kind = FaultKind::status, .times = 1, .status = 502, .body = "html"});
    CHECK(exchange(server.port(), create()).field("Content-Type").starts_with("text/html"));
    server.add_fault({.kind = FaultKind::status,
                      .times = 1,
                      .status = 307,
                      .body = "empty",
                      .location = "http://elsewhere.invalid/"});
    const Response empty = exchange(server.port(), create());
    CHECK(empty.status == 307);
    CHECK(empty.body.empty());
    CHECK(empty.field("Location") == "http://elsewhere.invalid/");
    server.add_fault({.kind = FaultKind::status, .times = 1, .status = 201, .body = "{\"id\": 9}"});
    CHECK(exchange(server.port(), create()).json().at("id") == 9);
    CHECK(server.row_count() == 0);
    CHECK(exchange(server.port(), create()).status == 201);
}

TEST_CASE("status with store, and error_after_store: the row is there, the answer denies it") {
    Server server;
    server.add_fault({.kind = FaultKind::status, .times = 1, .status = 500, .store = true});
    CHECK(exchange(server.port(), create()).status == 500);
    CHECK(server.row_count() == 1);
    server.add_fault({.kind = FaultKind::error_after_store, .status = 504});
    CHECK(exchange(server.port(), create()).status == 504);
    CHECK(server.row_count() == 2);
}

TEST_CASE("drop_before: the connection ends and there is no row") {
    for (const bool reset : {false, true}) {
        Server server;
        server.add_fault({.kind = FaultKind::drop_before, .reset = reset});
        const Seen seen = see(server);
        CHECK(seen.end == (reset ? End::reset : End::eof));
        CHECK(seen.bytes.empty());
        CHECK(server.row_count() == 0);
    }
}

TEST_CASE("drop_after: the connection ends without a reply and the row is there") {
    for (const bool reset : {false, true}) {
        Server server;
        server.add_fault({.kind = FaultKind::drop_after, .reset = reset});
        const Seen seen = see(server);
        CHECK(seen.end == (reset ? End::reset : End::eof));
        CHECK(seen.bytes.empty());
        CHECK(server.row_count() == 1);
        CHECK(server.requests().at(0).row_id == 1);
        CHECK(server.requests().at(0).status == 0);
    }
}

TEST_CASE("faults about storing leave reading alone") {
    Server server;
    server.add_fault({.kind = FaultKind::drop_after, .times = 1});
    CHECK(exchange(server.port(), get("/api/feedbacks/")).status == 200);
    CHECK(see(server).bytes.empty());
}

TEST_CASE("cut: the reply ends after so many bytes, or before so many") {
    Server server;
    RawClient whole{server.port()};
    whole.send(request("POST", old_route, R"({"sentiment":"neutral","conversation":1})"));
    whole.response();
    for (const int at : {0, 1, 12, 40, -1, -20}) {
        server.clear_faults();
        server.add_fault({.kind = FaultKind::cut, .at = at});
        const Seen seen = see(server);
        CHECK(seen.end == End::eof);
        if (at >= 0)
            CHECK(seen.bytes.size() == static_cast<std::size_t>(at));
        else
            CHECK_FALSE(ends_as(seen.bytes, "}"));
    }
    CHECK(server.row_count() == 7);
}

TEST_CASE("cut without a place cuts within the body") {
    Server server;
    server.add_fault({.kind = FaultKind::cut});
    const Seen seen = see(server);
    CHECK(seen.bytes.find("\r\n\r\n{") != std::string::npos);
    CHECK_FALSE(ends_as(seen.bytes, "}"));
}

TEST_CASE("hang: the request is read and never answered, stored if asked") {
    for (const bool store : {false, true}) {
        Server server;
        server.add_fault({.kind = FaultKind::hang, .store = store});
        RawClient client{server.port()};
        client.send(create());
        REQUIRE(server.wait_for_requests(1, 5s));
        if (store)
            CHECK(server.wait_for_rows(1, 5s));
        CHECK(client.receive(50ms) == End::silence);
        CHECK(server.row_count() == (store ? 1 : 0));
    }
}

TEST_CASE("hang_connect: the connection stands and nothing is read") {
    Server server;
    server.add_fault({.kind = FaultKind::hang_connect, .times = 1});
    RawClient client{server.port()};
    CHECK(client.connected());
    client.send(create());
    CHECK(client.receive(50ms) == End::silence);
    CHECK(server.requests().empty());
    CHECK(exchange(server.port(), create()).status == 201);
}

TEST_CASE("reset_accept: the connection is reset at once") {
    Server server;
    server.add_fault({.kind = FaultKind::reset_accept, .times = 1});
    RawClient client{server.port()};
    CHECK(client.rest() == End::reset);
    CHECK(exchange(server.port(), create()).status == 201);
}

TEST_CASE("slow_accept and latency: the answer waits") {
    for (const FaultKind kind : {FaultKind::slow_accept, FaultKind::latency}) {
        Server server;
        server.add_fault({.kind = kind, .times = 1, .ms = 60});
        const auto began = SteadyClock::now();
        CHECK(exchange(server.port(), create()).status == 201);
        CHECK(SteadyClock::now() - began >= 60ms);
    }
}

TEST_CASE("drip: the reply comes byte by byte") {
    Server server;
    server.add_fault({.kind = FaultKind::drip, .bytes = 40, .interval_ms = 5});
    RawClient client{server.port()};
    const auto began = SteadyClock::now();
    client.send(create());
    const Response response = client.response();
    CHECK(response.status == 201);
    CHECK(response.json().at("id") == 1);
    const auto steps = (response.head.size() + 2 + response.body.size()) / 40;
    CHECK(SteadyClock::now() - began >= milliseconds{5 * steps - 5});
}

TEST_CASE("throttle: 429 with Retry-After beyond so many requests in a window") {
    Server server;
    server.add_fault({.kind = FaultKind::throttle, .requests = 2, .per_ms = 60'000});
    CHECK(exchange(server.port(), create()).status == 201);
    CHECK(exchange(server.port(), create()).status == 201);
    const Response third = exchange(server.port(), create());
    CHECK(third.status == 429);
    const int wait = std::stoi(third.field("Retry-After"));
    CHECK(wait >= 1);
    CHECK(wait <= 60);
    CHECK(third.json().at("detail") == "Request was throttled. Expected available in " +
                                           third.field("Retry-After") + " seconds.");
    CHECK(server.row_count() == 2);
}

TEST_CASE("throttle: a window that is over lets requests through again") {
    Server server;
    server.add_fault({.kind = FaultKind::throttle, .requests = 1, .per_ms = 1});
    const auto deadline = SteadyClock::now() + 5s;
    while (server.row_count() < 3 && SteadyClock::now() < deadline)
        exchange(server.port(), create());
    CHECK(server.row_count() == 3);
}

TEST_CASE("route_removed: one generation's routes answer a 404 page, the other's live") {
    Server server;
    const auto id = server.add_fault({.kind = FaultKind::route_removed, .generation = "old"});
    const Response gone = exchange(server.port(), create());
    CHECK(gone.status == 404);
    CHECK(gone.field("Content-Type").starts_with("text/html"));
    const Json body{{"kind", "conversation"}, {"sentiment", "neutral"}, {"conversation", 1}};
    CHECK(exchange(server.port(), post(new_route, body)).status == 201);
    server.remove_fault(id);
    server.add_fault({.kind = FaultKind::route_removed, .generation = "new"});
    CHECK(exchange(server.port(), post(new_route, body)).status == 404);
    CHECK(exchange(server.port(), get("/api/me/")).status == 404);
    CHECK(exchange(server.port(), create()).status == 201);
}

TEST_CASE("captive_portal: every route answers a page, or leads to one") {
    Server server;
    const auto id = server.add_fault({.kind = FaultKind::captive_portal});
    for (const std::string& sent : {create(), get("/api/feedbacks/"), get("/api/me/")}) {
        const Response response = exchange(server.port(), sent);
        CHECK(response.status == 200);
        CHECK(response.field("Content-Type").starts_with("text/html"));
    }
    server.remove_fault(id);
    server.add_fault({.kind = FaultKind::captive_portal, .status = 302});
    CHECK(exchange(server.port(), create()).field("Location") == "http://portal.invalid/login");
    CHECK(server.row_count() == 0);
}

TEST_CASE("late: the row comes after the answer said it would not") {
    Server server;
    server.add_fault({.kind = FaultKind::late, .times = 1, .ms = 100});
    CHECK(exchange(server.port(), create()).status == 504);
    CHECK(server.row_count() == 0);
    CHECK(server.wait_for_rows(1, 5s));
    server.add_fault({.kind = FaultKind::late, .status = 0, .ms = 0});
    CHECK(see(server).bytes.empty());
    CHECK(server.wait_for_rows(2, 5s));
}

TEST_CASE("stale_list: young rows are there and not shown") {
    Server server;
    const auto id = server.add_fault({.kind = FaultKind::stale_list, .ms = 3'600'000});
    CHECK(exchange(server.port(), create()).status == 201);
    CHECK(exchange(server.port(), get("/api/feedbacks/")).json().at("count") == 0);
    CHECK(exchange(server.port(), get("/api/conversations/1/")).json().at("feedbacks").empty());
    server.remove_fault(id);
    CHECK(exchange(server.port(), get("/api/feedbacks/")).json().at("count") == 1);
}

TEST_CASE("interim: answers before the answer") {
    for (const int status : {100, 102, 103}) {
        Server server;
        server.add_fault({.kind = FaultKind::interim, .status = status, .count = 2});
        RawClient client{server.port()};
        client.send(create());
        CHECK(client.response().status == status);
        CHECK(client.response().status == status);
        CHECK(client.response().status == 201);
    }
}

TEST_CASE("duplicate: two rows; rewrite: another comment") {
    Server server;
    server.add_fault({.kind = FaultKind::duplicate, .times = 1});
    CHECK(exchange(server.port(), create()).json().at("id") == 2);
    CHECK(server.row_count() == 2);
    server.add_fault({.kind = FaultKind::rewrite, .body = "[removed]"});
    CHECK(exchange(server.port(), create()).json().at("comment") == "[removed]");
}

TEST_CASE("giant: a body, or a header, as long as asked") {
    Server server;
    server.add_fault({.kind = FaultKind::giant, .times = 1, .bytes = 3'000'000});
    const Response body = exchange(server.port(), create());
    CHECK(body.body.size() == 3'000'000);
    CHECK(body.json().at("id") == 1);
    server.add_fault({.kind = FaultKind::giant, .bytes = 100'000, .variant = "header"});
    const Response header = exchange(server.port(), create());
    CHECK(header.head.size() > 100'000);
    CHECK(header.json().at("id") == 2);
}

TEST_CASE("wrong_length: the length is off and the connection ends") {
    Server server;
    for (const int off : {10, -10}) {
        server.clear_faults();
        server.add_fault({.kind = FaultKind::wrong_length, .bytes = off});
        const Seen seen = see(server);
        CHECK(seen.end == End::eof);
        const std::size_t body = seen.bytes.size() - seen.bytes.find("\r\n\r\n") - 4;
        CHECK(seen.bytes.find("Content-Length: " + std::to_string(static_cast<int>(body) + off)) !=
              std::string::npos);
    }
}

TEST_CASE("close_delimited: no length, the end is the end of the connection") {
    Server server;
    server.add_fault({.kind = FaultKind::close_delimited});
    const Seen seen = see(server);
    CHECK(seen.end == End::eof);
    CHECK(seen.bytes.find("Content-Length") == std::string::npos);
    CHECK(ends_as(seen.bytes, "}"));
}

TEST_CASE("chunked: whole, or without its last chunk") {
    Server server;
    server.add_fault({.kind = FaultKind::chunked, .times = 1});
    RawClient client{server.port()};
    client.send(create());
    REQUIRE(client.receive_until([&] { return client.in.ends_with("0\r\n\r\n"); }) == End::data);
    CHECK(client.in.find("Transfer-Encoding: chunked") != std::string::npos);
    CHECK(client.in.find("\r\n10\r\n{") != std::string::npos);
    server.add_fault({.kind = FaultKind::chunked, .variant = "cut"});
    const Seen seen = see(server);
    CHECK(seen.end == End::eof);
    CHECK_FALSE(ends_as(seen.bytes, "0\r\n\r\n"));
}

TEST_CASE("gzip: the body is a gzip member that holds the JSON") {
    Server server;
    server.add_fault({.kind = FaultKind::gzip});
    const Response response = exchange(server.port(), create());
    CHECK(response.field("Content-Encoding") == "gzip");
    CHECK(response.body.starts_with("\x1f\x8b\x08"));
    // Stored blocks: 10 bytes of head, 5 of block head, the text, 8 of check.
    CHECK(Json::parse(response.body.substr(15, response.body.size() - 23)).at("id") == 1);
}

TEST_CASE("bad_json: the length is right, the JSON is not") {
    Server server;
    server.add_fault({.kind = FaultKind::bad_json});
    const Response response = exchange(server.port(), create());
    CHECK(response.status == 201);
    CHECK_FALSE(Json::accept(response.body));
}

TEST_CASE("malformed: each variant is no good HTTP, and raw bytes go out as given") {
    for (const char* variant : {"", "status_line", "two_lengths", "length_and_chunked", "obs_fold",
                                "header", "http09", "http2"}) {
        Server server;
        server.add_fault({.kind = FaultKind::malformed, .variant = variant});
        const Seen seen = see(server);
        CHECK(seen.end == End::eof);
        CHECK_FALSE(seen.bytes.empty());
        CHECK(server.row_count() == 1);
    }
    Server server;
    server.add_fault({.kind = FaultKind::malformed, .body = "HTTP/1.1 2\r\n"});
    CHECK(see(server).bytes == "HTTP/1.1 2\r\n");
}

TEST_CASE("headers: fields are replaced, added and removed") {
    Server server;
    server.add_fault({.kind = FaultKind::headers,
                      .headers = {{"date", ""}, {"Content-Type", "text/plain"}, {"X-New", "1"}}});
    const Response response = exchange(server.port(), create());
    CHECK(response.field("Date").empty());
    CHECK(response.field("Content-Type") == "text/plain");
    CHECK(response.field("X-New") == "1");
}

TEST_CASE("close_idle: the connection closes after the reply, unannounced") {
    for (const bool reset : {false, true}) {
        Server server;
        server.add_fault({.kind = FaultKind::close_idle, .ms = 1, .reset = reset});
        RawClient client{server.port()};
        client.send(create());
        const Response response = client.response();
        CHECK(response.status == 201);
        CHECK(response.field("Connection").empty());
        CHECK(client.rest() == (reset ? End::reset : End::eof));
    }
}

TEST_CASE("push_idle: an answer nobody asked for") {
    Server server;
    server.add_fault({.kind = FaultKind::push_idle, .ms = 1});
    RawClient client{server.port()};
    client.send(create());
    CHECK(client.response().status == 201);
    CHECK(client.response().status == 408);
    CHECK(client.rest() == End::eof);
}

TEST_CASE("faults match by route, method, path, comment and conversation") {
    Server server;
    const std::string created = create("the needle here", "conv-7");
    const std::vector<std::pair<Fault, bool>> cases{
        {{.route = "old"}, true},
        {{.route = "new"}, false},
        {{.method = "POST"}, true},
        {{.method = "GET"}, false},
        {{.path = "/api/conv"}, true},
        {{.path = "/api/feed"}, false},
        {{.comment = "needle"}, true},
        {{.comment = "hay"}, false},
        {{.conversation_id = "conv-7"}, true},
        {{.conversation_id = "conv"}, false},
        {{.route = "old", .comment = "hay"}, false},
    };
    for (std::size_t index = 0; index < cases.size(); ++index) {
        CAPTURE(index);
        server.clear_faults();
        const auto id = server.add_fault(cases[index].first);
        const bool applied = exchange(server.port(), created).status == 503;
        CHECK(applied == cases[index].second);
        CHECK(server.fault_hits(id) == (applied ? 1 : 0));
    }
}

TEST_CASE("faults apply as often as they say") {
    const auto pattern = [](Fault fault) {
        Server server;
        server.add_fault(std::move(fault));
        RawClient client{server.port()};
        std::string out;
        for (int round = 0; round < 8; ++round) {
            client.send(create());
            out += client.response().status == 201 ? '.' : 'x';
        }
        return out;
    };
    CHECK(pattern({}) == "xxxxxxxx");
    CHECK(pattern({.times = 2}) == "xx......");
    CHECK(pattern({.skip = 3, .times = 2}) == "...xx...");
    CHECK(pattern({.nth = 4}) == "...x....");
    CHECK(pattern({.every = 3}) == "x..x..x.");
    CHECK(pattern({.skip = 1, .every = 2, .times = 2}) == ".x.x....");
    CHECK(pattern({.probability = 0}) == "........");
    const std::string chance = pattern({.probability = 0.5, .seed = 7});
    CHECK(chance == pattern({.probability = 0.5, .seed = 7}));
    CHECK(chance.find('x') != std::string::npos);
    CHECK(chance.find('.') != std::string::npos);
}

TEST_CASE("faults of different groups combine, of one group the first applies") {
    Server server;
    server.add_fault({.kind = FaultKind::status, .times = 1, .status = 500});
    server.add_fault({.kind = FaultKind::status, .times = 1, .status = 502});
    server.add_fault({.kind = FaultKind::interim, .times = 1});
    server.add_fault({.kind = FaultKind::headers, .times = 1, .headers = {{"X-Also", "1"}}});
    RawClient client{server.port()};
    client.send(create());
    CHECK(client.response().status == 103);
    const Response first = client.response();
    CHECK(first.status == 500);
    CHECK(first.field("X-Also") == "1");
    CHECK(server.requests().at(0).faults.size() == 3);
    client.send(create());
    CHECK(client.response().status == 502);
}

TEST_CASE("the link goes down and comes back on the same port") {
    Server server;
    RawClient client{server.port()};
    client.send(create());
    REQUIRE(client.response().status == 201);
    server.set_link(false);
    CHECK(client.rest() != End::silence);
    CHECK_FALSE(RawClient{server.port()}.connected());
    server.set_link(true);
    CHECK(exchange(server.port(), create()).status == 201);
    CHECK(server.row_count() == 2);
}

TEST_CASE("a silent link neither accepts nor refuses, and comes back") {
    Server server;
    RawClient standing{server.port()};
    standing.send(create());
    REQUIRE(standing.response().status == 201);
    server.set_link(sandbox::Link::silent);
    RawClient knocking{server.port(), 100ms};
    CHECK_FALSE(knocking.connected());
    CHECK(knocking.error() == EINPROGRESS);
    standing.send(create());
    CHECK(standing.response().status == 201);
    server.set_link(true);
    CHECK(exchange(server.port(), create()).status == 201);
    for (const bool up : {false, true, false, true, false, true})
        server.set_link(up);
    CHECK(exchange(server.port(), create()).status == 201);
}

TEST_CASE("idle connections are closed after their time") {
    Server server{{.settings = {.keep_alive_ms = 1}}};
    RawClient client{server.port()};
    CHECK(client.rest() == End::eof);
}

TEST_CASE("stop ends every connection, whatever it waits for") {
    Server server;
    server.add_fault({.kind = FaultKind::hang});
    server.add_fault({.kind = FaultKind::latency, .skip = 1, .ms = 3'600'000});
    RawClient hung{server.port()};
    hung.send(create());
    REQUIRE(server.wait_for_requests(1, 5s));
    RawClient late{server.port()};
    late.send(create());
    REQUIRE(server.wait_for_requests(2, 5s));
    server.stop();
    CHECK(hung.rest() == End::eof);
    CHECK(late.rest() == End::eof);
    CHECK(server.requests().size() == 2);
}
