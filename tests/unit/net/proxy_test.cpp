#include "net/proxy.hpp"

#include <doctest/doctest.h>

#include <map>

using namespace agentsight;
using net::choose_way;
using net::no_proxy_names;
using net::Way;

namespace {

core::Url url(bool tls, const std::string& host, int port = 0) {
    core::Url made;
    made.tls = tls;
    made.host = host;
    made.port = static_cast<std::uint16_t>(port != 0 ? port : tls ? 443 : 80);
    return made;
}

net::Environment with(std::map<std::string, std::string> variables) {
    return [variables](const char* name) -> std::optional<std::string> {
        const auto found = variables.find(name);
        return found == variables.end() ? std::nullopt : std::optional{found->second};
    };
}

const core::Url api = url(true, "api.agentsight.io");

}  // namespace

TEST_CASE("without any proxy the way is direct") {
    const Way way = choose_way(api, "", with({}));
    CHECK(way.kind == Way::Kind::direct);
    CHECK(way.problem.empty());
}

TEST_CASE("which variable names the proxy") {
    struct Row {
        bool tls;
        std::map<std::string, std::string> variables;
        std::string host;  // of the proxy; empty: direct
    };
    const Row rows[] = {
        {true, {{"HTTPS_PROXY", "http://a:1"}}, "a"},
        {true, {{"https_proxy", "http://b:1"}, {"HTTPS_PROXY", "http://a:1"}}, "b"},
        {true, {{"HTTP_PROXY", "http://a:1"}}, ""},
        {true, {{"ALL_PROXY", "http://c:1"}}, "c"},
        {true, {{"all_proxy", "http://d:1"}, {"HTTPS_PROXY", "http://a:1"}}, "a"},
        {false, {{"HTTPS_PROXY", "http://a:1"}}, ""},
        {false, {{"HTTP_PROXY", "http://a:1"}}, "a"},
        {false, {{"HTTP_PROXY", "http://a:1"}, {"REQUEST_METHOD", "GET"}}, ""},
        {false, {{"http_proxy", "http://a:1"}, {"REQUEST_METHOD", "GET"}}, "a"},
        {false, {{"ALL_PROXY", "http://c:1"}}, "c"},
        {true, {{"HTTPS_PROXY", "http://a:1"}, {"NO_PROXY", "agentsight.io"}}, ""},
        {true,
         {{"HTTPS_PROXY", "http://a:1"}, {"NO_PROXY", "agentsight.io"}, {"no_proxy", "x.example"}},
         "a"},
    };
    for (const Row& row : rows) {
        const Way way = choose_way(url(row.tls, "api.agentsight.io"), "", with(row.variables));
        CHECK(way.problem.empty());
        CHECK((way.kind == Way::Kind::direct) == row.host.empty());
        CHECK(way.proxy.host == row.host);
        if (!row.host.empty()) {
            CHECK(way.kind == (row.tls ? Way::Kind::tunnel : Way::Kind::forward));
        }
    }
}

TEST_CASE("a proxy's URL may lack its scheme and carry a user") {
    const Way way = choose_way(api, "", with({{"HTTPS_PROXY", "me:p%40ss@proxy.example:3128"}}));
    CHECK(way.kind == Way::Kind::tunnel);
    CHECK(way.proxy.host == "proxy.example");
    CHECK(way.proxy.port == 3128);
    CHECK(net::proxy_authorization(way.proxy) == "Basic bWU6cEBzcw==");
    CHECK(net::proxy_authorization(url(false, "p")).empty());
}

TEST_CASE("an explicit proxy ignores the environment, and so does an explicit direct") {
    const auto environment = with({{"HTTPS_PROXY", "http://a:1"}, {"NO_PROXY", "*"}});
    CHECK(choose_way(api, "http://b:2", environment).proxy.host == "b");
    const auto used = with({{"HTTPS_PROXY", "http://a:1"}});
    CHECK(choose_way(api, "direct", used).kind == Way::Kind::direct);
}

TEST_CASE("this machine is not reached through the environment's proxy") {
    const auto environment = with({{"ALL_PROXY", "http://a:1"}});
    for (const char* host : {"localhost", "x.localhost", "127.0.0.1", "127.1.2.3", "::1"}) {
        CAPTURE(host);
        CHECK(choose_way(url(false, host), "", environment).kind == Way::Kind::direct);
        CHECK(choose_way(url(true, host), "", environment).kind == Way::Kind::direct);
    }
}

TEST_CASE("a proxy that cannot be used is a problem, never bypassed, and never repeated") {
    for (const char* bad : {"socks5://secret:9", "http://", "http://se cret", "https://secret:9",
                            "http://secret:99999", "secret:secret:secret"}) {
        CAPTURE(bad);
        const Way way = choose_way(api, "", with({{"HTTPS_PROXY", bad}}));
        CHECK(way.problem.starts_with("HTTPS_PROXY "));
        CHECK(way.problem.find("secret") == std::string::npos);
        const Way configured = choose_way(api, bad, with({}));
        CHECK(configured.problem.starts_with("the proxy option "));
    }
}

TEST_CASE("H28: whom NO_PROXY names") {
    struct Row {
        const char* list;
        core::Url endpoint;
        bool named;
    };
    const Row rows[] = {
        {"", api, false},
        {"*", api, true},
        {"api.agentsight.io", api, true},
        {"API.AgentSight.IO", api, true},
        {"agentsight.io", api, true},
        {".agentsight.io", api, true},
        {"*.agentsight.io", api, true},
        {"sight.io", api, false},
        {"xapi.agentsight.io", api, false},
        {"api.agentsight.io.", api, false},
        {"agentsight.io:443", api, true},
        {"agentsight.io:8443", api, false},
        {"agentsight.io:x", api, false},
        {"a.example, ,agentsight.io", api, true},
        {"a.example agentsight.io", api, true},
        {".", api, false},
        {"*.", api, false},
        {":443", api, false},
        {"10.1.2.3", url(true, "10.1.2.3"), true},
        {"10.1.2.4", url(true, "10.1.2.3"), false},
        {"10.1.2.3:443", url(true, "10.1.2.3"), true},
        {"10.1.2.3:80", url(true, "10.1.2.3"), false},
        {"10.0.0.0/8", url(true, "10.1.2.3"), true},
        {"10.0.0.0/9", url(true, "10.128.2.3"), false},
        {"0.0.0.0/0", url(true, "10.1.2.3"), true},
        {"0.0.0.0/0", api, false},
        {"10.0.0.0/33", url(true, "10.1.2.3"), false},
        {"10.0.0.0/", url(true, "10.1.2.3"), false},
        {"1.2.3", url(true, "10.1.2.3"), false},
        {"fd00::/8", url(true, "fd12::1"), true},
        {"fd00::/8", url(true, "fe80::1"), false},
        {"fd12::1", url(true, "fd12:0:0:0:0:0:0:1"), true},
        {"[fd12::1]", url(true, "fd12::1"), true},
        {"[fd12::1]:443", url(true, "fd12::1"), true},
        {"[fd12::1]:80", url(true, "fd12::1"), false},
        {"::ffff:10.1.2.3", url(true, "10.1.2.3"), true},
        {"[", api, false},
        {"]", api, false},
        {"[]", api, false},
    };
    for (const Row& row : rows) {
        CAPTURE(row.list);
        CAPTURE(row.endpoint.host);
        CHECK(no_proxy_names(row.list, row.endpoint) == row.named);
    }
}

TEST_CASE("Basic credentials at each length") {
    const auto encoded = [](const std::string& user, const std::string& password) {
        core::Url proxy;
        proxy.user = user;
        proxy.password = password;
        return net::proxy_authorization(proxy);
    };
    CHECK(encoded("a", "") == "Basic YTo=");
    CHECK(encoded("a", "b") == "Basic YTpi");
    CHECK(encoded("ab", "c") == "Basic YWI6Yw==");
    CHECK(encoded("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    CHECK(encoded("", "\xff\xff") == "Basic Ov//");
}
