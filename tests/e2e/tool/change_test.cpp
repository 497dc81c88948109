#include <fstream>

#include "tool.hpp"

// Verbs that change records: submit, import, requeue, discard, resolve, hold and release.

using namespace agentsight::test;
using nlohmann::json;

namespace {

constexpr const char* own_id = "5eedf00d-0000-4000-8000-000000000001";

std::vector<std::string> submit_as(const std::string& id, const std::string& comment) {
    return {"submit",   "--conversation-id", "c",     "--sentiment",
            "positive", "--comment",         comment, "--id",
            id};
}

/// Records that a server refused: dead, with its words.
std::vector<std::string> bury(const Tool& tool, int count) {
    sandbox::Server server;
    server.add_fault("status,status=422,body=json,times=" + std::to_string(count));
    std::vector<std::string> ids;
    for (int i = 0; i < count; ++i) {
        ids.push_back(tool.submit("dead-" + std::to_string(i)));
    }
    const Run run = tool.drain(server);
    CAPTURE(run.err);
    REQUIRE(run.code == 0);
    REQUIRE(tool.status()["dead"] == count);
    return ids;
}

}  // namespace

TEST_CASE("submit prints the receipt; the same id and content stores nothing twice") {
    const Tool tool;
    const Run first = tool(submit_as(own_id, "x"));
    CHECK(first.out == std::string(own_id) + "\n");
    const json again = tool.json(submit_as(own_id, "x"));
    CHECK(again["id"] == own_id);
    CHECK(again["stored"] == false);
    check_refused(tool(submit_as(own_id, "another")), 1, "other content");
    CHECK(tool.status()["accepted"] == 1);
}

TEST_CASE("submit keeps whatever is within the rules, to the last bit") {
    const Tool tool;
    const std::string emoji = "\xf0\x9f\x98\x80";
    std::string comment;
    for (int i = 0; i < 5000; ++i) {
        comment += emoji;
    }
    const std::string id = tool.submit(
        "c", comment, R"({"big":18446744073709551615,"small":-9223372036854775808,"f":5e-324})");
    const Run shown = tool({"show", id, "--json", "--reveal"});
    CHECK(json::parse(shown.out)["comment"] == comment);
    CHECK(shown.out.find("18446744073709551615") != std::string::npos);
    CHECK(shown.out.find("-9223372036854775808") != std::string::npos);
    CHECK(shown.out.find("5e-324") != std::string::npos);
}

TEST_CASE("submit reads no credential") {
    Tool tool;
    tool.environment["AGENTSIGHT_API_KEY"] = "a";
    tool.environment["AGENTSIGHT_JWT"] = "b";
    tool.submit();
    CHECK(tool.json({"list"})[0]["credential"] == "none");
}

TEST_CASE("a dead record is shown with the server's words, requeued, and then delivered") {
    const Tool tool;
    const std::string id = bury(tool, 1).front();
    const json shown = tool.json({"show", id});
    CHECK(shown["state"] == "dead");
    CHECK(shown["last_error"]["status"] == 422);
    CHECK(shown["history"].size() == 1);
    CHECK(tool({"requeue", id}).code == 0);
    CHECK(tool.json({"show", id})["state"] == "waiting");
    CHECK(tool.json({"show", id})["history"] == shown["history"]);
    // Waiting already: refused, not done twice.
    CHECK(tool({"requeue", id}).code == 1);
    const sandbox::Server server;
    REQUIRE(tool.drain(server).code == 0);
    CHECK(server.row_count() == 1);
    CHECK(tool.json({"show", id})["state"] == "delivered");
    CHECK(tool({"discard", id}).code == 1);
}

TEST_CASE("discard erases what was said of a record, and keeps when it was tried and what came") {
    const Tool tool;
    const std::string id = bury(tool, 1).front();
    const json before = tool.json({"show", id, "--reveal"});
    REQUIRE(before["history"][0]["detail"] != "");
    REQUIRE(tool({"discard", id}).code == 0);
    const json after = tool.json({"show", id, "--reveal"});
    CHECK(after["comment"] == nullptr);
    REQUIRE(after["history"].size() == 1);
    for (const char* kept : {"began_at", "ended_at", "outcome", "status"}) {
        CHECK(after["history"][0][kept] == before["history"][0][kept]);
    }
    CHECK(after["history"][0]["detail"] == "");
    CHECK(after["last_error"]["detail"] == "");
    CHECK(tool({"verify"}).code == 0);
}

TEST_CASE("one row of the server settles one record") {
    const Tool tool;
    const std::vector<std::string> ids{"0198b7d0-0000-7d11-8f00-000000000001",
                                       "0198b7d0-0000-7d11-8f00-000000000002"};
    for (const std::string& id : ids) {
        REQUIRE(tool({"import", "-"}, R"({"id":")" + id +
                                          R"(","conversation_id":"c","sentiment":"neutral",)"
                                          R"("state":"unknown"})")
                    .code == 0);
    }
    CHECK(tool({"resolve", ids[0], "--delivered", "--server-id", "7"}).code == 0);
    check_refused(tool({"resolve", ids[1], "--delivered", "--server-id", "7"}), 1, ids[0]);
    CHECK(tool.json({"show", ids[1]})["state"] == "unknown");
    CHECK(tool({"resolve", ids[1], "--delivered", "--server-id", "8"}).code == 0);
    CHECK(tool({"verify"}).code == 0);
}

TEST_CASE("several ids: done as far as possible, then the worst code") {
    const Tool tool;
    const std::vector<std::string> ids = bury(tool, 2);
    const Run run = tool({"requeue", ids[0], "0193b5a0-7e2c-7d11-8f00-3c5a9e1f2b44", ids[1]});
    CHECK(run.code == 4);
    CHECK(run.out.find("2 records requeued, 1 not") != std::string::npos);
    CHECK(tool.status()["waiting"] == 2);
}

TEST_CASE("--all needs --yes where there is no terminal, and asks where there is one") {
    Tool tool;
    bury(tool, 3);
    check_refused(tool({"discard", "--all", "--state", "dead"}), 2, "--yes");
    CHECK(tool.status()["dead"] == 3);

    tool.environment["TERM"] = "xterm";
    const std::vector<std::string> discard{"discard", "--all", "--state", "dead"};
    const Run no = run_on_terminal(AGENTSIGHT_OUTBOX_TOOL, discard, tool.environment, "n\n");
    CHECK(no.code == 1);
    CHECK(no.out.find("3 records") != std::string::npos);
    CHECK(tool.status()["dead"] == 3);
    const Run yes = run_on_terminal(AGENTSIGHT_OUTBOX_TOOL, discard, tool.environment, " YES\n");
    CHECK(yes.code == 0);
    CHECK(tool.status()["dead"] == 0);
    CHECK(tool.status()["discarded"] == 3);
    CHECK(tool({"discard", "--all", "--state", "dead", "--yes"}).code == 4);
}

TEST_CASE("submit and import tell of a damaged file that they moved aside") {
    const Tool tool;
    for (const bool imports : {false, true}) {
        tool.submit("kept");
        std::ofstream(tool.path(), std::ios::binary | std::ios::in).seekp(0)
            << std::string(100, 'x');
        const Run run =
            imports ? tool({"import", "-"}, R"({"conversation_id":"c","sentiment":"neutral"})")
                    : tool(submit_as(own_id, "x"));
        CAPTURE(run.err);
        CHECK(run.code == 0);
        CHECK(run.err.find("was damaged: its file was moved aside, whole, to '" + tool.path() +
                           ".damaged-") != std::string::npos);
        CHECK(run.err.find("rescued") != std::string::npos);
    }
}

TEST_CASE("what moved on after it was selected is left as it is, and no failure") {
    Tool tool;
    const std::vector<std::string> ids = bury(tool, 3);
    tool.environment["TERM"] = "xterm";
    TerminalSession session(AGENTSIGHT_OUTBOX_TOOL, {"discard", "--all", "--state", "dead"},
                            tool.environment);
    REQUIRE(session.until_shown("discard 3 records (dead records)? [y/N]"));
    REQUIRE(tool({"requeue", ids[1]}).code == 0);
    session.type("y\n");
    REQUIRE(session.until_shown("2 records discarded, 1 had moved on"));
    CHECK(session.until_ended() == 0);
    CHECK(tool.status()["discarded"] == 2);
    CHECK(tool.json({"show", ids[1]})["state"] == "waiting");
}

TEST_CASE("--all without filters says what it takes; with --json nothing found is JSON too") {
    Tool tool;
    tool.submit();
    const Run none = tool({"requeue", "--all", "--yes", "--json"});
    CHECK(none.code == 4);
    CHECK(json::parse(none.out)["requeued"] == 0);
    tool.environment["TERM"] = "xterm";
    const Run no =
        run_on_terminal(AGENTSIGHT_OUTBOX_TOOL, {"discard", "--all"}, tool.environment, "n\n");
    CHECK(no.out.find("discard 1 record (all that wait or are dead)?") != std::string::npos);
}

TEST_CASE("purge asks on a terminal, removes the history of what is settled, keeps the counts") {
    Tool tool;
    const sandbox::Server server;
    const std::string id = tool.submit();
    REQUIRE(tool.drain(server).code == 0);
    tool.submit("waiting");
    tool.environment["TERM"] = "xterm";
    const std::vector<std::string> purge{"purge", "--delivered-before", "2099-01-01"};
    const Run no = run_on_terminal(AGENTSIGHT_OUTBOX_TOOL, purge, tool.environment, "n\n");
    CHECK(no.code == 1);
    CHECK(no.out.find("cannot be brought back") != std::string::npos);
    CHECK(tool({"show", id}).code == 0);
    CHECK(tool.json({"purge", "--delivered-before", "2020-01-01", "--yes"})["purged"] == 0);
    const Run yes = run_on_terminal(AGENTSIGHT_OUTBOX_TOOL, purge, tool.environment, "y\n");
    CHECK(yes.code == 0);
    CHECK(yes.out.find("1 record purged") != std::string::npos);
    CHECK(tool({"show", id}).code == 4);
    CHECK(tool.status()["delivered"] == 1);
    CHECK(tool.status()["waiting"] == 1);
    CHECK(tool({"verify"}).code == 0);
}

TEST_CASE("requeue --all takes the dead records of the filter, each once") {
    const Tool tool;
    const std::vector<std::string> ids = bury(tool, 3);
    CHECK(tool.json({"requeue", "--all", "--conversation-id", "dead-1", "--yes"})["requeued"] == 1);
    CHECK(tool.json({"requeue", "--all", "--yes"})["requeued"] == 2);
    CHECK(tool.status()["waiting"] == 3);
    CHECK(tool({"requeue", "--all", "--yes"}).code == 4);
}

TEST_CASE("import takes one feedback a line, names bad lines, and can be repeated") {
    const Tool tool;
    const std::string lines =
        R"({"id":"5eedf00d-0000-4000-8000-000000000001","conversation_id":"c","sentiment":"positive"})"
        "\n"
        R"({"conversation":42,"sentiment":"negative","comment":"no id","metadata":{"a":[1]}})"
        "\n\n"
        "not json\n"
        R"({"conversation_id":"c","sentiment":"sad"})"
        "\n"
        R"({"conversation_id":"c","sentiment":"positive","metadata":{"a":1,"a":2}})"
        "\n"
        R"({"conversation_id":"c","sentiment":"positive","metadata":{"a":18446744073709551616}})"
        "\n"
        R"({"conversation_id":4,"sentiment":"positive"})"
        "\n"
        R"({"id":"5eedf00d-0000-4000-8000-000000000002","conversation_id":"c","sentiment":"neutral",)"
        R"("comment":null,"state":"dead","attempts":3})";
    const Run run = tool({"import", "-"}, lines);
    CAPTURE(run.err);
    CHECK(run.code == 1);
    CHECK(run.out == "3 records stored, 0 there already, 5 bad lines\n");
    for (const char* words :
         {"line 4: not one JSON object", "line 5: sentiment", "line 6: metadata",
          "line 7: metadata", "line 8: conversation_id must be a string"}) {
        CAPTURE(words);
        CHECK(run.err.find(words) != std::string::npos);
    }
    CHECK(run.err.find("1 line had no id") != std::string::npos);
    CHECK(run.err.find("no id\"") == std::string::npos);
    CHECK(tool({"import", "-"}, lines).out == "1 record stored, 2 there already, 5 bad lines\n");
    CHECK(tool.status()["accepted"] == 4);
}

TEST_CASE("what export prints, import takes: another outbox then holds the same") {
    const Tool one;
    one.submit("conv-1", "caf\xc3\xa9 \xe2\x80\xae\x1b", R"({"b":1,"a":[true,null,"x"],"f":1e-7})");
    REQUIRE(one({"submit", "--conversation", "7", "--sentiment", "neutral"}).code == 0);
    const Tool other;
    const Run run = other({"import", "-"}, one({"export"}).out);
    CHECK(run.code == 0);
    json before = one.json({"list", "--reveal"});
    json after = other.json({"list", "--reveal"});
    for (json* records : {&before, &after}) {
        for (json& record : *records) {
            record.erase("submitted_at");
        }
    }
    CHECK(before == after);
}

TEST_CASE("dead letters are dead letters after an export and an import") {
    const Tool one;
    const std::string id = bury(one, 1).front();
    const Tool other;
    const std::string lines = one({"export"}).out;
    const Run run = other({"import", "-"}, lines);
    CHECK(run.code == 0);
    CHECK(run.err.find("1 dead letter as exported") != std::string::npos);
    CHECK(other.status()["dead"] == 1);
    CHECK(other({"import", "-"}, lines).out == "0 records stored, 1 there already, 0 bad lines\n");
    const sandbox::Server server;
    CHECK(other.drain(server).code == 0);
    CHECK(server.row_count() == 0);
    CHECK(other({"requeue", id}).code == 0);
    CHECK(other.drain(server).code == 0);
    CHECK(server.row_count() == 1);
    CHECK(other({"verify"}).code == 0);
}

TEST_CASE("import passes over what was delivered or discarded where it was exported") {
    const Tool one;
    const sandbox::Server server;
    one.submit("delivered");
    REQUIRE(one.drain(server).code == 0);
    one.submit("waiting");
    const std::string discarded = one.submit("discarded");
    REQUIRE(one({"discard", discarded, "--yes"}).code == 0);
    const std::string lines = one({"export"}).out;
    const Tool other;
    const Run run = other({"import", "-"}, lines);
    CHECK(run.code == 0);
    CHECK(run.out == "1 record stored, 0 there already, 0 bad lines\n");
    CHECK(run.err.find("2 lines passed over") != std::string::npos);
    CHECK(other.json({"list"})[0]["conversation_id"] == "waiting");
}

TEST_CASE("import of a file that is not there ends with 4, of a folder with 2") {
    const Tool tool;
    CHECK(tool({"import", "/nonexistent"}).code == 4);
    CHECK(tool({"import", "/"}).code == 2);
}

TEST_CASE("an error stands on a line of its own, and one record needs no bar") {
    Tool tool;
    tool.submit();
    tool.environment["TERM"] = "xterm";
    const Run one =
        run_on_terminal(AGENTSIGHT_OUTBOX_TOOL, {"requeue", "nope"}, tool.environment, "");
    CHECK(one.out.find("\xe2\x96\x91") == std::string::npos);
    TerminalSession session(AGENTSIGHT_OUTBOX_TOOL, {"requeue", "nope", "nope too"},
                            tool.environment);
    session.until_ended();
    CHECK(session.screen().text().find("nope: ") != std::string::npos);
    CHECK(session.screen().text().find("%") == std::string::npos);
}
