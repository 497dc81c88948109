#include <regex>
#include <set>

#include "tool.hpp"

// What status, list, show, export, verify and metrics print.

using namespace agentsight::test;
using nlohmann::json;

namespace {

std::set<std::string> keys(const json& object) {
    std::set<std::string> names;
    for (const auto& [name, value] : object.items()) {
        names.insert(name);
    }
    return names;
}

bool has_all(const json& object, const std::set<std::string>& wanted) {
    const std::set<std::string> names = keys(object);
    return std::includes(names.begin(), names.end(), wanted.begin(), wanted.end());
}

const std::regex utc_time{R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"};

std::vector<json> lines_of(const std::string& ndjson) {
    std::vector<json> lines;
    std::istringstream stream(ndjson);
    for (std::string line; std::getline(stream, line);) {
        lines.push_back(json::parse(line));
    }
    return lines;
}

}  // namespace

TEST_CASE("status --json has its members, on an empty and on a used outbox") {
    const Tool tool;
    const std::string id = tool.submit();
    const json status = tool.status();
    CHECK(
        has_all(status, {"path", "schema", "accepted", "waiting", "claimed", "unknown", "dead",
                         "delivered", "discarded", "dropped", "oldest_submitted_at",
                         "last_delivered_at", "hold", "bytes", "possible_duplicates", "drainer"}));
    CHECK(status["path"] == tool.path());
    CHECK(status["accepted"] == 1);
    CHECK(status["waiting"] == 1);
    CHECK(std::regex_match(status["oldest_submitted_at"].get<std::string>(), utc_time));
    CHECK(status["last_delivered_at"].is_null());
    CHECK(status["hold"].is_null());
    CHECK(status["drainer"].is_null());
    CHECK(status["bytes"].get<std::uint64_t>() > 0);

    REQUIRE(tool({"discard", id}).code == 0);
    const json after = tool.status();
    CHECK(after["discarded"] == 1);
    CHECK(after["waiting"] == 0);
    CHECK(after["oldest_submitted_at"].is_null());
}

TEST_CASE("P20: status says in plain words what holds the outbox and what to do") {
    const Tool tool;
    tool.submit();
    CHECK(tool({"status"}).out.find("no process is sending: 1 record waits") != std::string::npos);
    REQUIRE(tool({"hold"}).code == 0);
    const Run held = tool({"status"});
    CHECK(held.out.find("stopped by a person") != std::string::npos);
    CHECK(held.out.find("agentsight-outbox release") != std::string::npos);
    const json hold = tool.status()["hold"];
    CHECK(hold["reason"] == "person");
    CHECK(std::regex_match(hold["since"].get<std::string>(), utc_time));
    CHECK(hold["until"].is_null());
    REQUIRE(tool({"release"}).code == 0);
    CHECK(tool.status()["hold"].is_null());
}

TEST_CASE("list --json and show --json have their members; comments and metadata are masked") {
    const Tool tool;
    const std::string id =
        tool.submit("conv-7", "private words", R"({"rating":5,"who":{"name":"Ann"}})");
    REQUIRE(tool({"submit", "--conversation", "42", "--sentiment", "negative"}).code == 0);

    const json records = tool.json({"list"});
    REQUIRE(records.size() == 2);
    for (const json& record : records) {
        CHECK(has_all(record, {"id", "state", "sentiment", "comment", "metadata", "submitted_at",
                               "due_at", "attempts", "server_id", "last_error"}));
    }
    CHECK(records[0]["id"] == id);
    CHECK(records[0]["state"] == "waiting");
    CHECK(records[0]["conversation_id"] == "conv-7");
    CHECK_FALSE(records[0].contains("conversation"));
    CHECK(records[0]["comment"] == "***");
    CHECK(records[0]["metadata"] == json{{"rating", "***"}, {"who", "***"}});
    CHECK(records[0]["attempts"] == 0);
    CHECK(records[0]["last_error"].is_null());
    CHECK(records[1]["conversation"] == 42);
    CHECK_FALSE(records[1].contains("conversation_id"));
    CHECK(records[1]["comment"].is_null());
    CHECK(records[1]["metadata"].is_null());

    const json shown = tool.json({"show", id});
    CHECK(shown["history"].is_array());
    CHECK(shown["comment"] == "***");
    const json revealed = tool.json({"show", id, "--reveal"});
    CHECK(revealed["comment"] == "private words");
    CHECK(revealed["metadata"] == json{{"rating", 5}, {"who", {{"name", "Ann"}}}});

    for (const auto& verb : std::vector<std::vector<std::string>>{{"list"},
                                                                  {"show", id},
                                                                  {"list", "--json"},
                                                                  {"show", id, "--json"},
                                                                  {"status"},
                                                                  {"verify"},
                                                                  {"metrics"}}) {
        const Run run = tool(verb);
        CAPTURE(verb);
        CHECK((run.out + run.err).find("private") == std::string::npos);
        CHECK((run.out + run.err).find("Ann") == std::string::npos);
    }
    CHECK(tool({"list", "--reveal"}).out.find("private words") != std::string::npos);
}

TEST_CASE("the server's words are shown without what they repeat of a record's text") {
    const Tool tool;
    sandbox::Server server;
    const std::string comment = "my room number is 4711\nand the bed is too short";
    const std::string id = tool.submit("c", comment, R"({"who":{"name":"Ann Nym"},"n":"ok"})");
    const json refusal{
        {"comment", json::array({"ok, but '" + comment + "' is not wanted from Ann Nym"})}};
    server.add_fault({.kind = sandbox::FaultKind::status, .status = 422, .body = refusal.dump()});
    tool.drain(server, {"--deadline", "2s"});
    const json shown = tool.json({"show", id, "--reveal"});  // it is kept so
    CHECK(shown["last_error"]["detail"] == "comment: ok, but '***' is not wanted from ***");
    CHECK(shown["history"][0]["detail"] == shown["last_error"]["detail"]);
    for (const auto& verb :
         std::vector<std::vector<std::string>>{{"list"},
                                               {"list", "--json"},
                                               {"show", id},
                                               {"show", id, "--json"},
                                               {"status"},
                                               {"status", "--json"},
                                               {"watch", "--count", "1"},
                                               {"watch", "--count", "1", "--json"},
                                               {"metrics", "--json"}}) {
        const Run run = tool(verb);
        CAPTURE(verb);
        CHECK((run.out + run.err).find("4711") == std::string::npos);
        CHECK((run.out + run.err).find("Ann") == std::string::npos);
    }
    REQUIRE(tool({"discard", id, "--yes"}).code == 0);
    REQUIRE(tool({"compact"}).code == 0);
    for (const char* const suffix : {"", "-wal"}) {
        const std::string bytes = bytes_of(tool.path() + suffix);
        CHECK(bytes.find("4711") == std::string::npos);
        CHECK(bytes.find("Ann") == std::string::npos);
    }
}

TEST_CASE("P19: control characters, escape sequences and bidirectional overrides are shown inert") {
    const Tool tool;
    const std::string hostile =
        "a\x1b[31mb\rc\nd\te\x7f"
        "f\xc2\x9bg\xe2\x80\xaeh\xe2\x81\xa6i";
    const std::string id =
        tool.submit("conv\x1b]0;title\x07", hostile, R"({"k\u202e":"\u001b[2J"})");
    for (const auto& verb :
         std::vector<std::vector<std::string>>{{"list", "--reveal"},
                                               {"show", id, "--reveal"},
                                               {"list", "--json", "--reveal"},
                                               {"show", id, "--json", "--reveal"},
                                               {"export"}}) {
        const Run run = tool(verb);
        CAPTURE(verb);
        REQUIRE(run.code == 0);
        for (const char c : run.out) {
            CHECK((c == '\n' || static_cast<unsigned char>(c) >= 0x20));
            CHECK(c != '\x7f');
        }
        CHECK(run.out.find("\xc2\x9b") == std::string::npos);
        CHECK(run.out.find("\xe2\x80\xae") == std::string::npos);
        CHECK(run.out.find("\xe2\x81\xa6") == std::string::npos);
    }
    CHECK(tool({"show", id, "--reveal"}).out.find("a\\x1b[31mb\\rc\\nd\\te\\x7f") !=
          std::string::npos);
    // And for a program nothing is lost.
    CHECK(tool.json({"show", id, "--reveal"})["comment"] == hostile);
    CHECK(lines_of(tool({"export"}).out).at(0)["comment"] == hostile);
}

TEST_CASE("an id that is not there ends with 4, one line") {
    const Tool tool;
    tool.submit();
    for (const char* id : {"nope", "0193b5a0-7e2c-7d11-8f00-3c5a9e1f2b44", "\x1b[2J"}) {
        check_refused(tool({"show", id}), 4, "no record has the id");
        check_refused(tool({"resolve", id, "--resend"}), 4, "no record has the id");
        CHECK(tool({"requeue", id}).code == 4);
        CHECK(tool({"discard", id}).code == 4);
    }
}

TEST_CASE("list pages by --after and --limit, filters, and ends with 4 where nothing is left") {
    const Tool tool;
    std::vector<std::string> ids;
    for (int i = 0; i < 7; ++i) {
        ids.push_back(tool.submit(i % 2 == 0 ? "even" : "odd"));
    }
    std::vector<std::string> seen;
    std::string after;
    for (int page = 0; page < 4; ++page) {
        std::vector<std::string> arguments{"list", "--limit", "2", "--json"};
        if (!after.empty()) {
            arguments.insert(arguments.end(), {"--after", after});
        }
        const Run run = tool(arguments);
        REQUIRE(run.code == 0);
        for (const json& record : json::parse(run.out)) {
            seen.push_back(record["id"]);
        }
        after = seen.back();
        CHECK((run.err.find("--after " + after) != std::string::npos) == (page < 3));
    }
    CHECK(seen == ids);
    const Run beyond = tool({"list", "--after", after, "--json"});
    CHECK(beyond.code == 4);
    CHECK(json::parse(beyond.out) == json::array());

    CHECK(tool.json({"list", "--conversation-id", "odd"}).size() == 3);
    CHECK(tool.json({"list", "--state", "waiting"}).size() == 7);
    CHECK(tool({"list", "--state", "dead"}).code == 4);
    CHECK(tool({"list", "--conversation", "9"}).code == 4);
    CHECK(tool.json({"list", "--since", "1h"}).size() == 7);
    CHECK(tool.json({"list", "--since", "2020-01-01"}).size() == 7);
    CHECK(tool({"list", "--since", "2099-01-01T00:00:00Z"}).code == 4);
}

TEST_CASE("export prints one JSON object a line, in full, and says so") {
    const Tool tool;
    tool.submit("c", "one", R"({"n":18446744073709551615,"x":0.1})");
    tool.submit("c", "two");
    const Run run = tool({"export"});
    REQUIRE(run.code == 0);
    CHECK(run.err.find("in full") != std::string::npos);
    const std::vector<json> lines = lines_of(run.out);
    REQUIRE(lines.size() == 2);
    CHECK(lines[0]["comment"] == "one");
    CHECK(run.out.find("18446744073709551615") != std::string::npos);
    CHECK(lines[0]["metadata"]["x"] == 0.1);
    CHECK(tool({"export", "--state", "dead"}).code == 4);
    const std::vector<json> first = lines_of(tool({"export", "--limit", "1"}).out);
    REQUIRE(first.size() == 1);
    CHECK(first[0] == lines[0]);
    const std::vector<json> rest =
        lines_of(tool({"export", "--after", first[0]["id"].get<std::string>()}).out);
    REQUIRE(rest.size() == 1);
    CHECK(rest[0] == lines[1]);
    CHECK(tool({"export", "--after", rest[0]["id"].get<std::string>()}).code == 4);
}

TEST_CASE("verify finds a sound outbox sound; metrics are Prometheus text") {
    const Tool tool;
    tool.submit();
    const json verdict = tool.json({"verify"});
    CHECK(verdict["ok"] == true);
    CHECK(verdict["problems"].empty());
    const std::string text = tool({"metrics"}).out;
    CHECK(text.find("\nagentsight_outbox_records{state=\"waiting\"} 1\n") != std::string::npos);
    const std::regex line{R"((# (HELP|TYPE) \w+ .+|\w+(\{\w+="\w+"\})? \d+))"};
    std::istringstream stream(text);
    for (std::string each; std::getline(stream, each);) {
        CAPTURE(each);
        CHECK(std::regex_match(each, line));
    }
}

TEST_CASE("a terminal gets colours, unless NO_COLOR says otherwise") {
    Tool tool;
    tool.submit();
    tool.environment["TERM"] = "xterm";
    CHECK(run_on_terminal(AGENTSIGHT_OUTBOX_TOOL, {"list"}, tool.environment).out.find('\x1b') !=
          std::string::npos);
    CHECK(tool({"list"}).out.find('\x1b') == std::string::npos);
    tool.environment["NO_COLOR"] = "1";
    CHECK(run_on_terminal(AGENTSIGHT_OUTBOX_TOOL, {"list"}, tool.environment).out.find('\x1b') ==
          std::string::npos);
}

TEST_CASE("status says so where only a person can settle what is left") {
    const Tool tool;
    const std::string id = "0198b5a0-0000-7d11-8f00-000000000001";
    const std::string line = R"({"id":")" + id +
                             R"(","conversation_id":"c","sentiment":"neutral","state":"unknown"})"
                             "\n";
    REQUIRE(tool({"import", "-"}, line).code == 0);
    const std::string shown = tool({"status"}).out;
    CAPTURE(shown);
    CHECK(shown.starts_with("1 record may have arrived, and only a person can settle it\n"));
    CHECK(shown.find("`agentsight-outbox resolve ID --delivered`") != std::string::npos);
    CHECK(shown.find("unknown       1 (1 left to a person") != std::string::npos);
    CHECK(tool.status()["left_to_person"] == 1);
    // A drain has nothing to add, whatever else is missing.
    const Run drain = tool({"drain", "--deadline", "1s"});
    CHECK(drain.code == 3);
    CHECK(drain.err.find("only a person can settle those unknown") != std::string::npos);
    CHECK(drain.err.find("AGENTSIGHT_API_KEY") == std::string::npos);
    REQUIRE(tool({"release"}).code == 0);
    // Beside what can be sent, that comes first; and what holds it is not hidden.
    REQUIRE(tool({"hold"}).code == 0);
    CHECK(tool({"status"}).out.starts_with("sending is stopped by a person"));
    CHECK(tool({"status"}).out.find("\n1 record may have arrived") != std::string::npos);
    REQUIRE(tool({"release"}).code == 0);
    tool.submit();
    const std::string both = tool({"status"}).out;
    CAPTURE(both);
    CHECK(both.find(": 1 record waits\n") != std::string::npos);
    CHECK(both.find("\n1 record may have arrived") != std::string::npos);
    CHECK(tool({"watch", "--count", "1"}).out.find("1 record may have arrived") !=
          std::string::npos);
    REQUIRE(tool({"resolve", id, "--delivered"}).code == 0);
    CHECK(tool.status()["left_to_person"] == 0);
}
