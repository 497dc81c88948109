#include "core/credential.hpp"

#include <doctest/doctest.h>

#include <string>

#include "fuzz.hpp"
#include "support/test_random.hpp"

using namespace agentsight;
using namespace agentsight::core;
using namespace agentsight::test;

namespace {

const std::string usual_key = "ags_0123456789abcdef0123456789ABCDEF_12aB9f";

std::optional<Credential> parse(std::string_view line) {
    std::string problem;
    const auto credential = parse_credential_line(line, problem);
    CHECK(problem.empty() == credential.has_value());
    return credential;
}

}  // namespace

TEST_CASE("each kind of credential has its scheme") {
    CHECK(authorization(ApiKey{"ags_1"}).text() == "Api-Key ags_1");
    CHECK(authorization(Jwt{"a.b.c"}).text() == "Bearer a.b.c");
    CHECK(authorization(Credential{}).empty());
}

TEST_CASE("H19: only visible ASCII goes into a header") {
    CHECK_FALSE(credential_problem(Credential{}));
    CHECK_FALSE(credential_problem(ApiKey{usual_key}));
    CHECK(credential_problem(ApiKey{""}) == "is empty");
    CHECK(credential_problem(Jwt{""}) == "is empty");
    for (int byte = 0; byte < 256; ++byte) {
        CAPTURE(byte);
        const bool visible = byte > 0x20 && byte < 0x7f;
        const std::string value = std::string{"secret"} + static_cast<char>(byte) + "tail";
        const auto problem = credential_problem(ApiKey{value});
        CHECK(problem.has_value() != visible);
        if (problem) {
            CHECK(problem->find("secret") == std::string::npos);
        }
    }
    CHECK_FALSE(credential_problem(Jwt{std::string(8192, 'a')}));
    CHECK(credential_problem(Jwt{std::string(8193, 'a')}));
}

TEST_CASE("a credential file is one line of scheme and secret") {
    for (const char* const line : {"Api-Key k", "api-key k", "API-KEY k\n", "Api-Key k\r\n",
                                   "Api-Key   k", "Api-Key\tk", "Api-Key k  \n"}) {
        CAPTURE(line);
        const auto credential = parse(line);
        REQUIRE(credential);
        CHECK(credential->kind() == Credential::Kind::api_key);
        CHECK(credential->secret() == "k");
    }
    const auto jwt = parse("bearer a.b.c\n");
    REQUIRE(jwt);
    CHECK(jwt->kind() == Credential::Kind::jwt);
    CHECK(jwt->secret() == "a.b.c");
    for (const char* const bad :
         {"", "\n", "Api-Key", "Api-Key ", "Api-Key\n", "Bearer", "secret", " Api-Key secret",
          "ApiKey secret", "Basic secret", "Api-Keysecret", "Api-Key secret secret",
          "Api-Key secret\n\n", "Api-Key secret\nmore", "Bearer sec\xc3\xa9ret", "Bearer secret\r",
          "Bearer secret\n\r"}) {
        CAPTURE(bad);
        std::string problem;
        CHECK_FALSE(parse_credential_line(bad, problem));
        CHECK_FALSE(problem.empty());
        CHECK(problem.find("secret") == std::string::npos);
    }
    CHECK_FALSE(parse(std::string_view{"Api-Key k\0", 10}));
}

TEST_CASE("a key of the usual shape is told from another") {
    CHECK(has_usual_shape(ApiKey{usual_key}));
    CHECK(has_usual_shape(ApiKey{"AGS_" + usual_key.substr(4)}));
    for (const std::string& other :
         {std::string{}, std::string{"ags_"}, usual_key + "0", usual_key.substr(1),
          "agx_" + usual_key.substr(4), usual_key.substr(0, 36) + "-12aB9f",
          usual_key.substr(0, 42) + "g", usual_key.substr(0, 35) + "g_12aB9f"}) {
        CAPTURE(other);
        CHECK_FALSE(has_usual_shape(ApiKey{other}));
    }
}

TEST_CASE("any bytes of a credential file are judged without harm") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    for (int i = 0; i < 5'000; ++i) {
        std::string problem;
        const std::string line = random.one_in(2) ? random_text(random, "Api-KeyBearer \t\r\n", 40)
                                                  : mutated(random, "Api-Key " + usual_key + "\n");
        if (const auto credential = parse_credential_line(line, problem)) {
            REQUIRE_FALSE(credential_problem(*credential));
            REQUIRE(parse_credential_line(authorization(*credential).text(), problem)->secret() ==
                    credential->secret());
        }
    }
}
