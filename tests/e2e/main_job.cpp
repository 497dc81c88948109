#include <algorithm>
#include <cstdlib>
#include <future>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "e2e/support.hpp"
#include "support/child_process.hpp"

using namespace agentsight;
using namespace agentsight::test;

namespace {

nlohmann::json documented_metadata() {
    return {{"rating", 5},
            {"would_recommend", true},
            {"issue_resolved", true},
            {"response_time_rating", 4},
            {"feedback_channel", "web_widget"},
            {"collected_at", "2024-01-15T10:40:00Z"}};
}

void submit_documented(ConversationManager& manager) {
    manager.submit_feedback("support-session-456", Sentiment::positive, "Excellent service!",
                            documented_metadata());
}

}  // namespace

TEST_CASE("the upstream documentation's example arrives JSON-equal under an API key") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    ConversationManager manager{options_for(folder, server.url())};
    submit_documented(manager);
    REQUIRE(server.wait_for_rows(1, patience));
    CHECK(manager.flush(patience));

    const auto requests = server.requests();
    REQUIRE(requests.size() == 1);
    CHECK(requests[0].method == "POST");
    CHECK(requests[0].target == "/api/conversation-feedbacks/");
    CHECK(requests[0].header("Authorization") ==
          "Api-Key ags_0123456789abcdef0123456789abcdef_012345");
    CHECK(requests[0].header("Accept") == "application/json");
    CHECK(requests[0].header("User-Agent") == user_agent());
    const auto body = nlohmann::json::parse(requests[0].body);
    CHECK(body == nlohmann::json{{"conversation_id", "support-session-456"},
                                 {"sentiment", "positive"},
                                 {"comment", "Excellent service!"},
                                 {"metadata", documented_metadata()}});
    const auto rows = server.rows();
    CHECK(rows[0].source == "customer");
    CHECK(nlohmann::json::parse(rows[0].metadata) == documented_metadata());
    CHECK(server.errors().empty());
    CHECK(manager.stats().delivered == 1);
    check_ledger(manager.stats());
}

TEST_CASE("feedback as large as the rules allow is known to be delivered by its answer") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    // What repeats the text as \uXXXX; the API does either.
    std::string escaped, emoji;
    for (int i = 0; i < 5'000; ++i) {
        emoji += "😀";
        escaped += R"(\ud83d\ude00)";
    }
    server.add_fault(
        {.kind = sandbox::FaultKind::status,
         .comment = emoji,
         .status = 201,
         .body = R"({"id": 77, "conversation": 1, "sentiment": "positive", "comment": ")" +
                 escaped + R"(", "metadata": {"text": ")" + escaped + escaped + escaped +
                 R"("}})"});
    ConversationManager manager{options_for(folder, server.url())};
    const nlohmann::json largest = {{"k", std::string(256 * 1024 - 8, 'x')}};
    REQUIRE(largest.dump().size() == 256 * 1024);
    const Receipt plain = manager.submit_feedback("one", "positive", "plain", largest);
    const Receipt other =
        manager.submit_feedback("two", "positive", emoji, {{"text", emoji + emoji + emoji}});
    CHECK(manager.wait(plain.id, patience) == RecordState::delivered);
    CHECK(manager.wait(other.id, patience) == RecordState::delivered);
    CHECK(nlohmann::json::parse(server.rows().at(0).metadata) == largest);
    // No other request: nothing had to be found out.
    CHECK(server.requests().size() == 2);
    CHECK(manager.stats().possible_duplicates == 0);
}

TEST_CASE("a JWT goes out as Bearer and the row reads source platform") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    Options options = options_for(folder, server.url());
    options.credential = Jwt{"header.payload.signature"};
    ConversationManager manager{options};
    manager.submit_feedback(42, "neutral");
    REQUIRE(server.wait_for_rows(1, patience));
    CHECK(server.requests()[0].header("Authorization") == "Bearer header.payload.signature");
    CHECK(server.rows()[0].source == "platform");
    CHECK(nlohmann::json::parse(server.requests()[0].body) ==
          nlohmann::json{{"conversation", 42}, {"sentiment", "neutral"}});
}

TEST_CASE("an endpoint with a path and a trailing slash reaches the API's paths") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    ConversationManager manager{options_for(folder, server.url() + "/")};
    submit_documented(manager);
    REQUIRE(server.wait_for_rows(1, patience));
    CHECK(server.requests()[0].target == "/api/conversation-feedbacks/");
    for (const char* const path : {"/v1", "/v1/", "/a/b//"}) {
        CAPTURE(path);
        TemporaryFolder other;
        const std::size_t before = server.requests().size();
        ConversationManager behind_a_path{options_for(other, server.url() + path)};
        submit_documented(behind_a_path);
        const auto end = std::chrono::steady_clock::now() + patience;
        while (server.requests().size() == before && std::chrono::steady_clock::now() < end) {
        }
        REQUIRE(server.requests().size() > before);
        std::string_view trimmed = path;
        trimmed.remove_suffix(trimmed.size() - trimmed.find_last_not_of('/') - 1);
        CHECK(server.requests()[before].target ==
              std::string{trimmed} + "/api/conversation-feedbacks/");
    }
}

TEST_CASE("1,000 records of 4 threads, killed at a random moment, arrive exactly once") {
    TemporaryFolder folder;
    const std::uint16_t port = free_port();
    const unsigned seed = std::random_device{}();
    CAPTURE(seed);
    const std::size_t kill_after = std::mt19937{seed}() % 1'000;

    std::set<std::string> acknowledged;
    {
        ChildProcess application = ChildProcess::execute(
            E2E_APPLICATION, {(folder.path() / "feedback.db").string(), url_of(port), "4", "250"});
        std::string line;
        while (acknowledged.size() < kill_after) {
            const char c = application.await();
            REQUIRE(c != '\0');
            if (c != '\n') {
                line += c;
                continue;
            }
            acknowledged.insert(std::exchange(line, {}));
        }
        application.send(SIGKILL);
        std::istringstream rest(line + application.output());
        CHECK(application.wait().signal == SIGKILL);
        while (std::getline(rest, line)) {
            if (line != "done") {
                acknowledged.insert(line);
            }
        }
    }
    CAPTURE(acknowledged.size());

    sandbox::ServerOptions server_options;
    server_options.port = port;
    sandbox::Server server{server_options};
    ConversationManager manager{options_for(folder, url_of(port))};
    CHECK(manager.flush(patience));
    const Status status = manager.stats();
    CHECK(status.waiting == 0);
    CHECK(status.unknown == 0);
    CHECK(status.delivered == status.accepted);
    check_ledger(status);
    const auto counts = count_by_comment(server.rows());
    CHECK(counts.size() == status.accepted);
    for (const auto& [comment, count] : counts) {
        CHECK_MESSAGE(count == 1, comment);
    }
    for (const std::string& comment : acknowledged) {
        CHECK_MESSAGE(counts.contains(comment), comment);
    }
    CHECK(server.errors().empty());
}

TEST_CASE("submit returns while the server hangs, is absent, or refuses") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    std::string url = server.url();
    SUBCASE("hangs") {
        server.add_fault({.kind = sandbox::FaultKind::hang});
    }
    SUBCASE("never reads") {
        server.add_fault({.kind = sandbox::FaultKind::hang_connect});
    }
    SUBCASE("is absent") {
        url = url_of(free_port());
    }
    SUBCASE("refuses") {
        server.add_fault({.kind = sandbox::FaultKind::status, .status = 503, .body = "html"});
    }
    Options options = options_for(folder, url);
    options.close_deadline = 0ms;
    options.request_timeout = 10min;
    options.connect_timeout = 10min;
    ConversationManager manager{options};
    // None of these waits ten minutes: nothing on submit's path waits for the network.
    for (int i = 0; i < 100; ++i) {
        manager.submit_feedback("conversation-" + std::to_string(i), "negative");
    }
    const Status status = manager.stats();
    CHECK(status.accepted == 100);
    CHECK(status.delivered == 0);
    check_ledger(status);
}

TEST_CASE("close(2s) returns within 2.2 s against a server that accepts and never answers") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    server.add_fault({.kind = sandbox::FaultKind::hang});
    ConversationManager manager{options_for(folder, server.url())};
    submit_documented(manager);
    REQUIRE(server.wait_for_requests(1, patience));
    const auto start = std::chrono::steady_clock::now();
    manager.close(2s);
    CHECK(since(start) <= 2'200ms);
    CHECK_THROWS_AS(manager.stats(), Error);

    // What was in flight is unknown: held, visible, never resent blindly.
    const Outbox outbox{folder.path() / "feedback.db"};
    const Status status = outbox.status();
    CHECK(status.unknown + status.claimed == 1);
    check_ledger(status);
}

TEST_CASE("close without anything in flight returns at once") {
    TemporaryFolder folder;
    ConversationManager manager{options_for(folder, url_of(free_port()))};
    const auto start = std::chrono::steady_clock::now();
    manager.close(30s);
    manager.close(30s);
    CHECK(since(start) < 10s);
}

TEST_CASE("a record killed between claim and settle is unknown at the next start") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    server.add_fault({.kind = sandbox::FaultKind::hang, .method = "*"});
    {
        ChildProcess application = ChildProcess::execute(
            E2E_APPLICATION, {(folder.path() / "feedback.db").string(), server.url(), "1", "1"});
        REQUIRE(server.wait_for_requests(1, patience));
        application.kill();
    }
    ConversationManager manager{options_for(folder, server.url())};
    // The next drainer reads before it would send again; the server hangs, so it cannot know.
    manager.flush(1s);
    CHECK(manager.stats().unknown == 1);
    std::size_t posts = 0;
    for (const auto& request : server.requests()) {
        posts += request.method == "POST" ? 1 : 0;
    }
    CHECK(posts == 1);
    manager.close(0ms);
}

TEST_CASE("a missing credential keeps records and holds; setting one sends them") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    Options options = options_for(folder, server.url());
    options.credential = {};
    ::unsetenv("AGENTSIGHT_API_KEY");
    ConversationManager manager{options};
    submit_documented(manager);
    CHECK_FALSE(manager.flush(patience));
    CHECK(manager.stats().waiting == 1);
    REQUIRE(manager.stats().hold.has_value());
    CHECK(manager.stats().hold->reason == HoldReason::no_credential);
    CHECK(server.requests().empty());

    manager.set_credential(ApiKey{"ags_late"});
    REQUIRE(server.wait_for_rows(1, patience));
    CHECK(manager.flush(patience));
    CHECK(manager.stats().delivered == 1);
    CHECK_FALSE(manager.stats().hold.has_value());
}

TEST_CASE("flush says no, at once, while a person holds what waits") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    ConversationManager manager{options_for(folder, server.url())};
    Outbox outbox{folder.path() / "feedback.db", OutboxMode::read_write};
    outbox.hold();
    const Receipt receipt = manager.submit_feedback("one", "positive");
    const auto start = std::chrono::steady_clock::now();
    CHECK_FALSE(manager.flush(patience));
    CHECK(since(start) < patience);
    CHECK(server.requests().empty());
    outbox.release();
    CHECK(manager.flush(patience));
    CHECK(manager.wait(receipt.id, 0ms) == RecordState::delivered);
    outbox.hold();
    CHECK(manager.flush(patience));  // nothing waits
}

TEST_CASE("a record of one kind of credential is never sent under the other") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    Options options = options_for(folder, server.url());
    {
        Options offline = options;
        offline.endpoint = url_of(free_port());
        ConversationManager manager{offline};
        manager.submit_feedback("of a customer", "positive", "customer");
        manager.close(0ms);
    }
    {
        Outbox outbox{options.outbox_path, OutboxMode::read_write};
        outbox.submit({.conversation = "of nobody", .sentiment = "positive", .comment = "none"});
    }
    options.credential = Jwt{"a.b.c"};
    {
        ConversationManager manager{options};
        manager.submit_feedback("of the platform", "positive", "platform");
        CHECK(manager.flush(patience));  // at once: a start after a link hold spreads its backlog
        const Status status = manager.stats();
        CHECK(status.waiting == 1);
        CHECK(status.waiting_for_other_credential == 1);
    }
    auto counts = count_by_comment(server.rows());
    CHECK(counts == std::map<std::string, int>{{"none", 1}, {"platform", 1}});

    options.credential = ApiKey{"ags_key"};
    ConversationManager manager{options};
    CHECK(manager.flush(patience));
    REQUIRE(server.rows().size() == 3);
    CHECK(server.rows()[2].source == "customer");
    CHECK(manager.stats().waiting_for_other_credential == 0);
}

TEST_CASE("two applications of one user on default options use two files") {
    TemporaryFolder home;
    ::setenv("XDG_DATA_HOME", home.path().c_str(), 1);
    ::unsetenv("AGENTSIGHT_OUTBOX");
    Options one;
    one.application = "lobby-kiosk";
    one.endpoint = url_of(free_port());
    Options other = one;
    other.application = "help-desk";
    ConversationManager first{one};
    ConversationManager second{other};
    first.submit_feedback("a", "positive");
    CHECK(first.stats().accepted == 1);
    CHECK(second.stats().accepted == 0);
    CHECK(first.stats().path != second.stats().path);
    CHECK(std::filesystem::exists(Outbox::default_path("lobby-kiosk")));
    CHECK(std::filesystem::exists(Outbox::default_path("help-desk")));
    ::unsetenv("XDG_DATA_HOME");
}

TEST_CASE("async_submit_feedback commits on the worker and calls back exactly once") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    ConversationManager manager{options_for(folder, server.url())};
    std::promise<std::pair<std::error_code, Receipt>> answer;
    manager.async_submit_feedback("conv", Sentiment::positive, "later", {{"a", 1}},
                                  [&](std::error_code error, const Receipt& receipt) {
                                      answer.set_value({error, receipt});
                                  });
    const auto [error, receipt] = answer.get_future().get();
    CHECK_FALSE(error);
    CHECK(receipt.stored);
    CHECK(manager.wait(receipt.id, patience) == RecordState::delivered);

    std::error_code refused;
    manager.async_submit_feedback("", Sentiment::positive,
                                  [&](std::error_code e, const Receipt&) { refused = e; });
    CHECK(refused == errc::id_empty);
}

TEST_CASE("asynchronous submits still queued at close are committed and answered") {
    TemporaryFolder folder;
    const Options options = options_for(folder, url_of(free_port()));
    std::atomic<int> answers = 0;
    std::atomic<int> stored = 0;
    {
        ConversationManager manager{options};
        for (int i = 0; i < 500; ++i) {
            manager.async_submit_feedback("conv", Sentiment::positive,
                                          [&](std::error_code error, const Receipt&) {
                                              ++answers;
                                              stored += error ? 0 : 1;
                                          });
        }
    }
    CHECK(answers == 500);
    CHECK(Outbox{options.outbox_path}.status().accepted ==
          static_cast<std::uint64_t>(stored.load()));
}

TEST_CASE("observers see what happened, in order, through dispatch where it is set") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    Options options = options_for(folder, server.url());
    std::mutex mutex;
    std::vector<std::function<void()>> loop;
    constexpr std::size_t records = 50;
    std::vector<std::string> ids;
    std::vector<std::string> seen;
    SUBCASE("on the worker's thread") {}
    SUBCASE("through dispatch") {
        options.dispatch = [&](std::function<void()> task) {
            const std::lock_guard lock(mutex);
            loop.push_back(std::move(task));
        };
    }
    options.observer = [&](const Event& event) {
        if (std::holds_alternative<event::Submitted>(event)) {
            seen.push_back("submitted " + std::get<event::Submitted>(event).id);
        } else if (std::holds_alternative<event::Delivered>(event)) {
            seen.push_back("delivered " + std::get<event::Delivered>(event).id);
        }
    };
    {
        ConversationManager manager{options};
        for (std::size_t i = 0; i < records; ++i) {
            ids.push_back(manager.submit_feedback(std::to_string(i), "positive").id);
        }
        CHECK(manager.flush(patience));
        manager.close(5s);
    }
    if (options.dispatch) {
        CHECK(seen.empty());
    }
    for (auto& task : loop) {
        task();
    }
    CHECK(seen.size() == 2 * records);
    for (const std::string& id : ids) {  // whoever was slow to tell it, the submit came first
        const auto submitted = std::find(seen.begin(), seen.end(), "submitted " + id);
        CHECK(std::find(submitted, seen.end(), "delivered " + id) != seen.end());
    }
}

TEST_CASE("a record submitted by another process is sent promptly by the drainer") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    const Options options = options_for(folder, server.url());
    ConversationManager drainer{options};
    const Receipt first = drainer.submit_feedback("one", "positive", "first");
    CHECK(drainer.wait(first.id, patience) == RecordState::delivered);

    const auto start = std::chrono::steady_clock::now();
    ChildProcess other = ChildProcess::execute(
        E2E_APPLICATION, {options.outbox_path.string(), server.url(), "2", "5"});
    REQUIRE(server.wait_for_rows(11, patience));
    CHECK(since(start) < 25s);  // the 30 s poll of a host without bells is not what did it
    CHECK(drainer.stats().drainer.has_value());
    CHECK(drainer.stats().drainer->pid == static_cast<std::int64_t>(::getpid()));
}

TEST_CASE("when the drainer dies, another process takes over at once") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    const Options options = options_for(folder, server.url());
    auto first = std::make_unique<ChildProcess>(ChildProcess::execute(
        E2E_APPLICATION, {options.outbox_path.string(), server.url(), "1", "1"}));
    REQUIRE(server.wait_for_rows(1, patience));
    ConversationManager follower{options};
    const auto start = std::chrono::steady_clock::now();
    first->kill();
    const Receipt receipt = follower.submit_feedback("after", "neutral", "after the death");
    CHECK(follower.wait(receipt.id, patience) == RecordState::delivered);
    CHECK(since(start) < 25s);
}

TEST_CASE("pause stops this manager's sending and resume goes on") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    ConversationManager manager{options_for(folder, server.url())};
    manager.pause();
    CHECK_FALSE(manager.flush(200ms));  // also: the worker has seen the pause
    const Receipt receipt = manager.submit_feedback("conv", "positive");
    CHECK(manager.wait(receipt.id, 200ms) == RecordState::waiting);
    CHECK(server.requests().empty());
    manager.resume();
    CHECK(manager.wait(receipt.id, patience) == RecordState::delivered);
}

TEST_CASE("fetch_conversation finds by business id and by database id") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    const Options options = options_for(folder, server.url());
    {
        ConversationManager manager{options};
        const Receipt receipt = manager.submit_feedback("conv-123", "positive", "words");
        REQUIRE(manager.wait(receipt.id, patience) == RecordState::delivered);
    }
    Client api{options};
    const nlohmann::json conversation = api.fetch_conversation("conv-123");
    const auto id = conversation["id"].get<std::int64_t>();
    CHECK(id == server.rows()[0].conversation);
    CHECK(api.fetch_conversation(id)["id"] == id);
    for (const auto& request : server.requests()) {
        CHECK(request.target.find("/lookup/") == std::string::npos);
    }

    const auto code_of = [&](auto call) {
        try {
            call();
        } catch (const Error& error) {
            return std::pair{error.code(), error.http_status()};
        }
        return std::pair{std::error_code{}, 0};
    };
    CHECK(code_of([&] { api.fetch_conversation("nobody"); }).first == errc::not_found);
    CHECK(code_of([&] { api.fetch_conversation(999'999); }) ==
          std::pair{make_error_code(errc::not_found), 404});
    CHECK(code_of([&] { api.fetch_conversation(""); }).first == errc::id_empty);
    server.stop();
    CHECK(code_of([&] { api.fetch_conversation("conv-123"); }).first == errc::network);
    Options none = options;
    none.credential = {};
    ::unsetenv("AGENTSIGHT_API_KEY");
    Client without{none};
    CHECK(code_of([&] { without.fetch_conversation("conv-123"); }).first == errc::no_credential);
}
