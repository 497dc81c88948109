#include <signal.h>

#include <fstream>

#include "agentsight/agentsight.hpp"
#include "support/child_process.hpp"
#include "tool.hpp"

// The verb that sends, against the sandbox.

using namespace agentsight::test;
using namespace std::chrono_literals;
using nlohmann::json;
using std::chrono::steady_clock;

TEST_CASE("drain sends everything once and ends with 0") {
    const Tool tool;
    for (int i = 0; i < 25; ++i) {
        tool.submit("conv-" + std::to_string(i % 3), "comment " + std::to_string(i));
    }
    const sandbox::Server server;
    const Run run = tool.drain(server);
    CAPTURE(run.err);
    CHECK(run.code == 0);
    CHECK(run.out == "25 records delivered, 0 dead letters\n");
    CHECK(server.row_count() == 25);
    CHECK(server.errors().empty());
    CHECK(server.requests().front().header("Authorization") == std::string("Api-Key ") + write_key);
    const json status = tool.status();
    CHECK(status["delivered"] == 25);
    CHECK(status["last_delivered_at"].is_string());
    CHECK(tool.json({"list", "--limit", "1"})[0]["server_id"].is_number_integer());
    // Nothing is left: at once, and no further request.
    CHECK(tool.drain(server).code == 0);
    CHECK(server.row_count() == 25);
}

TEST_CASE("a dead letter does not keep drain from ending with 0; their number is printed") {
    const Tool tool;
    tool.submit("a");
    tool.submit("b");
    sandbox::Server server;
    server.add_fault("status,status=400,body=json,times=1");
    const Run run = tool.drain(server);
    CAPTURE(run.err);
    CHECK(run.code == 0);
    CHECK(run.out.starts_with("1 record delivered, 1 dead letter "));
    const json report = tool.json({"status"});
    CHECK(report["dead"] == 1);
}

TEST_CASE("drain ends with 3 at its deadline, not before and not long after") {
    const Tool tool;
    tool.submit();
    sandbox::Server server;
    server.set_link(false);
    const auto start = steady_clock::now();
    const Run run = tool.drain(server, {"--deadline", "700ms"});
    const auto took = steady_clock::now() - start;
    check_refused(run, 3, "at the deadline: 1 waiting");
    CHECK(took >= 700ms);
    CHECK(took < 30s);
    CHECK(tool.status()["hold"]["reason"] == "link_down");
    CHECK(tool({"status"}).out.find("no way through to the server") != std::string::npos);
    server.set_link(true);
    CHECK(tool.drain(server).code == 0);
    CHECK(server.row_count() == 1);
}

TEST_CASE("a drain that settles nothing asks ever more rarely") {
    const Tool tool;
    tool.submit();
    sandbox::Server server;
    server.add_fault("status,status=404,body=json");
    check_refused(tool.drain(server, {"--deadline", "3s"}), 3, "1 waiting");
    // A flush comes after 50 ms, then after twice as long each time: six of them, and what the
    // backoff of a young record allows between.
    CHECK(server.requests().size() <= 16);
    server.clear_faults();
    CHECK(tool.drain(server).code == 0);
    CHECK(server.row_count() == 1);
}

TEST_CASE("drain gives up at once where only a person can help") {
    const Tool tool;
    tool.submit();
    const sandbox::Server server;
    REQUIRE(tool({"hold"}).code == 0);
    const auto start = steady_clock::now();
    check_refused(tool.drain(server, {"--deadline", "300s"}), 3, "stopped by a person");
    CHECK(steady_clock::now() - start < 60s);
    CHECK(server.requests().empty());
    REQUIRE(tool({"release"}).code == 0);
    CHECK(tool.drain(server).code == 0);
}

TEST_CASE("drain gives up at once without a credential, and where it is refused") {
    Tool tool;
    tool.submit();
    sandbox::Server server;
    server.change_settings([](sandbox::Settings& settings) { settings.api_keys = {write_key}; });
    const auto start = steady_clock::now();
    check_refused(tool({"drain", "--deadline", "300s", "--endpoint", server.url()}), 3,
                  "no API key");
    CHECK(tool.status()["hold"]["reason"] == "no_credential");

    tool.environment["AGENTSIGHT_API_KEY"] = "ags_wrong";
    check_refused(tool.drain(server, {"--deadline", "300s"}), 3, "refuses the API key");
    CHECK(steady_clock::now() - start < 120s);
    const json hold = tool.status()["hold"];
    CHECK(hold["reason"] == "credential_refused");
    CHECK(hold["status"] == 401);
    const std::string words = tool({"status"}).out;
    CHECK(words.find("(401 Invalid API key.)") != std::string::npos);
    CHECK(words.find("1 record waits") != std::string::npos);
    CHECK(words.find("set a new key; nothing is lost") != std::string::npos);
    CHECK(server.row_count() == 0);

    // What a technician does then.
    tool.environment["AGENTSIGHT_API_KEY"] = write_key;
    CHECK(tool.drain(server).code == 0);
    CHECK(server.row_count() == 1);
    CHECK(tool({"verify"}).code == 0);
    CHECK(tool.status()["hold"].is_null());
}

TEST_CASE("drain gives up at once where another process drains and both their keys are refused") {
    Tool tool;
    tool.submit();
    sandbox::Server server;
    server.change_settings([](sandbox::Settings& settings) { settings.api_keys = {write_key}; });
    agentsight::Options options;
    options.outbox_path = tool.path();
    options.endpoint = server.url();
    options.credential = agentsight::ApiKey{"ags_old"};
    agentsight::ConversationManager other(options);
    CHECK_FALSE(other.flush(20s));
    tool.environment["AGENTSIGHT_API_KEY"] = "ags_wrong";
    const auto start = steady_clock::now();
    const Run run = tool.drain(server, {"--deadline", "300s"});
    CAPTURE(run.err);
    CHECK(run.code == 3);
    CHECK(run.err.find("set a new key; nothing is lost") != std::string::npos);
    CHECK(run.err.find("at the deadline") == std::string::npos);
    CHECK(steady_clock::now() - start < 120s);
}

TEST_CASE("drain never undercuts Retry-After") {
    const Tool tool;
    tool.submit("a");
    sandbox::Server server;
    server.add_fault("throttle,requests=0,per_ms=60000,retry_after=60");
    check_refused(tool.drain(server, {"--deadline", "300ms"}), 3, "asked to wait");
    const std::size_t asked = server.requests().size();
    check_refused(tool.drain(server, {"--deadline", "300ms"}), 3, "asked to wait");
    CHECK(server.requests().size() == asked);
    CHECK(tool.status()["hold"]["reason"] == "throttled");
    CHECK(tool.status()["hold"]["until"].is_string());
}

TEST_CASE("the credential comes from the file, else from the environment, never both variables") {
    Tool tool;
    const sandbox::Server server;
    const std::string file = (tool.folder / "credential").string();
    std::ofstream(file) << "Bearer token-from-file\n";
    tool.environment["AGENTSIGHT_API_KEY"] = "one";
    tool.environment["AGENTSIGHT_JWT"] = "two";
    tool.submit();
    check_refused(tool({"drain", "--endpoint", server.url()}), 2, "both set");
    // The file settles it.
    const Run run = tool({"drain", "--endpoint", server.url(), "--credential-file", file});
    CAPTURE(run.err);
    CHECK(run.code == 0);
    CHECK(server.requests().back().header("Authorization") == "Bearer token-from-file");
    CHECK(server.rows().back().source == "platform");

    tool.environment["AGENTSIGHT_API_KEY"] = "";  // empty is unset
    tool.submit();
    CHECK(tool({"drain", "--endpoint", server.url()}).code == 0);
    CHECK(server.requests().back().header("Authorization") == "Bearer two");
}

TEST_CASE("a credential file that holds anything but one credential is refused, unrepeated") {
    const Tool tool;
    tool.submit();
    const std::string file = (tool.folder / "credential").string();
    for (const std::string& content :
         {std::string(), std::string("SECRET"), std::string("Api-Key "),
          std::string("api-key SECRET"), std::string("Api-Key SECRET\nApi-Key SECRET2\n"),
          std::string("Api-Key SEC\0RET", 15), "Api-Key " + std::string(20'000, 'S')}) {
        std::ofstream(file, std::ios::binary) << content;
        const Run run = tool({"drain", "--credential-file", file});
        CAPTURE(content);
        check_refused(run, 2, "--credential-file");
        CHECK(run.err.find("SEC") == std::string::npos);
    }
    check_refused(tool({"drain", "--credential-file", tool.folder.path().string()}), 2,
                  "--credential-file");
}

TEST_CASE("no output of the tool and no file of the outbox ever holds the credential") {
    Tool tool;
    tool.submit();
    sandbox::Server server;
    server.change_settings([](sandbox::Settings& settings) { settings.api_keys = {"other"}; });
    const std::string secret = "ags_5ecre75ecre75ecre75ecre75ecre75e_5ecre7";
    tool.environment["AGENTSIGHT_API_KEY"] = secret;
    for (const auto& verb :
         std::vector<std::vector<std::string>>{{"drain", "--endpoint", server.url()},
                                               {"status"},
                                               {"status", "--json"},
                                               {"list", "--json"},
                                               {"export"},
                                               {"metrics"},
                                               {"verify"}}) {
        const Run run = tool(verb);
        CHECK((run.out + run.err).find("5ecre7") == std::string::npos);
    }
    for (const auto& entry : std::filesystem::directory_iterator(tool.folder.path())) {
        if (entry.is_regular_file()) {
            CHECK(bytes_of(entry.path()).find("5ecre7") == std::string::npos);
        }
    }
}

TEST_CASE("where another process drains, drain rings it, says so and waits for it") {
    Tool tool;
    const std::string outbox = tool.path();
    const auto url = tool.folder / "url";
    // Before there is a server: its threads may hold a lock of the sanitizer's allocator, which a
    // child would never get.
    ChildProcess other = ChildProcess::run([&](ParentLink& parent) {
        parent.await();
        agentsight::Options options;
        options.outbox_path = outbox;
        options.endpoint = bytes_of(url);
        options.credential = agentsight::ApiKey{write_key};
        agentsight::ConversationManager manager(options);
        manager.submit_feedback("conv", "positive");
        manager.flush(20s);
        parent.tell();
        parent.await();
        return 0;
    });
    const sandbox::Server server;
    std::ofstream(url) << server.url();
    other.say();
    REQUIRE(other.await() != '\0');
    const json drainer = tool.status()["drainer"];
    REQUIRE(drainer.is_object());
    CHECK(drainer["pid"] == other.pid());
    CHECK(drainer["stopped"] == false);
    tool.submit("conv", "second");
    const Run run = tool.drain(server);
    CAPTURE(run.err);
    CHECK(run.code == 0);
    CHECK(run.err.find("process " + std::to_string(other.pid()) + " drains this outbox") !=
          std::string::npos);
    CHECK(server.row_count() == 2);

    other.stop();
    CHECK(tool.status()["drainer"]["stopped"] == true);
    tool.submit("conv", "third");
    CHECK(tool({"status"}).out.find("is stopped") != std::string::npos);
    check_refused(
        [&] {
            Run stopped = tool.drain(server, {"--deadline", "300ms"});
            // Two lines: that another drains and is stopped, and that it did not end.
            CHECK(stopped.err.find("kill -CONT") != std::string::npos);
            stopped.err.erase(0, stopped.err.find('\n') + 1);
            return stopped;
        }(),
        3, "at the deadline");
    other.resume();
    CHECK(tool.drain(server).code == 0);
    CHECK(server.row_count() == 3);
    other.say();
    CHECK(other.wait().code == 0);
}

TEST_CASE("drain on a terminal shows its progress and clears it away") {
    Tool tool;
    tool.submit();
    sandbox::Server server;
    server.add_fault("latency,ms=300");
    tool.environment["TERM"] = "xterm";
    tool.environment["AGENTSIGHT_API_KEY"] = write_key;
    const Run run = run_on_terminal(AGENTSIGHT_OUTBOX_TOOL, {"drain", "--endpoint", server.url()},
                                    tool.environment);
    CHECK(run.code == 0);
    CHECK(run.out.find("0 delivered, 1 to go") != std::string::npos);
    CHECK(run.out.find("1 record delivered") != std::string::npos);
}

TEST_CASE("drain with the right kind of credential sends what another kind had to leave") {
    const Tool tool;
    const std::string path = tool.environment.at("AGENTSIGHT_OUTBOX");
    {
        agentsight::Options options;
        options.outbox_path = path;
        options.endpoint = "http://127.0.0.1:1";
        options.credential = agentsight::ApiKey{"ags_one"};
        agentsight::ConversationManager manager{options};
        manager.submit_feedback("of a customer", "positive");
        manager.close(0ms);
    }
    const sandbox::Server server;
    Tool platform;
    platform.environment["AGENTSIGHT_OUTBOX"] = path;
    platform.environment.erase("AGENTSIGHT_API_KEY");
    platform.environment["AGENTSIGHT_JWT"] = "a.b.c";
    check_refused(platform({"drain", "--endpoint", server.url()}), 3,
                  "submitted under another kind of credential");
    CHECK(server.row_count() == 0);
    CHECK(tool.drain(server).code == 0);
    REQUIRE(server.row_count() == 1);
    CHECK(server.rows()[0].source == "customer");
}

TEST_CASE("a drain that finds the file damaged says that it was moved aside") {
    const Tool tool;
    for (int i = 0; i < 20; ++i) {
        tool.submit("conv", "comment " + std::to_string(i));
    }
    const std::string bytes = bytes_of(tool.path());
    const std::size_t at = bytes.find("comment 7");
    REQUIRE(at != std::string::npos);
    std::fstream(tool.path(), std::ios::binary | std::ios::in | std::ios::out)
            .seekp(static_cast<std::streamoff>(at))
        << 'C';
    const sandbox::Server server;
    const Run run = tool.drain(server, {"--deadline", "30s", "--reconcile-after", "0s"});
    CAPTURE(run.out);
    CHECK(run.err.find("was damaged: its file was moved aside, whole, to '" + tool.path() +
                       ".damaged-") != std::string::npos);
    CHECK(run.err.find("19 records rescued") != std::string::npos);
}

TEST_CASE(
    "what a drain says at its deadline is what is there, and its own stop is nobody's fault") {
    const Tool tool;
    sandbox::Server server;
    server.add_fault({.kind = sandbox::FaultKind::latency, .ms = 20'000});
    for (int i = 0; i < 7; ++i) {
        tool.submit("conv-" + std::to_string(i));
    }
    const Run run = tool.drain(server, {"--deadline", "1s", "--json"});
    CHECK(run.code == 3);
    const json said = json::parse(run.out);
    const json status = tool.status();
    for (const char* const member :
         {"waiting", "claimed", "unknown", "delivered", "hold", "drainer"}) {
        CAPTURE(member);
        CHECK(said[member] == status[member]);
    }
    CHECK(status["claimed"] == 0);
    CHECK(status["unknown"].get<int>() > 0);
    CHECK(status["hold"].is_null());
    CHECK(status["drainer"].is_null());
    CHECK(run.err.find(std::to_string(status["unknown"].get<int>()) + " unknown") !=
          std::string::npos);
}

TEST_CASE("release says that the server's own time still binds") {
    const Tool tool;
    sandbox::Server server;
    server.add_fault({.kind = sandbox::FaultKind::status,
                      .status = 429,
                      .body = R"({"detail": "Request was throttled."})",
                      .headers = {{"Retry-After", "60"}}});
    tool.submit();
    CHECK(tool.drain(server, {"--deadline", "500ms"}).code == 3);
    REQUIRE(tool.status()["hold"]["reason"] == "throttled");
    CHECK(tool({"release"}).out.find("once the server's own time is over") != std::string::npos);
    const Tool other;
    other.submit();
    REQUIRE(other({"hold"}).code == 0);
    CHECK(other({"release"}).out.starts_with("released: whoever sends next does so at once; "));
}

TEST_CASE("release ends what holds an outbox also while no process sends") {
    Tool tool;
    tool.submit();
    sandbox::Server server;
    const std::vector<std::string> verb{"drain", "--deadline", "2s", "--endpoint", server.url()};
    CHECK(tool(verb).code == 3);
    CHECK(tool.status()["hold"]["reason"] == "no_credential");
    // That one is none that a release could end.
    CHECK(tool({"release"}).out.starts_with("released; but there is no API key to send with"));
    CHECK(tool.status()["hold"]["reason"] == "no_credential");

    server.add_fault("status,status=401,body=json,times=1");
    CHECK(tool.drain(server).code == 3);
    CHECK(tool.status()["hold"]["reason"] == "credential_refused");
    REQUIRE(tool({"release"}).code == 0);
    CHECK(tool.status()["hold"] == nullptr);
    CHECK(tool.drain(server).code == 0);
    CHECK(server.row_count() == 1);
}
