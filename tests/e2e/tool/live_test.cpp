#include <signal.h>

#include <atomic>
#include <thread>

#include "support/child_process.hpp"
#include "tool.hpp"

// The tool on an outbox at work, and interrupted at its own work.

using namespace agentsight::test;
using namespace std::chrono_literals;

TEST_CASE("every verb works on an outbox that an application submits to and drains") {
    const Tool tool;
    const sandbox::Server server;
    agentsight::Options options;
    options.outbox_path = tool.path();
    options.endpoint = server.url();
    options.credential = agentsight::ApiKey{write_key};
    agentsight::ConversationManager manager(options);

    std::atomic<bool> stopping = false;
    std::atomic<int> submitted = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&, i] {
            while (!stopping) {
                manager.submit_feedback("conv-" + std::to_string(i), "positive", "live");
                ++submitted;
                std::this_thread::yield();
            }
        });
    }
    while (submitted == 0) {
        std::this_thread::yield();
    }
    for (const auto& verb : std::vector<std::vector<std::string>>{{"status"},
                                                                  {"status", "--json"},
                                                                  {"list", "--limit", "5"},
                                                                  {"export", "--since", "1ms"},
                                                                  {"metrics"},
                                                                  {"hold"},
                                                                  {"release"},
                                                                  {"verify"}}) {
        const Run run = tool(verb);
        CAPTURE(verb.front());
        CAPTURE(run.err);
        // An export of the last millisecond may well be empty.
        CHECK((run.code == 0 || (run.code == 4 && verb.front() == "export")));
    }
    tool.submit("from-the-tool", "rung");
    stopping = true;
    for (std::thread& thread : threads) {
        thread.join();
    }
    CHECK(manager.flush(30s));
    CHECK(server.row_count() == static_cast<std::size_t>(submitted) + 1);
    CHECK(server.rows().size() == static_cast<std::size_t>(submitted) + 1);
    CHECK(tool({"verify"}).code == 0);
    CHECK(manager.stats().waiting == 0);
}

TEST_CASE("an interrupted drain ends soon, with 3, and says how things stand") {
    const Tool tool;
    tool.submit();
    sandbox::Server server;
    server.add_fault("hang");
    for (const int signal : {SIGINT, SIGTERM}) {
        server.clear_journal();
        ChildProcess drain = ChildProcess::execute(
            "/usr/bin/env", {"AGENTSIGHT_OUTBOX=" + tool.path(),
                             "AGENTSIGHT_JWT=", std::string("AGENTSIGHT_API_KEY=") + write_key,
                             AGENTSIGHT_OUTBOX_TOOL, "drain", "--endpoint", server.url()});
        if (signal == SIGINT) {
            REQUIRE(server.wait_for_requests(1, 20s));
        }
        while (!tool.status()["drainer"].is_object()) {
        }
        const auto start = std::chrono::steady_clock::now();
        drain.send(signal);
        CHECK(drain.wait().code == 3);
        CHECK(std::chrono::steady_clock::now() - start < 5s);
        CHECK(tool.status()["drainer"].is_null());
    }
    CHECK(tool.status()["accepted"] == 1);
}
