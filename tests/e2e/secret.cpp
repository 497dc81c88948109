// The application's key goes to the endpoint and nowhere else.

#include <fstream>
#include <iterator>
#include <mutex>
#include <sstream>
#include <variant>

#include "e2e/support.hpp"
#include "support/child_process.hpp"
#include "support/sanitizers.hpp"
#include "support/self_signed.hpp"

using namespace agentsight;
using namespace agentsight::test;

namespace {

constexpr const char* key = "ags_feedface00000000000000000000cafe_5ec2e7";

std::string bytes_of(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

/// Every file of the outbox, its log and lock files too.
void check_files(const std::filesystem::path& folder) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator{folder}) {
        if (entry.is_regular_file()) {
            CAPTURE(entry.path());
            CHECK(bytes_of(entry.path()).find(key) == std::string::npos);
        }
    }
}

/// All that the library says: log lines, events, the words of a status and of an error.
class Ear {
  public:
    void listen(Options& options) {
        options.log = [this](LogLevel, std::string_view line) { hear(line); };
        options.observer = [this](const Event& event) {
            std::visit(
                [this](const auto& what) {
                    if constexpr (requires { what.detail; }) {
                        hear(what.detail);
                    }
                },
                event);
        };
    }
    void hear(std::string_view words) {
        const std::lock_guard guard{mutex_};
        heard_ += words;
        heard_ += '\n';
    }
    std::string heard() const {
        const std::lock_guard guard{mutex_};
        return heard_;
    }

  private:
    mutable std::mutex mutex_;
    std::string heard_;
};

std::string all_bytes(const sandbox::Server& server) {
    std::string bytes;
    for (const auto& request : server.requests()) {
        bytes += request.target + request.body;
        for (const auto& [name, value] : request.headers) {
            bytes += name + ": " + value + "\n";
        }
    }
    return bytes;
}

constexpr char mask = 12;
/// The key of a process that is to forget it, each letter changed: whoever looks for it in memory
/// must not find what he looks for it with.
constexpr std::string_view masked_key = "mk\x7fSj>>lj>>lj>>lj>>lj>>lj>>lj>>lj>>lSn=nn=n";

std::string unmasked() {
    std::string key{masked_key};
    for (char& c : key) {
        c = static_cast<char>(c ^ mask);
    }
    return key;
}

bool is_key(const char* at) {
    for (std::size_t i = 0; i < masked_key.size(); ++i) {
        if ((at[i] ^ mask) != masked_key[i]) {
            return false;
        }
    }
    return true;
}

/// How often the key stands in the memory that this process can write.
int count_in_memory() {
    int found = 0;
    std::ifstream maps{"/proc/self/maps"};
    for (std::string line; std::getline(maps, line);) {
        std::istringstream words{line};
        std::uintptr_t begin = 0;
        std::uintptr_t end = 0;
        char dash = 0;
        std::string rights;
        words >> std::hex >> begin >> dash >> end >> rights;
        if (rights.substr(0, 2) != "rw") {
            continue;
        }
        const char* const last = reinterpret_cast<const char*>(end) - masked_key.size();
        for (const char* at = reinterpret_cast<const char*>(begin); at <= last; ++at) {
            found += is_key(at) ? 1 : 0;
        }
    }
    return found;
}

}  // namespace

TEST_CASE("H17, H36: a redirect is not followed, and the key stays with the endpoint") {
    for (const int status : {301, 302, 303, 307, 308}) {
        CAPTURE(status);
        TemporaryFolder folder;
        sandbox::Server thief;
        sandbox::Server server;
        server.add_fault({.kind = sandbox::FaultKind::status,
                          .method = "*",
                          .status = status,
                          .location = thief.url() + "/api/conversation-feedbacks/"});
        Options options = options_for(folder, server.url());
        options.credential = ApiKey{key};
        {
            ConversationManager manager{options};
            manager.submit_feedback("conv", "positive");
            manager.flush(2s);
            CHECK(manager.stats().delivered == 0);
            manager.close(0ms);
        }
        CHECK(server.requests().size() >= 1);
        CHECK(thief.connection_count() == 0);
        CHECK(thief.errors().empty());
        check_files(folder.path());
    }
}

#ifdef WITH_TLS
TEST_CASE("H36: a proxy is told where to, and never the key") {
    TemporaryFolder folder;
    sandbox::Server proxy;  // no proxy at all: it records what it is asked
    Options options = options_for(folder, "https://kiosk.example");
    options.credential = ApiKey{key};
    options.proxy = proxy.url();
    // Some authority: a machine without any does not even ask the proxy.
    options.ca_file = folder / "authority.pem";
    write_identity(options.ca_file, folder / "authority.key");
    Ear ear;
    ear.listen(options);
    ConversationManager manager{options};
    manager.submit_feedback("conv", "positive");
    REQUIRE(proxy.wait_for_requests(1, patience));
    manager.close(0ms);
    const std::string seen = all_bytes(proxy);
    CHECK(seen.find("kiosk.example:443") != std::string::npos);
    CHECK(seen.find(key) == std::string::npos);
    CHECK(ear.heard().find(key) == std::string::npos);
    check_files(folder.path());
}
#else
TEST_CASE("built without TLS, an https endpoint is held with the reason, and nothing goes out") {
    const TemporaryFolder folder;
    const sandbox::Server proxy;
    Options options = options_for(folder, "https://kiosk.example");
    options.credential = ApiKey{key};
    options.proxy = proxy.url();
    ConversationManager manager{options};
    manager.submit_feedback("conv", "positive");
    std::optional<Hold> hold;
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (!hold && std::chrono::steady_clock::now() < deadline) {
        CHECK_FALSE(manager.flush(100ms));
        hold = manager.stats().hold;
    }
    REQUIRE(hold);
    CHECK(hold->detail.find("made without TLS") != std::string::npos);
    CHECK(proxy.connection_count() == 0);
}
#endif

TEST_CASE("H36: a server that repeats the key brings it into no log, event, status or file") {
    for (const int status : {400, 401, 403, 404, 422, 429, 500, 503}) {
        CAPTURE(status);
        TemporaryFolder folder;
        sandbox::Server server;
        const std::string words = std::string{R"({"detail": "wrong: )"} + key + R"("})";
        server.add_fault({.kind = sandbox::FaultKind::status,
                          .method = "*",
                          .status = status,
                          .body = words,
                          .headers = {{"Content-Type", "application/json"},
                                      {"Location", std::string{"/"} + key}}});
        Options options = options_for(folder, server.url());
        options.credential = ApiKey{key};
        options.not_found_grace = 0ms;
        Ear ear;
        ear.listen(options);
        ConversationManager manager{options};
        manager.submit_feedback("conv", "positive");
        manager.flush(1s);
        const Status state = manager.stats();
        if (state.hold) {
            ear.hear(state.hold->detail);
        }
        manager.close(0ms);
        for (const Record& record : Outbox{options.outbox_path}.list({}, 10)) {
            ear.hear(record.last_error);
        }
        CHECK(ear.heard().find("wrong: ***") != std::string::npos);  // the words did come
        CHECK(ear.heard().find(key) == std::string::npos);
        check_files(folder.path());
    }
}

TEST_CASE("H36: once its last owner is gone the key stands nowhere in the process's memory" *
          doctest::skip(under_address_sanitizer || under_thread_sanitizer)) {
    const TemporaryFolder folder;
    sandbox::Server server;
    constexpr int not_looked = 100;
    ChildProcess child = ChildProcess::run([&](ParentLink& parent) {
        parent.await();
        Options options;
        options.outbox_path = folder / "feedback.db";
        options.endpoint = server.url();
        {
            std::string key = unmasked();
            options.credential = ApiKey{key};
            Credential::wipe(key);
        }
        const bool is_found_at_all = count_in_memory() > 0;
        {
            ConversationManager manager{options};
            manager.submit_feedback("c", "positive", std::string(3'000, 'x'));
            manager.submit_feedback("d", "positive");
            if (!manager.flush(20s)) {
                return not_looked + 1;
            }
            std::string other = unmasked();
            manager.set_credential(ApiKey{std::move(other)});
            Credential::wipe(other);
        }
        options = {};
        return is_found_at_all ? count_in_memory() : not_looked;
    });
    // Not before the fork: its memory would be the child's too.
    server.change_settings([](sandbox::Settings& settings) { settings.api_keys = {unmasked()}; });
    child.say();
    CHECK(child.wait() == Ending{0, 0});
    CHECK(server.row_count() == 2);
}

TEST_CASE("H36: a key that breaks its rule is not repeated by the error") {
    TemporaryFolder folder;
    Options options = options_for(folder, "http://127.0.0.1:1");
    options.credential = ApiKey{std::string{key} + "\n"};
    try {
        ConversationManager manager{options};
        FAIL("a line break in a key is refused");
    } catch (const Error& error) {
        CHECK(std::string{error.what()}.find(key) == std::string::npos);
    }
}
