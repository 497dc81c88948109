#include <doctest/doctest.h>

#include <csignal>
#include <utility>

#include "raw_client.hpp"
#include "support/child_process.hpp"
#include "support/temporary_folder.hpp"

using namespace sandbox_test;
using agentsight::test::ChildProcess;
using agentsight::test::TemporaryFolder;

namespace {

/// The program under test, up to its first two lines.
struct Program {
    explicit Program(std::vector<std::string> arguments)
        : child{ChildProcess::execute(SANDBOX_PROGRAM, arguments)} {
        listening = line();
        control = line();
    }

    std::string line() {
        std::string out;
        for (char c = child.await(); c != '\n' && c != '\0'; c = child.await())
            out += c;
        return out;
    }
    static std::uint16_t port_of(const std::string& text) {
        return static_cast<std::uint16_t>(std::stoi(text.substr(text.rfind(':') + 1)));
    }
    std::uint16_t port() const { return port_of(listening); }

    ChildProcess child;
    std::string listening;
    std::string control;
};

/// The exit code of a program that does not begin, and what it said.
std::pair<int, std::string> refused(const std::vector<std::string>& arguments) {
    std::string command = "exec '" SANDBOX_PROGRAM "' --port 0";
    for (const std::string& argument : arguments)
        command += " '" + argument + "'";
    ChildProcess child = ChildProcess::execute("/bin/sh", {"-c", command + " 2>&1"});
    std::string said;
    for (char c = child.await(); c != '\0'; c = child.await())
        said += c;
    return {child.wait().code.value_or(-1), said};
}

}  // namespace

TEST_CASE("the program says where it listens and ends well at SIGTERM and SIGINT") {
    for (const int signal : {SIGTERM, SIGINT}) {
        Program program{{"--port", "0"}};
        CHECK(program.listening.starts_with("listening on http://127.0.0.1:"));
        CHECK(program.control.starts_with("control on http://127.0.0.1:"));
        CHECK(exchange(program.port(), create()).status == 201);
        program.child.send(signal);
        CHECK(program.child.wait().code == 0);
    }
}

TEST_CASE("rows acknowledged survive a SIGKILL of the program") {
    const TemporaryFolder folder;
    const std::string file = (folder.path() / "rows").string();
    {
        Program program{{"--port", "0", "--db", file}};
        RawClient client{program.port()};
        for (int round = 0; round < 20; ++round) {
            client.send(create());
            REQUIRE(client.response().status == 201);
        }
        program.child.kill();
    }
    Program program{{"--port", "0", "--db", file}};
    CHECK(exchange(program.port(), get("/api/feedbacks/")).json().at("count") == 20);
}

TEST_CASE("faults, keys and conversations come from the command line") {
    Program program{{"--port", "0", "--fault", "status,status=503,times=1,retry_after=2", "--fault",
                     R"({"kind":"status","status":500,"times":1})", "--api-key", "good",
                     "--read-key", "reader", "--strict-conversations", "--conversation", "conv"}};
    RawClient client{program.port()};
    std::vector<int> statuses;
    for (const char* key : {"good", "good", "bad", "reader", "good"}) {
        client.send(request("POST", old_route,
                            R"({"sentiment":"neutral","conversation_id":"conv"})", {},
                            "Api-Key " + std::string{key}));
        statuses.push_back(client.response().status);
    }
    CHECK(statuses == std::vector<int>{503, 500, 401, 403, 201});
}

TEST_CASE("every kind of fault can be had from the command line, as --help-faults shows it") {
    ChildProcess help = ChildProcess::execute(SANDBOX_PROGRAM, {"--help-faults"});
    std::string text;
    for (char c = help.await(); c != '\0'; c = help.await())
        text += c;
    CHECK(help.wait().code == 0);
    std::vector<std::string> arguments{"--port", "0"};
    const std::string flag = "--fault ";
    for (std::size_t at = 0; (at = text.find(flag, at)) != text.npos; at += flag.size()) {
        const std::size_t begin = at + flag.size();
        arguments.push_back("--fault");
        arguments.push_back(text.substr(begin, text.find('\n', begin) - begin));
    }
    CHECK(arguments.size() == 2 + 2 * 29);
    Program program{arguments};
    CHECK(program.listening.starts_with("listening on "));
}

TEST_CASE("--tail prints a line a row, with the comment only if asked") {
    for (const bool reveal : {false, true}) {
        std::vector<std::string> arguments{"--port", "0", "--tail"};
        if (reveal)
            arguments.push_back("--reveal");
        Program program{arguments};
        exchange(program.port(), create("a \x1b[31m secret"));
        const std::string line = program.line();
        CHECK(line.find("positive") != std::string::npos);
        CHECK((line.find("secret") != std::string::npos) == reveal);
        CHECK(line.find('\x1b') == std::string::npos);
    }
}

TEST_CASE("a bad flag is 2, a port in use is 1") {
    CHECK(ChildProcess::execute(SANDBOX_PROGRAM, {"--nonsense"}).wait().code == 2);
    CHECK(ChildProcess::execute(SANDBOX_PROGRAM, {"--port", "70000"}).wait().code == 2);
    for (const char* fault :
         {"nonsense", "status,status=abc", "status,probability=2", "status,probability=nan",
          "drip,bytes=0", "throttle,requests=-1", "throttle,per_ms=0"}) {
        CAPTURE(fault);
        const auto [code, said] = refused({"--fault", fault});
        CHECK(code == 2);
        CHECK(said.starts_with("agentsight-sandbox: --fault: "));
    }
    CHECK(refused({"--db", "/"}).second == "agentsight-sandbox: --db: / is a folder\n");
    CHECK(refused({"--db", "/"}).first == 2);
    CHECK(refused({"--db", "/nonexistent/rows"}).second.find("--db: cannot open") !=
          std::string::npos);
    CHECK(refused({"--tail=no"}).first == 2);
    Program program{{"--port", "0"}};
    CHECK(ChildProcess::execute(SANDBOX_PROGRAM, {"--port", std::to_string(program.port())})
              .wait()
              .code == 1);
}
