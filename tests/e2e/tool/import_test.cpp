#include <signal.h>

#include <fstream>
#include <random>

#include "progress_bar.hpp"
#include "support/child_process.hpp"
#include "support/sanitizers.hpp"
#include "tool.hpp"

// `import` and `export` of many records: batches, the bar, memory, and a kill in the middle.

using namespace agentsight::test;
using namespace std::chrono_literals;
using agentsight::tool::progress_text;
using nlohmann::json;

namespace {

constexpr bool memory_is_ours = !under_address_sanitizer && !under_thread_sanitizer;

std::string id_of(int number) {
    char text[40];
    std::snprintf(text, sizeof text, "0198b5a0-%04x-7d11-8f00-%012x", number & 0xffff, number);
    return text;
}

/// Feedbacks as another program may write them.
std::string write_lines(const Tool& tool, int count) {
    const std::string file = (tool.folder / ("lines-" + std::to_string(count))).string();
    std::ofstream stream(file);
    for (int i = 0; i < count; ++i) {
        stream << R"({"id":")" << id_of(i) << R"(","conversation_id":"c-)" << i % 100
               << R"(","sentiment":"neutral","comment":")" << std::string(200, 'c')
               << R"(","metadata":{"n":)" << i << "}}\n";
    }
    return file;
}

}  // namespace

TEST_CASE("an import killed in its middle is resumed without doubling") {
    const unsigned seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random(seed);
    const Tool tool;
    constexpr int lines = 5'000;
    const std::string file = write_lines(tool, lines);
    std::uint64_t there = 0;
    for (int round = 0; round < 4; ++round) {
        const std::uint64_t more = std::uniform_int_distribution<std::uint64_t>(1, 1'000)(random);
        ChildProcess import = ChildProcess::execute(
            "/usr/bin/env",
            {"AGENTSIGHT_OUTBOX=" + tool.path(), AGENTSIGHT_OUTBOX_TOOL, "import", file});
        const std::uint64_t wanted = std::min<std::uint64_t>(there + more, lines);
        while (!std::filesystem::exists(tool.path()) || tool({"status"}).code != 0 ||
               tool.status()["accepted"].get<std::uint64_t>() < wanted) {
        }
        import.kill();
        const auto accepted = tool.status()["accepted"].get<std::uint64_t>();
        CHECK(accepted >= there);
        there = accepted;
    }
    CHECK(tool({"import", file}).code == 0);
    CHECK(tool.status()["accepted"] == lines);
    CHECK(tool.json({"import", file})["already_there"] == lines);
    CHECK(tool({"verify"}).code == 0);
}

TEST_CASE("import shows a bar on a terminal, and takes it away") {
    const Tool tool;
    const std::string file = write_lines(tool, 1'000);
    Environment environment = tool.environment;
    environment["TERM"] = "xterm";
    TerminalSession session(AGENTSIGHT_OUTBOX_TOOL, {"import", file}, environment);
    CHECK(session.until_ended() == 0);
    CHECK(session.output().find("░") != std::string::npos);
    CHECK(session.output().find(" %  ") != std::string::npos);
    CHECK(session.screen().text() == "1000 records stored, 0 there already, 0 bad lines\n");
    // On a terminal that cannot be drawn on there is none, and piped neither.
    environment["TERM"] = "dumb";
    TerminalSession dumb(AGENTSIGHT_OUTBOX_TOOL, {"import", file}, environment);
    CHECK(dumb.until_ended() == 0);
    CHECK(dumb.output().find('\x1b') == std::string::npos);
    CHECK(dumb.output().find("░") == std::string::npos);
    CHECK(tool({"import", file}).err.empty());
}

TEST_CASE("a progress line fits the terminal, however narrow") {
    const Tool tool;
    const std::string file = write_lines(tool, 1'000);
    Environment environment = tool.environment;
    environment["TERM"] = "xterm";
    TerminalSession session(AGENTSIGHT_OUTBOX_TOOL, {"import", file}, environment, 24);
    CHECK(session.until_ended() == 0);
    CHECK(session.output().find("…") != std::string::npos);
    CHECK(session.screen().text().find("░") == std::string::npos);
}

TEST_CASE("an interrupted import says how far it came, and keeps what it has") {
    const Tool tool;
    ChildProcess import = ChildProcess::execute(
        "/bin/sh",
        {"-c", "mkfifo '" + (tool.folder / "lines").string() + "' && AGENTSIGHT_OUTBOX='" +
                   tool.path() + "' exec '" + AGENTSIGHT_OUTBOX_TOOL + "' import - < '" +
                   (tool.folder / "lines").string() + "' 2> '" + (tool.folder / "said").string() +
                   "'"});
    while (!std::filesystem::exists(tool.folder / "lines")) {
    }
    std::ofstream lines((tool.folder / "lines").string());
    for (int i = 0; i < 300; ++i) {
        lines << R"({"conversation_id":"c","sentiment":"neutral"})" << std::endl;
    }
    const auto said = [&] { return bytes_of(tool.folder / "said"); };
    // At once, long before the end.
    while (said().find("line 1 has no id: importing it again would store it again") ==
           std::string::npos) {
    }
    while (!std::filesystem::exists(tool.path()) || tool({"status"}).code != 0 ||
           tool.status()["accepted"] < 256) {
    }
    import.send(SIGINT);
    CHECK(import.wait().code == 1);
    CHECK(said().find("interrupted after line 300;") != std::string::npos);
    CHECK(tool.status()["accepted"] == 300);
}

TEST_CASE("export shows a bar on a terminal while its lines go to a file") {
    const Tool tool;
    REQUIRE(tool({"import", write_lines(tool, 1'000)}).code == 0);
    Environment environment = tool.environment;
    environment["TERM"] = "xterm";
    const std::string file = (tool.folder / "exported").string();
    TerminalSession session(
        "/bin/sh", {"-c", std::string("\"") + AGENTSIGHT_OUTBOX_TOOL + "\" export > " + file},
        environment);
    CHECK(session.until_ended() == 0);
    CHECK(session.output().find("░") != std::string::npos);
    CHECK_FALSE(session.screen().shows("░"));
    const std::string lines = bytes_of(file);
    CHECK(std::count(lines.begin(), lines.end(), '\n') == 1'000);
}

TEST_CASE("the bar says how far it is, how fast, and how long it will take") {
    CHECK(progress_text({0, 0, 0, 0ms}, "line") == "0 lines");
    CHECK(progress_text({1, 0, 0, 100ms}, "line") == "1 line");
    CHECK(progress_text({500, 0, 0, 2s}, "line") == "500 lines  250/s");
    CHECK(progress_text({500, 50, 200, 2s}, "line") ==
          "█████░░░░░░░░░░░░░░░  25 %  500 lines  250/s  6 s left");
    CHECK(progress_text({9, 300, 200, 100ms}, "record") ==
          "████████████████████  100 %  9 records");
    constexpr std::uint64_t huge = std::uint64_t{1} << 63;
    CHECK(progress_text({1, huge / 2, huge, 0ms}, "line") == "██████████░░░░░░░░░░  50 %  1 line");
}

TEST_CASE("import and export take no more memory for more records" *
          doctest::skip(!memory_is_ours)) {
    const Tool tool;
    const Run few = tool({"import", write_lines(tool, 200)});
    const Run many = tool({"import", write_lines(tool, 20'000)});
    const Run out = tool({"export"});
    REQUIRE(many.code == 0);
    REQUIRE(out.code == 0);
    CHECK(many.peak_kb < 32 * 1024);
    CHECK(out.peak_kb < 32 * 1024);
    CHECK(many.peak_kb < few.peak_kb + 6 * 1024);
}

TEST_CASE("a line too long is read past, counted and named; the rest goes on") {
    const Tool tool;
    const std::string good = R"({"conversation_id":"c","sentiment":"neutral"})";
    const Run run =
        tool({"import", "-"}, good + "\n" + R"({"comment":")" +
                                  std::string(std::size_t{5} << 20, 'x') + "\"}\n" + good + "\r\n");
    CHECK(run.code == 1);
    CHECK(run.err.find("line 2: longer than 4 MiB") != std::string::npos);
    CHECK(run.out == "2 records stored, 0 there already, 1 bad line\n");
}

TEST_CASE("many bad lines are counted, not shown, and none of their text is") {
    const Tool tool;
    std::string lines;
    for (int i = 0; i < 500; ++i) {
        lines += R"({"conversation_id":"secret","sentiment":"secret","comment":"secret"})"
                 "\nsecret\n";
    }
    const Run run = tool({"import", "-"}, lines);
    CHECK(run.code == 1);
    CHECK(run.out == "0 records stored, 0 there already, 1000 bad lines\n");
    CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 21);
    CHECK(run.err.find("secret") == std::string::npos);
    // In the order of the lines, whenever they were found bad.
    CHECK(run.err.find("line 1:") < run.err.find("line 2:"));
    CHECK(run.err.find("line 2:") < run.err.find("line 3:"));
}

TEST_CASE("what an import of an export keeps: time, kind of credential, and what is in doubt") {
    const Tool tool;
    const std::string lines =
        R"({"id":"0198b5a0-0000-7d11-8f00-000000000001","state":"waiting","conversation_id":"c",)"
        R"("sentiment":"positive","credential":"jwt","submitted_at":"2026-08-17T18:52:44.956Z"})"
        "\n"
        R"({"id":"0198b5a0-0000-7d11-8f00-000000000002","state":"unknown","conversation_id":"c",)"
        R"("sentiment":"positive","credential":"api_key","submitted_at":"2026-08-17T18:52:45Z"})"
        "\n"
        R"({"id":"0198b5a0-0000-7d11-8f00-000000000003","state":"claimed","conversation":9,)"
        R"("sentiment":"positive"})"
        "\n"
        R"({"conversation":9,"sentiment":"positive","submitted_at":"yesterday"})"
        "\n";
    const Run run = tool({"import", "-"}, lines);
    CHECK(run.code == 1);
    CHECK(run.err.find("line 4: submitted_at must be a time") != std::string::npos);
    CHECK(run.err.find("2 records may have arrived already") != std::string::npos);
    const json records = tool.json({"list"});
    REQUIRE(records.size() == 3);
    CHECK(records[0]["state"] == "waiting");
    CHECK(records[0]["credential"] == "jwt");
    CHECK(records[0]["submitted_at"] == "2026-08-17T18:52:44.956Z");
    CHECK(records[1]["state"] == "unknown");
    CHECK(records[1]["left_to_person"] == true);
    CHECK(records[1]["credential"] == "api_key");
    CHECK(records[1]["submitted_at"] == "2026-08-17T18:52:45.000Z");
    CHECK(records[2]["state"] == "unknown");
    CHECK(tool({"verify"}).code == 0);
    CHECK(tool({"import", "-"}, lines).out == "0 records stored, 3 there already, 1 bad line\n");
    CHECK(tool({"resolve", "0198b5a0-0000-7d11-8f00-000000000002", "--resend"}).code == 0);
    CHECK(tool({"resolve", "0198b5a0-0000-7d11-8f00-000000000003", "--delivered"}).code == 0);
    CHECK(tool({"verify"}).code == 0);
    // An outbox that holds one in doubt sends the others of that conversation.
    const sandbox::Server server;
    Environment environment = tool.environment;
    environment["AGENTSIGHT_JWT"] = "token";
    run_program(AGENTSIGHT_OUTBOX_TOOL, {"drain", "--endpoint", server.url(), "--deadline", "20s"},
                environment);
    CHECK(server.row_count() == 1);
}

TEST_CASE("a state or credential that nobody knows is a bad line; a byte order mark is none") {
    const Tool tool;
    const std::string rest = R"("conversation_id":"c","sentiment":"neutral"})";
    const Run run = tool({"import", "-"},
                         "\xEF\xBB\xBF{" + rest + "\n" + R"({"state":"bogus",)" + rest + "\n" +
                             R"({"state":5,)" + rest + "\n" + R"({"credential":"key",)" + rest +
                             "\n" + R"({"credential":"jwt","state":"waiting",)" + rest + "\n");
    CHECK(run.code == 1);
    CHECK(run.out == "2 records stored, 0 there already, 3 bad lines\n");
    CHECK(run.err.find("line 2: state must be one of waiting, ") != std::string::npos);
    CHECK(run.err.find("line 3: state must be one of waiting, ") != std::string::npos);
    CHECK(run.err.find("line 4: credential must be one of none, api_key, jwt") !=
          std::string::npos);
    CHECK(tool.status()["accepted"] == 2);
}

TEST_CASE("over export and import a record keeps its attempts and what was said of them") {
    const Tool one;
    const std::string rest = R"(,"conversation_id":"c","sentiment":"neutral","comment":"my words")"
                             R"(,"submitted_at":"2026-08-17T18:52:44.956Z")";
    const std::string lines =
        R"({"id":"0198b5a0-0000-7d11-8f00-000000000001","state":"waiting","attempts":3,)"
        R"("last_error":{"status":500,"detail":"boom"})" +
        rest + "}\n" +
        R"({"id":"0198b5a0-0000-7d11-8f00-000000000002","state":"unknown","attempts":1,)"
        R"("last_error":{"status":null,"detail":"left to a person: the answer was lost"})" +
        rest + "}\n" +
        R"({"id":"0198b5a0-0000-7d11-8f00-000000000003","state":"dead","attempts":2,"history":[)"
        R"({"began_at":"2026-08-17T18:52:50.001Z","ended_at":"2026-08-17T18:52:51Z",)"
        R"("outcome":"unknown","status":null,"detail":"timed out"},)"
        R"({"began_at":"2026-08-17T18:53:50.001Z","ended_at":"2026-08-17T18:53:51Z",)"
        R"("outcome":"refused","status":422,"detail":"my words"}],)"
        R"("last_error":{"status":422,"detail":"comment: not valid: MY WORDS"})" +
        rest + "}\n" + R"({"id":"0198b5a0-0000-7d11-8f00-000000000004","attempts":0)" + rest +
        "}\n";
    REQUIRE(one({"import", "-"}, lines).code == 0);
    CHECK(one({"verify"}).code == 0);
    const std::string exported = one({"export"}).out;
    const Tool other;
    REQUIRE(other({"import", "-"}, exported).code == 0);
    CHECK(other({"export"}).out == exported);
    CHECK(other({"verify"}).code == 0);

    const json records = other.json({"list"});
    REQUIRE(records.size() == 4);
    CHECK(records[0]["state"] == "waiting");
    CHECK(records[0]["attempts"] == 3);
    CHECK(records[0]["last_error"] == json{{"status", 500}, {"detail", "boom"}});
    CHECK(records[1]["attempts"] == 1);
    CHECK(records[1]["last_error"]["status"] == nullptr);
    CHECK(records[2]["state"] == "dead");
    CHECK(records[2]["attempts"] == 2);
    CHECK(records[2]["last_error"] ==
          json{{"status", 422}, {"detail", "comment: not valid: ***"}});  // nothing of the comment
    const json history = other.json({"show", records[2]["id"]})["history"];
    REQUIRE(history.size() == 2);
    CHECK(history[0] == json{{"began_at", "2026-08-17T18:52:50.001Z"},
                             {"ended_at", "2026-08-17T18:52:51.000Z"},
                             {"outcome", "unknown"},
                             {"status", nullptr},
                             {"detail", "timed out"}});
    CHECK(history[1]["status"] == 422);
    CHECK(history[1]["detail"] == "***");
    CHECK(records[3]["attempts"] == 0);
    CHECK(records[3]["last_error"] == nullptr);
    // All of them can still be sent, once.
    const sandbox::Server server;
    CHECK(other({"requeue", "--all", "--yes"}).code == 0);
    CHECK(other({"resolve", "0198b5a0-0000-7d11-8f00-000000000002", "--resend"}).code == 0);
    CHECK(other.drain(server).code == 0);
    CHECK(server.row_count() == 4);
    CHECK(other({"verify"}).code == 0);
}

TEST_CASE("attempts and a last error that are none are bad lines") {
    const Tool tool;
    const std::string rest = R"("conversation_id":"c","sentiment":"neutral"})";
    const auto why = [&](const std::string& member) {
        const Run run = tool({"import", "-"}, "{" + member + "," + rest + "\n");
        CHECK(run.code == 1);
        return run.err;
    };
    for (const char* attempts : {"-1", "1.5", "\"3\"", "1000000001", "1e3", "true", "{}"}) {
        CAPTURE(attempts);
        CHECK(why(R"("attempts":)" + std::string(attempts))
                  .find("line 1: attempts must be a whole number from 0 to 1000000000") !=
              std::string::npos);
    }
    for (const char* status : {"99", "1000", "\"500\"", "5e2"}) {
        CAPTURE(status);
        CHECK(why(R"("last_error":{"status":)" + std::string(status) + "}")
                  .find("line 1: last_error: status must be") != std::string::npos);
    }
    CHECK(why(R"("last_error":{"detail":5})").find("detail must be one string") !=
          std::string::npos);
    CHECK(why(R"("last_error":"boom")").find("last_error must be null or an object") !=
          std::string::npos);
    for (const char* history :
         {"5", "{}", "[5]", R"([{"began_at":"2026-08-17T18:52:50Z"}])",
          R"([{"began_at":"then","ended_at":"now","outcome":"","status":null,"detail":""}])",
          R"([{"began_at":"2026-08-17T18:52:50Z","ended_at":"9999-08-17T18:52:50Z","outcome":"",)"
          R"("status":null,"detail":""}])",
          R"([{"began_at":"2026-08-17T18:52:50Z","ended_at":"2026-08-17T18:52:50Z","outcome":"",)"
          R"("status":99999999999,"detail":""}])",
          R"([{"began_at":"2026-08-17T18:52:50Z","ended_at":"2026-08-17T18:52:50Z","outcome":"",)"
          R"("status":503,"status":404,"detail":""}])"}) {
        CAPTURE(history);
        CHECK(why(R"("history":)" + std::string(history)).find("line 1: history") !=
              std::string::npos);
    }
    CHECK(why(R"("history":[)" + std::string(200'000, ' ') + "]").find("128 KiB") !=
          std::string::npos);
    CHECK(why(R"("last_error":{"status":503,"status":404})").find("status is named twice") !=
          std::string::npos);
    CHECK(why(R"("state":"unknown","state":"waiting")").find("line 1: state is named twice") !=
          std::string::npos);
    for (const char* time : {"9999-12-31T23:59:59Z", "2100-01-01T00:00:00Z"}) {
        CHECK(why(R"("submitted_at":")" + std::string(time) + "\"").find("to the end of 2099") !=
              std::string::npos);
    }
    CHECK(tool.status()["accepted"] == 0);
}

TEST_CASE("an import is ended by a signal also in a line that has no end") {
    const Tool tool;
    ChildProcess import = ChildProcess::execute(
        "/bin/sh", {"-c", std::string("exec '") + AGENTSIGHT_OUTBOX_TOOL + "' import --outbox '" +
                              tool.path() + "' /dev/zero 2> /dev/null"});
    while (!std::filesystem::exists(tool.path()) || tool({"status"}).code != 0) {
    }
    import.send(SIGTERM);
    CHECK(import.wait().code == 1);
    CHECK(tool.status()["accepted"] == 0);
}

TEST_CASE("the escape of half a surrogate pair is named; other text that is no JSON is not") {
    const Tool tool;
    const std::string begin = R"({"conversation_id":"c","sentiment":"neutral","comment":")";
    for (const char* half : {"\\ud800", "\\udc00", "\\ud800\\ud800", "\\uD83D x", "\\\\\\udfff"}) {
        CAPTURE(half);
        const Run run = tool({"import", "-"}, begin + half + "\"}\n");
        CHECK(run.code == 1);
        CHECK(run.err.find("must stand in a surrogate pair") != std::string::npos);
    }
    for (const char* other : {"\\ud800\"", "\\u12", "\\\\ud800\" 5"}) {
        CAPTURE(other);
        CHECK(tool({"import", "-"}, begin + other + "\"}\n").err.find("not one JSON object") !=
              std::string::npos);
    }
    CHECK(tool({"import", "-"}, begin + "\\ud83d\\ude00 \\\\ud800\"}\n").code == 0);
}

TEST_CASE("of a long history an import keeps the newest twenty") {
    const Tool tool;
    const std::string id = "0198b5a0-0000-7d11-8f00-000000000001";
    std::string attempts;
    for (int i = 0; i < 25; ++i) {
        attempts += std::string(i > 0 ? "," : "") +
                    R"({"began_at":"2026-08-17T18:52:50Z","ended_at":"2026-08-17T18:52:51Z",)"
                    R"("outcome":"unknown","status":null,"detail":"try )" +
                    std::to_string(i) + "\"}";
    }
    REQUIRE(tool({"import", "-"},
                 R"({"id":")" + id +
                     R"(","conversation_id":"c","sentiment":"neutral","attempts":25,"history":[)" +
                     attempts + "]}\n")
                .code == 0);
    const json history = tool.json({"show", id})["history"];
    REQUIRE(history.size() == 20);
    CHECK(history.front()["detail"] == "try 5");
    CHECK(history.back()["detail"] == "try 24");
}
