// An idle outbox costs nothing: ten seconds of strace over every thread of an application that
// has delivered all it had show no system call.

#include <algorithm>
#include <fstream>

#include "e2e/support.hpp"
#include "support/child_process.hpp"
#include "support/sanitizers.hpp"

using namespace agentsight;
using namespace agentsight::test;

namespace {

constexpr const char* strace = "/usr/bin/strace";

// The thread sanitizer's runtime has a thread of its own, which does not idle.
constexpr bool can_idle = !under_thread_sanitizer;

/// A container may forbid it.
bool can_trace() {
    return can_idle && std::filesystem::exists(strace) &&
           ChildProcess::execute(strace, {"-qq", "-o", "/dev/null", "/bin/true"}).wait().code == 0;
}

/// Lines that are a system call begun while strace looked on. What was going on when it
/// attached ("resumed", or unfinished and never ended) is the waiting itself.
std::vector<std::string> calls_made(const std::filesystem::path& trace) {
    std::vector<std::string> calls;
    std::ifstream in(trace);
    std::string line;
    while (std::getline(in, line)) {
        if (line.find('(') != std::string::npos && line.find(" = ") != std::string::npos &&
            line.find("resumed") == std::string::npos) {
            calls.push_back(line);
        }
    }
    return calls;
}

}  // namespace

TEST_CASE("ten idle seconds make no system call" * doctest::skip(!can_trace())) {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    ChildProcess application = ChildProcess::execute(
        E2E_APPLICATION, {(folder.path() / "feedback.db").string(), server.url(), "2", "20"});
    REQUIRE(server.wait_for_rows(40, patience));
    const Outbox outbox{folder.path() / "feedback.db"};
    const auto until = std::chrono::steady_clock::now() + patience;
    while (outbox.status().delivered < 40 && std::chrono::steady_clock::now() < until) {
    }
    REQUIRE(outbox.status().delivered == 40);

    const auto trace = folder.path() / "trace";
    // The first seconds may hold the last tidying and the closing of idle connections; the ten
    // after them must hold nothing.
    for (const bool settling : {true, false}) {
        ChildProcess tracer = ChildProcess::execute(
            "/usr/bin/timeout", {"-s", "INT", settling ? "6" : "10", strace, "-f", "-qq", "-o",
                                 trace.string(), "-p", std::to_string(application.pid())});
        tracer.wait();
    }
    REQUIRE(std::filesystem::exists(trace));
    const auto calls = calls_made(trace);
    CHECK(calls.empty());
    for (const std::string& call : calls) {
        MESSAGE(call);
    }
}
