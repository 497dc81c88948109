#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "agentsight/error.hpp"
#include "settings.hpp"

using namespace agentsight;

namespace {

/// Sets a variable for one test, and puts back what was there.
class Variable {
  public:
    Variable(const char* name, const char* value) : name_(name) {
        if (const char* old = std::getenv(name)) {
            old_ = old;
            had_ = true;
        }
        value ? ::setenv(name, value, 1) : ::unsetenv(name);
    }
    ~Variable() { had_ ? ::setenv(name_, old_.c_str(), 1) : ::unsetenv(name_); }
    Variable(const Variable&) = delete;
    Variable& operator=(const Variable&) = delete;

  private:
    const char* name_;
    std::string old_;
    bool had_ = false;
};

}  // namespace

TEST_CASE("empty options are filled from the environment") {
    Variable outbox("AGENTSIGHT_OUTBOX", "/somewhere/out.db");
    Variable endpoint("AGENTSIGHT_API_ENDPOINT", "https://other.example:8443/v1/");
    Variable key("AGENTSIGHT_API_KEY", "ags_env");
    const Settings settings = resolve({});
    CHECK(settings.options.outbox_path == "/somewhere/out.db");
    CHECK(settings.endpoint.origin() == "https://other.example:8443");
    CHECK(settings.endpoint.path_prefix == "/v1");
    CHECK(settings.options.credential.kind() == Credential::Kind::api_key);
    CHECK(settings.options.credential.secret() == "ags_env");
}

TEST_CASE("what is set goes before the environment") {
    Variable outbox("AGENTSIGHT_OUTBOX", "/somewhere/out.db");
    Variable key("AGENTSIGHT_API_KEY", "ags_env");
    Options options;
    options.outbox_path = "mine.db";
    options.endpoint = "http://localhost:1";
    options.credential = Jwt{"a.b.c"};
    const Settings settings = resolve(options);
    CHECK(settings.options.outbox_path == "mine.db");
    CHECK(settings.options.credential.kind() == Credential::Kind::jwt);
}

TEST_CASE("an empty variable is an unset one, and the defaults are the documented ones") {
    Variable outbox("AGENTSIGHT_OUTBOX", "");
    Variable endpoint("AGENTSIGHT_API_ENDPOINT", "");
    Variable key("AGENTSIGHT_API_KEY", "");
    Variable data("XDG_DATA_HOME", "/data");
    Options options;
    options.application = "lobby-kiosk";
    const Settings settings = resolve(options);
    CHECK(settings.options.outbox_path == "/data/agentsight/lobby-kiosk/feedback.db");
    CHECK(settings.endpoint.origin() == "https://api.agentsight.io");
    CHECK(settings.options.credential.kind() == Credential::Kind::none);
    const Settings unnamed = resolve({});
    CHECK(unnamed.options.outbox_path == "/data/agentsight/test-facade/feedback.db");
}

TEST_CASE("a secret that breaks a rule is not repeated in the message") {
    Options options;
    options.credential = ApiKey{"sec\nret"};
    try {
        resolve(options);
        FAIL("accepted");
    } catch (const Error& error) {
        CHECK(error.code() == errc::invalid_option);
        const std::string words = error.what();
        CHECK(words.find("credential") != std::string::npos);
        CHECK(words.find("sec") == std::string::npos);
    }
}

TEST_CASE(
    "H19: line breaks, NUL and other control characters are refused in every option of text") {
    const std::string endings[] = {"\r\nX-Evil: 1", "\n", "\r", std::string(1, '\0'), "\x7f"};
    for (const std::string& ending : endings) {
        CAPTURE(ending);
        const auto refuses = [&](std::string_view field, auto set) {
            Options options;
            options.outbox_path = "/somewhere/feedback.db";
            set(options);
            try {
                resolve(options);
                return false;
            } catch (const Error& error) {
                const std::string_view words = error.what();
                return error.code() == errc::invalid_option &&
                       words.find(field) != std::string_view::npos &&
                       words.find("Evil") == std::string_view::npos;
            }
        };
        CHECK_FALSE(refuses("", [](Options&) {}));
        CHECK(refuses("application", [&](Options& o) { o.application = "kiosk" + ending; }));
        CHECK(refuses("outbox_path", [&](Options& o) { o.outbox_path = "/f.db" + ending; }));
        CHECK(refuses("endpoint", [&](Options& o) { o.endpoint = "https://a.example" + ending; }));
        CHECK(refuses("ca_file", [&](Options& o) { o.ca_file = "/ca.pem" + ending; }));
        CHECK(refuses("client_certificate",
                      [&](Options& o) { o.client_certificate = "/c.pem" + ending; }));
        CHECK(refuses("client_key", [&](Options& o) { o.client_key = "/k.pem" + ending; }));
        CHECK(refuses("proxy", [&](Options& o) { o.proxy = "http://proxy:3128" + ending; }));
        CHECK(refuses("proxy", [&](Options& o) { o.proxy = "direct" + ending; }));
        CHECK(refuses("credential", [&](Options& o) { o.credential = ApiKey{"ags_1" + ending}; }));
    }
}
