#include "core/url.hpp"

#include <doctest/doctest.h>

#include <string>

#include "core/ip_address.hpp"
#include "fuzz.hpp"
#include "support/test_random.hpp"

using namespace agentsight::core;
using namespace agentsight::test;

namespace {

std::optional<Url> parse(std::string_view text, UserInfo user_info = UserInfo::refused) {
    std::string problem;
    const auto url = parse_url(text, user_info, problem);
    CHECK(problem.empty() == url.has_value());
    return url;
}

std::string problem_of(std::string_view text, UserInfo user_info = UserInfo::refused) {
    std::string problem;
    CHECK_FALSE(parse_url(text, user_info, problem));
    return problem;
}

std::string origin_of(std::string_view text) {
    const auto url = parse(text);
    return url ? url->origin() : "refused";
}

}  // namespace

TEST_CASE("an endpoint is taken apart") {
    const auto url = parse("https://api.agentsight.io");
    REQUIRE(url);
    CHECK(url->tls);
    CHECK(url->host == "api.agentsight.io");
    CHECK(url->port == 443);
    CHECK(url->path_prefix.empty());
    CHECK(url->origin() == "https://api.agentsight.io");
    CHECK(url->host_header() == "api.agentsight.io");

    const auto full = parse("HTTP://API.Example.COM:8443/V1/tenants/%7Ea/");
    REQUIRE(full);
    CHECK_FALSE(full->tls);
    CHECK(full->host == "api.example.com");
    CHECK(full->port == 8443);
    CHECK(full->path_prefix == "/V1/tenants/%7Ea");
    CHECK(full->origin() == "http://api.example.com:8443");
    CHECK(full->host_header() == "api.example.com:8443");
}

TEST_CASE("the scheme's own port is left out, the other's is not") {
    CHECK(origin_of("https://host:443") == "https://host");
    CHECK(origin_of("http://host:80") == "http://host");
    CHECK(origin_of("https://host:80") == "https://host:80");
    CHECK(origin_of("http://host:443") == "http://host:443");
    CHECK(parse("http://host")->port == 80);
}

TEST_CASE("trailing slashes of an endpoint change nothing") {
    for (const char* const text : {"https://host", "https://host/", "https://host//"}) {
        CHECK(parse(text)->path_prefix.empty());
    }
    for (const char* const text : {"https://host/v1", "https://host/v1/", "https://host/v1///"}) {
        CHECK(parse(text)->path_prefix == "/v1");
    }
}

TEST_CASE("ports are 1 to 65535") {
    CHECK(parse("http://h:1")->port == 1);
    CHECK(parse("http://h:65535")->port == 65535);
    CHECK(parse("http://h:08080/")->port == 8080);
    for (const char* const bad :
         {"http://h:0", "http://h:65536", "http://h:", "http://h:/", "http://h:-1", "http://h:+1",
          "http://h:80a", "http://h:8 0", "http://h:80:80", "http://h:99999999999999999999",
          "http://[::1]:0", "http://[::1]:"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse(bad));
    }
}

TEST_CASE("IPv6 addresses stand in brackets") {
    const auto url = parse("http://[2001:DB8::1]:8080/v1");
    REQUIRE(url);
    CHECK(url->host == "2001:db8::1");
    CHECK(url->port == 8080);
    CHECK(url->origin() == "http://[2001:db8::1]:8080");
    CHECK(url->host_header() == "[2001:db8::1]:8080");
    CHECK(parse("https://[::]")->host_header() == "[::]");
    for (const char* const bad :
         {"http://[", "http://[]", "http://[::1", "http://::1", "http://[::1]x",
          "http://[fe80::1%25eth0]", "http://[1:2]", "http://[::g]", "http://x[::1]",
          "http://[::1]]", "http://[127.0.0.1]"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse(bad));
    }
}

TEST_CASE("only this device is loopback") {
    for (const char* const here :
         {"http://localhost", "http://LOCALHOST:8000", "http://a.b.localhost", "http://127.0.0.1",
          "http://127.255.255.254:1", "http://[::1]", "http://[0:0:0:0:0:0:0:1]",
          "http://[0000::0001]"}) {
        CAPTURE(here);
        CHECK(parse(here)->is_loopback());
    }
    for (const char* const there :
         {"http://localhost.example.com", "http://notlocalhost", "http://127.0.0.1.example.com",
          "http://128.0.0.1", "http://127.1", "http://127.0.0.01", "http://0.0.0.0", "http://[::]",
          "http://[::2]", "http://[1::1]", "http://[::ffff:127.0.0.1]", "http://10.0.0.1",
          "https://api.agentsight.io", "http://127.0.0.256"}) {
        CAPTURE(there);
        CHECK_FALSE(parse(there)->is_loopback());
    }
}

TEST_CASE("H19: what could split a request line or a header is refused") {
    for (const std::string& host : {std::string{"https://host"}, std::string{"https://host/path"},
                                    std::string{"https://[::1]"}, std::string{"http://h:80"}}) {
        for (int byte = 0; byte < 256; ++byte) {
            const char c = static_cast<char>(byte);
            const bool harmful = byte <= 0x20 || byte >= 0x7f || c == '\\' || c == '?' || c == '#';
            if (!harmful) {
                continue;
            }
            CAPTURE(byte);
            for (std::size_t at = 0; at <= host.size(); ++at) {
                std::string text = host;
                text.insert(at, 1, c);
                REQUIRE_FALSE(parse(text));
            }
        }
    }
    CHECK_FALSE(parse("https://host\r\nX-Evil: 1"));
    CHECK_FALSE(parse(std::string_view{"https://host\0.evil", 18}));
}

TEST_CASE("each problem has its words, which never repeat the text") {
    CHECK(problem_of("") == "is empty");
    CHECK(problem_of("https://") == "has no host");
    CHECK(problem_of("https:///path") == "has no host");
    CHECK(problem_of("https://:443") == "has no host");
    for (const char* const bad :
         {"ftp://secret", "secret", "//secret", "https:/secret", "https:secret", "htp://secret",
          "://secret", "javascript:secret"}) {
        CAPTURE(bad);
        CHECK(problem_of(bad) == "does not begin with http:// or https://");
    }
    CHECK(problem_of("https://host/?secret") == "has a query or a fragment");
    CHECK(problem_of("https://host#secret") == "has a query or a fragment");
    for (const char* const bad :
         {"https://secret@host", "https://user:secret@host", "https://secret\\host",
          "https://host/secret path",
          "https://s\xc3\xa9"
          "cret",
          "https://secret..host", "https://host:secret", "https://host/secret%zz",
          "https://-secret!", "https://secret|x/"}) {
        CAPTURE(bad);
        CHECK(problem_of(bad).find("secret") == std::string::npos);
    }
    CHECK_FALSE(parse("https://" + std::string(63, 'a') + "." + std::string(64, 'a')));
    CHECK(parse("https://" + std::string(63, 'a')));
    CHECK_FALSE(parse("https://" + repeated("a.", 127) + "a"));
    CHECK(parse("https://" + repeated("a.", 126) + "a"));
    CHECK(parse("https://h/" + std::string(2038, 'a')));
    CHECK_FALSE(parse("https://h/" + std::string(2039, 'a')));
    CHECK_FALSE(parse("https://host."));
    CHECK_FALSE(parse("https://.host"));
    CHECK_FALSE(parse("https://host/%"));
    CHECK_FALSE(parse("https://host/%4"));
    CHECK_FALSE(parse("https://host/a<b"));
    CHECK(parse("https://under_score.example"));
}

TEST_CASE("user information is a proxy's only, and is percent-decoded") {
    const auto proxy =
        parse("http://us%65r:p%40ss%3Aw:rd%2F%25@proxy.example:3128/", UserInfo::allowed);
    REQUIRE(proxy);
    CHECK(proxy->user == "user");
    CHECK(proxy->password == "p@ss:w:rd/%");
    CHECK(proxy->host == "proxy.example");
    CHECK(proxy->port == 3128);
    CHECK(proxy->path_prefix.empty());
    CHECK(proxy->origin() == "http://proxy.example:3128");

    CHECK(parse("http://user@proxy", UserInfo::allowed)->password.empty());
    CHECK(parse("http://:secret@proxy", UserInfo::allowed)->password == "secret");
    CHECK(parse("http://a@b@proxy", UserInfo::allowed)->user == "a@b");
    CHECK(parse("http://\xc3\xa9@proxy", UserInfo::allowed).has_value() == false);
    CHECK(parse("http://%C3%A9@proxy", UserInfo::allowed)->user == "\xc3\xa9");
    for (const char* const bad :
         {"http://a%0d%0ab:c@proxy", "http://a:b%0a@proxy", "http://a:b%00@proxy",
          "http://a:b%7f@proxy", "http://a%3Ab:c@proxy", "http://a%:b@proxy", "http://a%4:b@proxy",
          "http://a:%zz@proxy", "http://user:pw@"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse(bad, UserInfo::allowed));
    }
    CHECK_FALSE(parse("http://user:secret@proxy"));
    CHECK_FALSE(parse("http://@proxy"));
}

TEST_CASE("IPv4 addresses are four numbers") {
    CHECK(parse_ipv4("0.0.0.0"));
    CHECK((*parse_ipv4("255.1.20.3"))[2] == 20);
    for (const char* const bad :
         {"", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.", ".1.2.3", "1..2.3", "01.2.3.4",
          "1.2.3.04", "1.2.3.4 ", "+1.2.3.4", "1.2.3.-4", "0x1.2.3.4", "1.2.3.1000", "1.2.3.a"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_ipv4(bad));
    }
}

TEST_CASE("IPv6 addresses are eight groups, some of them perhaps left out") {
    const auto last = [](const char* text) { return parse_ipv6(text)->back(); };
    CHECK(last("1:2:3:4:5:6:7:8") == 8);
    CHECK(last("::1") == 1);
    CHECK(last("1::") == 0);
    CHECK((*parse_ipv6("1::"))[1] == 1);
    CHECK(last("1:2:3:4:5:6:7::") == 0);
    CHECK(last("::2:3:4:5:6:7:8") == 8);
    CHECK(last("1::8") == 8);
    CHECK(last("::ffff:1.2.3.4") == 4);
    CHECK(last("1:2:3:4:5:6:1.2.3.4") == 4);
    CHECK(last("::1.2.3.4") == 4);
    CHECK(parse_ipv6("ABCD::ef01") == parse_ipv6("abcd:0:0:0:0:0:0:EF01"));
    for (const char* const bad : {"",
                                  ":",
                                  ":::",
                                  "1",
                                  "1:2",
                                  "1:2:3:4:5:6:7",
                                  "1:2:3:4:5:6:7:8:9",
                                  "1:2:3:4:5:6:7:8::",
                                  "::1:2:3:4:5:6:7:8",
                                  "1:2:3:4::5:6:7:8",
                                  "1::2::3",
                                  ":1::",
                                  "1:::2",
                                  "1::2:",
                                  "12345::",
                                  "g::",
                                  "::1.2.3",
                                  "::1.2.3.4:5",
                                  "1.2.3.4::",
                                  "1.2.3.4",
                                  "1:2:3:4:5:6:7:1.2.3.4",
                                  "::1 ",
                                  "-1::",
                                  "::+1",
                                  "::1%eth0",
                                  "::0x1"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_ipv6(bad));
    }
}

TEST_CASE("any text is parsed without harm; what is accepted parses again from its parts") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    int accepted = 0;
    for (int i = 0; i < 20'000; ++i) {
        const char* const seeds[] = {"https://api.agentsight.io:8443/v1/",
                                     "http://[2001:db8::1]:80/a%20b",
                                     "http://user:p%40ss@proxy.example:3128"};
        const std::string text = random.one_in(3)
                                     ? random_text(random, "htps:/[]@%.0123456789abcdef-", 50)
                                     : mutated(random, seeds[random.below(3)]);
        parse_ipv4(text);
        parse_ipv6(text);
        std::string problem;
        const auto url =
            parse_url(text, random.one_in(2) ? UserInfo::allowed : UserInfo::refused, problem);
        if (!url) {
            REQUIRE_FALSE(problem.empty());
            continue;
        }
        ++accepted;
        REQUIRE(url->port != 0);
        const auto again = parse_url(url->origin() + url->path_prefix, UserInfo::refused, problem);
        REQUIRE(again);
        REQUIRE(again->host == url->host);
        REQUIRE(again->port == url->port);
        REQUIRE(again->path_prefix == url->path_prefix);
    }
    CHECK(accepted > 100);
}
