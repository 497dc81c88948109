#include <signal.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <mutex>
#include <thread>

#include "support/child_process.hpp"
#include "tool.hpp"

// The tool on an outbox at work, and interrupted at its own work.

using namespace agentsight::test;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

/// An application at work: four threads submit as fast as they can, its worker drains.
class Application {
  public:
    Application(const Tool& tool, const sandbox::Server& server)
        : manager_(options(tool, server)), wal_(tool.path() + "-wal") {
        for (int i = 0; i < 4; ++i) {
            threads_.emplace_back([this, i] { submit(i); });
        }
        threads_.emplace_back([this] { watch_wal(); });
        while (submitted_ < 100) {
            std::this_thread::yield();
        }
    }
    ~Application() { stop(); }

    void stop() {
        stopping_ = true;
        for (std::thread& thread : threads_) {
            thread.join();
        }
        threads_.clear();
    }

    agentsight::ConversationManager& manager() { return manager_; }
    std::size_t submitted() const { return submitted_; }
    std::string failure() const { return failure_; }
    void forget_wal() { largest_wal_ = 0; }
    std::uintmax_t largest_wal() const { return largest_wal_; }

  private:
    static agentsight::Options options(const Tool& tool, const sandbox::Server& server) {
        agentsight::Options options;
        options.outbox_path = tool.path();
        options.endpoint = server.url();
        options.credential = agentsight::ApiKey{write_key};
        return options;
    }

    void submit(int thread) {
        std::uint64_t n = 0;
        try {
            while (!stopping_) {
                // Many conversations, so that they are sent in parallel.
                manager_.submit_feedback(
                    "conv-" + std::to_string(thread) + "-" + std::to_string(++n % 50), "positive",
                    "live");
                ++submitted_;
            }
        } catch (const std::exception& error) {
            const std::lock_guard lock(mutex_);
            failure_ = error.what();
        }
    }

    void watch_wal() {
        while (!stopping_) {
            std::error_code ec;
            const std::uintmax_t size = std::filesystem::file_size(wal_, ec);
            largest_wal_ = ec ? largest_wal_.load() : std::max(largest_wal_.load(), size);
            std::this_thread::yield();
        }
    }

    agentsight::ConversationManager manager_;
    const std::filesystem::path wal_;
    std::atomic<bool> stopping_ = false;
    std::atomic<std::size_t> submitted_ = 0;
    std::atomic<std::uintmax_t> largest_wal_ = 0;
    std::mutex mutex_;
    std::string failure_;
    std::vector<std::thread> threads_;
};

}  // namespace

/// A megabyte, and some more for each reader that is at work when it could begin anew: with
/// one that reads on and on it grows by some ten megabytes a second here.
constexpr std::uintmax_t most_wal = std::uintmax_t{32} << 20;

TEST_CASE("P17: every verb works on an outbox that an application submits to and drains") {
    const Tool tool;
    std::vector<std::string> dead;
    {
        sandbox::Server server;
        server.add_fault("status,status=422,body=json,times=3");
        dead = {tool.submit("dead-1"), tool.submit("dead-2"), tool.submit("dead-3")};
        REQUIRE(tool.drain(server).code == 0);
    }
    const std::string unknown = "0198b7d0-0000-7d11-8f00-000000000001";
    const std::string lines = R"({"id":")" + unknown +
                              R"(","conversation_id":"u","sentiment":"neutral","state":"unknown"})"
                              "\n"
                              R"({"conversation_id":"i","sentiment":"neutral"})"
                              "\n";
    REQUIRE(tool({"import", "-"}, lines).code == 0);
    constexpr int more = 600;  // three commits
    const std::string file = (tool.folder / "more.ndjson").string();
    {
        std::ofstream stream(file);
        for (int i = 0; i < more; ++i) {
            stream << R"({"conversation_id":"i-)" << i % 20 << R"(","sentiment":"neutral"})"
                   << "\n";
        }
    }

    const sandbox::Server server;
    Application application(tool, server);
    using Verb = std::vector<std::string>;
    for (const Verb& verb : std::vector<Verb>{
             {"status"},
             {"status", "--json"},
             {"list", "--limit", "5"},
             {"show", dead[0]},
             {"watch", "--count", "3", "--every", "100ms"},
             {"metrics"},
             {"requeue", dead[0]},
             {"discard", dead[2]},
             {"requeue", "--all", "--state", "dead", "--yes"},
             {"resolve", unknown, "--resend"},
             {"submit", "--conversation-id", "from-the-tool", "--sentiment", "neutral"},
             {"hold"},
             {"release"},
             {"purge", "--delivered-before", "2099-01-01", "--json"},
             {"compact", "--json"},
             {"verify"},
             {"salvage"},
             {"import", file},
             {"export"}}) {
        const std::size_t before = application.submitted();
        application.forget_wal();
        const Run run = tool(verb);
        CAPTURE(verb.front());
        CAPTURE(run.err);
        CHECK(run.code == 0);
        CHECK(application.largest_wal() < most_wal);
        if (verb.front() == "purge") {
            CHECK(json::parse(run.out)["purged"] > 100);
        }
        // The application went on meanwhile: whatever the verb did, it did not stop it.
        while (application.submitted() == before && application.failure().empty()) {
            std::this_thread::yield();
        }
    }
    // New ones keep coming, so it is not all settled.
    const Run drain = tool.drain(server, {"--deadline", "500ms"});
    CAPTURE(drain.err);
    CHECK((drain.code == 0 || drain.code == 3));
    application.stop();
    CHECK(application.failure() == "");
    CHECK(application.manager().flush(60s));
    // Theirs, two once dead, one resolved, those imported, one by the tool: each once.
    CHECK(server.row_count() == application.submitted() + 5 + more);
    CHECK(tool({"verify"}).code == 0);
    CHECK(application.manager().stats().waiting == 0);
}

TEST_CASE("a submit waits for an import no longer than for a commit or two") {
    const Tool tool;
    std::string lines;
    for (int i = 0; i < 50'000; ++i) {
        lines += R"({"conversation_id":"i","sentiment":"neutral"})"
                 "\n";
    }
    agentsight::Outbox outbox(tool.path(), agentsight::OutboxMode::create);
    Run run;
    std::thread import([&] { run = tool({"import", "-"}, lines); });
    // How far the import came while we waited, in records; it commits 256 at a time.
    std::vector<std::uint64_t> waited;
    std::uint64_t accepted = 0;
    while (accepted < 50'000) {
        const std::uint64_t before = outbox.status().accepted;
        outbox.submit({.conversation = "ours", .sentiment = "neutral"});
        accepted = outbox.status().accepted;
        if (before > waited.size() && accepted < 50'000) {
            waited.push_back(accepted - before - 1);
        }
    }
    import.join();
    CHECK(run.code == 0);
    REQUIRE_FALSE(waited.empty());
    std::sort(waited.begin(), waited.end());
    // Of four waits the shortest: a machine at work elsewhere may keep us from the lock longer.
    CHECK(waited[waited.size() / 4] <= 2 * 256);
    CHECK(tool({"verify"}).code == 0);
}

TEST_CASE("an interrupted drain ends soon, with 3, and says how things stand") {
    const Tool tool;
    tool.submit();
    sandbox::Server server;
    server.add_fault("hang");
    for (const int signal : {SIGINT, SIGTERM}) {
        server.clear_journal();
        ChildProcess drain = ChildProcess::execute(
            "/usr/bin/env", {"AGENTSIGHT_OUTBOX=" + tool.path(), "AGENTSIGHT_JWT=",
                             std::string("AGENTSIGHT_API_KEY=") + write_key, AGENTSIGHT_OUTBOX_TOOL,
                             "drain", "--deadline", "300s", "--endpoint", server.url()});
        if (signal == SIGINT) {
            REQUIRE(server.wait_for_requests(1, 20s));
        }
        while (!tool.status()["drainer"].is_object()) {
        }
        const auto start = std::chrono::steady_clock::now();
        drain.send(signal);
        CHECK(drain.wait().code == 3);
        CHECK(std::chrono::steady_clock::now() - start < 60s);
        CHECK(tool.status()["drainer"].is_null());
    }
    CHECK(tool.status()["accepted"] == 1);
}
