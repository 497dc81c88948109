#include <doctest/doctest.h>

#include "raw_client.hpp"
#include "sandbox/server.hpp"

using namespace sandbox_test;
using namespace std::chrono_literals;
using sandbox::Server;

namespace {

Response control(const Server& server, std::string_view method, std::string_view target,
                 std::string_view body = {}) {
    return exchange(server.control_port(), request(method, target, body));
}

Json looked_at(const Server& server, std::string_view target) {
    const Response response = control(server, "GET", target);
    CHECK(response.status == 200);
    return response.json();
}

}  // namespace

TEST_CASE("faults are added, listed with their hits, and taken away") {
    Server server;
    const Json added =
        control(server, "POST", "/faults", R"({"kind":"status","status":500,"times":5})").json();
    CHECK(added.at("ids") == Json::array({1}));
    CHECK(control(server, "POST", "/faults", R"([{"kind":"latency","ms":1},{"kind":"gzip"}])")
              .json()
              .at("ids") == Json::array({2, 3}));
    CHECK(exchange(server.port(), create()).status == 500);
    const Json faults = looked_at(server, "/faults");
    CHECK(faults.size() == 3);
    CHECK(faults[0].at("kind") == "status");
    CHECK(faults[0].at("hits") == 1);
    CHECK(control(server, "DELETE", "/faults/1").status == 200);
    CHECK(control(server, "DELETE", "/faults/1").status == 404);
    CHECK(exchange(server.port(), create()).status == 201);
    CHECK(control(server, "DELETE", "/faults").status == 200);
    CHECK(looked_at(server, "/faults").empty());
}

TEST_CASE("a list of faults with a bad one adds none") {
    Server server;
    const Response bad =
        control(server, "POST", "/faults", R"([{"kind":"gzip"},{"kind":"nonsense"}])");
    CHECK(bad.status == 400);
    CHECK(bad.json().at("detail").get<std::string>().find("nonsense") != std::string::npos);
    CHECK(looked_at(server, "/faults").empty());
}

TEST_CASE("rows are read whole or from an id on") {
    Server server;
    for (int round = 0; round < 3; ++round)
        exchange(server.port(), create());
    CHECK(looked_at(server, "/rows").size() == 3);
    const Json some = looked_at(server, "/rows?after=1&limit=1");
    REQUIRE(some.size() == 1);
    CHECK(some[0].at("id") == 2);
    CHECK(some[0].at("conversation_id") == "conv");
    CHECK(looked_at(server, "/rows/count").at("count") == 3);
    CHECK(control(server, "DELETE", "/rows/2").status == 200);
    CHECK(looked_at(server, "/rows/count").at("count") == 2);
}

TEST_CASE("requests and errors are read") {
    Server server;
    exchange(server.port(), create());
    exchange(server.port(), get("/api/feedbacks"));
    const Json requests = looked_at(server, "/requests");
    REQUIRE(requests.size() == 2);
    CHECK(requests[0].at("method") == "POST");
    CHECK(requests[0].at("headers")[0] == Json::array({"Host", "127.0.0.1"}));
    CHECK(requests[0].at("status") == 201);
    CHECK(looked_at(server, "/requests?after=1").size() == 1);
    CHECK(looked_at(server, "/errors")[0].at("kind") == "trailing_slash");
    const Json overview = looked_at(server, "/");
    CHECK(overview.at("rows") == 1);
    CHECK(overview.at("requests") == 2);
    CHECK(control(server, "POST", "/clear").status == 200);
    CHECK(looked_at(server, "/requests").empty());
    CHECK(looked_at(server, "/errors").empty());
    CHECK(looked_at(server, "/rows").size() == 1);
}

TEST_CASE("clock, conversations, settings and the link are steered") {
    Server server;
    CHECK(control(server, "POST", "/clock", R"({"offset_ms":-631152000000})").status == 200);
    CHECK(std::stoi(exchange(server.port(), create()).field("Date").substr(12, 4)) < 2020);
    CHECK(control(server, "POST", "/conversations", R"({"conversation_id":"x","id":42})")
              .json()
              .at("id") == 42);
    CHECK(control(server, "POST", "/settings", R"({"strict_conversations":true})").status == 200);
    CHECK(exchange(server.port(), create("c", "unknown")).status == 404);
    CHECK(exchange(server.port(), create("c", "x")).status == 201);
    CHECK(control(server, "POST", "/settings", R"({"api_keys":"no list"})").status == 400);
    CHECK(control(server, "POST", "/link", R"({"up":false})").status == 200);
    CHECK_FALSE(RawClient{server.port()}.connected());
    CHECK(control(server, "POST", "/link", R"({"up":true})").status == 200);
    CHECK(exchange(server.port(), create("c", "x")).status == 201);
}

TEST_CASE("reset empties all, and ids go on") {
    Server server;
    exchange(server.port(), create());
    server.add_fault("status,times=1,skip=9");
    CHECK(control(server, "POST", "/reset").status == 200);
    CHECK(server.row_count() == 0);
    CHECK(server.requests().empty());
    CHECK(looked_at(server, "/faults").empty());
    CHECK(exchange(server.port(), create()).json().at("id") == 2);
}

TEST_CASE("what the control port does not know is an error") {
    Server server;
    CHECK(control(server, "GET", "/nothing").status == 404);
    CHECK(control(server, "POST", "/nothing").status == 404);
    CHECK(control(server, "DELETE", "/nothing").status == 404);
    CHECK(control(server, "POST", "/faults", "{").status == 400);
    CHECK(control(server, "POST", "/clock", "{}").status == 400);
    CHECK(server.requests().empty());
}

TEST_CASE("the control port answers while the API hangs") {
    Server server;
    server.add_fault("hang");
    RawClient client{server.port()};
    client.send(create());
    REQUIRE(server.wait_for_requests(1, 5s));
    CHECK(looked_at(server, "/requests").size() == 1);
}
