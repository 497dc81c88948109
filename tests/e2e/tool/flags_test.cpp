#include "help.hpp"

// Bad flags and values: one clear line that names the flag and the rule, exit 2, nothing
// changed.

using namespace agentsight::test;
namespace fs = std::filesystem;

namespace {

struct Refusal {
    std::vector<std::string> arguments;
    std::string words;
};

std::vector<std::string> submit_with(const std::vector<std::string>& more) {
    std::vector<std::string> arguments{"submit", "--conversation-id", "c", "--sentiment",
                                       "positive"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

}  // namespace

TEST_CASE("a bad flag or value ends with 2 and a line that names it, and stores nothing") {
    const Tool tool;
    const std::vector<Refusal> refusals{
        {{}, "a verb is needed"},
        {{"frobnicate"}, "unknown verb"},
        {{"--json"}, "--json"},
        {{"--outbox", "x", "status"}, "the verb comes first"},
        {{"--json", "status"}, "the verb comes first"},
        {{"status", "--bogus"}, "--bogus"},
        {{"status", "--bogus=value"}, "--bogus"},
        {{"status", "--outbox"}, "--outbox"},
        {{"status", "--outbox", ""}, "--outbox"},
        {{"submit"}, "--sentiment"},
        {{"submit", "--sentiment", "positive"}, "--conversation-id or --conversation"},
        {{"submit", "--sentiment", "positive", "--conversation-id", ""}, "--conversation-id: "},
        {{"submit", "--sentiment", "positive", "--conversation", "0"}, "--conversation"},
        {{"submit", "--sentiment", "positive", "--conversation", "-4"}, "--conversation"},
        {{"submit", "--sentiment", "positive", "--conversation", "4x"}, "--conversation"},
        {{"submit", "--sentiment", "positive", "--conversation", "18446744073709551616"},
         "--conversation"},
        {submit_with({"--conversation", "4"}), "excludes"},
        {{"submit", "--sentiment", "Positive", "--conversation", "4"}, "--sentiment: "},
        {submit_with({"--comment", std::string(5001, 'x')}), "--comment: "},
        {submit_with({"--comment", "\xff"}), "--comment: "},
        {submit_with({"--metadata", ""}), "--metadata"},
        {submit_with({"--metadata", "{"}), "--metadata: "},
        {submit_with({"--metadata", "[1]"}), "--metadata: "},
        {submit_with({"--metadata", "{\"a\":1,\"a\":2}"}), "--metadata: "},
        {submit_with({"--metadata", "{\"a\":18446744073709551616}"}), "--metadata: "},
        {submit_with({"--id", ""}), "--id"},
        {submit_with({"--id", "not-a-uuid"}), "--id: "},
        {submit_with({"--sentiment", "negative"}), "--sentiment"},
        {{"list", "--limit", "0"}, "--limit"},
        {{"list", "--limit", "ten"}, "--limit"},
        {{"list", "--limit", "-1"}, "--limit"},
        {{"list", "--state", "asleep"}, "--state"},
        {{"list", "--state", ""}, "--state"},
        {{"list", "--since", "yesterday"}, "--since"},
        {{"list", "--since", "2026-02-30"}, "--since"},
        {{"list", "--since", ""}, "--since"},
        {{"list", "--since", "2026-08-17T18:52:44+99:99"}, "--since"},
        {{"list", "--since", "2026-08-17T18:52:44+24:00"}, "--since"},
        {{"list", "--since", "2026-08-17T18:52:44-01:60"}, "--since"},
        {{"list", "--after", ""}, "--after"},
        {{"list", "--conversation-id", ""}, "--conversation-id"},
        {{"list", "--conversation-id", " "}, "--conversation-id: "},
        {{"list", "--conversation-id", "\xff"}, "--conversation-id: "},
        {{"export", "--limit", "0"}, "--limit"},
        {{"export", "--limit", "all"}, "--limit"},
        {{"export", "--after", ""}, "--after"},
        {{"export", "--conversation-id", std::string(256, 'x')}, "--conversation-id: "},
        {{"discard", "--all", "--yes", "--conversation-id", "\xff"}, "--conversation-id: "},
        {{"list", "--json=perhaps"}, "--json"},
        {{"show"}, "ID"},
        {{"show", ""}, "ID: must not be empty"},
        {{"requeue", ""}, "ID: must not be empty"},
        {{"discard", "0193b5a0-7e2c-7d11-8f00-3c5a9e1f2b44", ""}, "ID: must not be empty"},
        {{"resolve", "", "--resend"}, "ID: must not be empty"},
        {{"show", "one", "two"}, "too many"},
        {{"drain", "--deadline", "30"}, "--deadline"},
        {{"drain", "--deadline", "30 s"}, "--deadline"},
        {{"drain", "--deadline", "-1s"}, "--deadline"},
        {{"drain", "--deadline", "9223372036854775807d"}, "--deadline"},
        {{"drain", "--deadline", "366d"}, "--deadline"},
        {{"drain", "--connections", "0"}, "--connections"},
        {{"drain", "--connections", "65"}, "--connections"},
        {{"drain", "--reconcile-after", "25h"}, "--reconcile-after"},
        {{"drain", "--credential-file", "/nonexistent"}, "--credential-file"},
        {{"drain", "--credential-file", ""}, "--credential-file"},
        {{"drain", "--endpoint", ""}, "--endpoint"},
        {{"requeue"}, "--all"},
        {{"requeue", "x", "--all"}, "--all"},
        {{"discard", "x", "--state", "dead"}, "--all"},
        {{"resolve", "x"}, "--delivered or --resend"},
        {{"resolve", "x", "--delivered", "--resend"}, "--delivered or --resend"},
        {{"resolve", "x", "--resend", "--server-id", "4"}, "--server-id"},
        {{"resolve", "x", "--delivered", "--server-id", ""}, "--server-id"},
        {{"resolve", "x", "--delivered", "--server-id", "row-7"}, "--server-id"},
        {{"resolve", "x", "--delivered", "--server-id", "-7"}, "--server-id"},
        {{"resolve", "x", "--delivered", "--server-id", "0"}, "--server-id"},
        {{"import"}, "FILE"},
        {{"import", ""}, "FILE"},
        {{"requeue", "--all", "--yes", "--state", "asleep"}, "--state"},
        {{"discard", "--all", "--yes", "--since", "soon"}, "--since"},
        {{"export", "--conversation", "none"}, "--conversation"},
        {{"export", "--conversation", "1", "--conversation-id", "x"}, "excludes"},
        {{"watch", "--every", "99ms"}, "--every"},
        {{"watch", "--every", "2h"}, "--every"},
        {{"watch", "--every", "often"}, "--every"},
        {{"watch", "--count", "0"}, "--count"},
        {{"purge"}, "--delivered-before"},
        {{"purge", "--yes"}, "--delivered-before"},
        {{"purge", "--delivered-before", "soon"}, "--delivered-before"},
        {{"purge", "--delivered-before", ""}, "--delivered-before"},
        {{"salvage", "file"}, "too many"},
        {{"compact", "--yes"}, "--yes"},
    };
    for (const Refusal& refusal : refusals) {
        CAPTURE(refusal.arguments);
        check_refused(tool(refusal.arguments), 2, refusal.words);
        CHECK(fs::is_empty(tool.folder.path()));
    }
}

TEST_CASE("the sandbox refuses a number out of its bounds with 2 and one line") {
    const Tool tool;
    for (const char* flag : {"--port", "--control-port", "--request-log", "--keep-alive-ms"}) {
        for (const char* value : {"-1", "18446744073709551616", "4x", ""}) {
            CAPTURE(flag);
            CAPTURE(value);
            const Run run = run_program(AGENTSIGHT_SANDBOX_TOOL, {flag, value}, tool.environment);
            CHECK(run.code == 2);
            CHECK(run.err.starts_with("agentsight-sandbox: "));
            CHECK(run.err.find(flag) != std::string::npos);
            CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
            CHECK(run.out.empty());
        }
    }
}

TEST_CASE("a bad endpoint ends a drain with 2 and changes nothing") {
    const Tool tool;
    tool.submit();
    for (const char* endpoint : {"ftp://host", "http://", "http://a b", "http://h\r\nX: y",
                                 "no url", "http://user:pass@h", "http://h:99999"}) {
        CAPTURE(endpoint);
        check_refused(tool({"drain", "--endpoint", endpoint}), 2, "--endpoint: ");
    }
    CHECK(tool.status().at("waiting") == 1);
}

TEST_CASE("a forgotten quote never shows the words of a comment") {
    const Tool tool;
    const Run run = tool(submit_with({"--comment", "my", "wordsofacustomer"}));
    check_refused(run, 2, "quote");
    CHECK(run.err.find("wordsofacustomer") == std::string::npos);
}

TEST_CASE("values that look like flags are taken as values") {
    const Tool tool;
    CHECK(tool(submit_with({"--comment", "-5 stars"})).code == 0);
    CHECK(tool(submit_with({"--comment=--json"})).code == 0);
    CHECK(tool(submit_with({"--comment", ""})).code == 0);
    CHECK(tool(submit_with({"--comment", "[a,b]"})).code == 0);
    const auto records = tool.json({"list", "--reveal"});
    REQUIRE(records.size() == 4);
    CHECK(records[0]["comment"] == "-5 stars");
    CHECK(records[1]["comment"] == "--json");
    CHECK(records[2]["comment"] == nullptr);
    CHECK(records[3]["comment"] == "[a,b]");
}

namespace {

/// Words with which the verb would do its work, but for the flag that is looked at.
std::vector<std::string> sound_use(const std::string& verb, const std::string& flag) {
    const std::string id = "0193b5a0-7e2c-7d11-8f00-3c5a9e1f2b44";
    std::vector<std::string> words{verb};
    const auto add = [&](const std::string& name, const std::string& value) {
        if (name != flag) {
            words.insert(words.end(), {name, value});
        }
    };
    if (verb == "submit") {
        add("--sentiment", "positive");
        if (flag != "--conversation" && flag != "--conversation-id") {
            add("--conversation-id", "c");
        }
    } else if (verb == "import") {
        words.push_back("-");
    } else if (verb == "purge") {
        add("--delivered-before", "1d");
    } else if (verb == "resolve") {
        words.push_back(id);
        if (flag != "--resend" && flag != "--delivered") {
            words.push_back("--delivered");
        }
    } else if (verb == "requeue" || verb == "discard" || verb == "show") {
        words.push_back(id);
    }
    return words;
}

}  // namespace

TEST_CASE("every flag of every verb: without its value, with an empty one, with one too many") {
    const Tool tool;
    tool.submit();
    const auto before = tool.json({"list", "--reveal"});
    for (const std::string& verb : verbs(tool)) {
        for (const Flag& flag : flags(tool, verb)) {
            if (flag.name == "--help") {
                continue;
            }
            CAPTURE(verb);
            CAPTURE(flag.name);
            std::vector<std::string> words = sound_use(verb, flag.name);
            if (!flag.takes_value) {
                words.push_back(flag.name + "=perhaps");
                check_refused(tool(words), 2, flag.name);
                continue;
            }
            words.push_back(flag.name);
            check_refused(tool(words), 2, flag.name);
            if (flag.name == "--comment") {
                continue;  // empty is none
            }
            words.push_back("");
            const bool is_filter = verb == "requeue" || verb == "discard";
            check_refused(tool(words), 2, is_filter && flag.name != "--outbox" ? "--" : flag.name);
        }
    }
    CHECK(tool.json({"list", "--reveal"}) == before);
    CHECK(tool.status()["hold"] == nullptr);
}

TEST_CASE("help and version end with 0, for every verb, with an example") {
    const Tool tool;
    CHECK(tool({"--version"}).out.starts_with("agentsight-outbox 0."));
    CHECK(tool({"--help"}).code == 0);
    for (const std::string& verb : verbs(tool)) {
        CAPTURE(verb);
        const Run run = tool({verb, "--help"});
        CHECK(run.code == 0);
        CHECK(run.out.find("agentsight-outbox " + verb) != std::string::npos);
        CHECK(run.out.find("Example:") != std::string::npos);
        CHECK(run.out.find("--outbox") != std::string::npos);
        CHECK(run.out.find("--json") != std::string::npos);
    }
}

TEST_CASE("an empty value behind = is empty, and no switch takes one") {
    const Tool tool;
    REQUIRE(tool({"submit", "--conversation-id", "c", "--sentiment", "positive",
                  "--comment=", "--json"})
                .code == 0);
    const nlohmann::json records = tool.json({"list", "--reveal"});
    REQUIRE(records.size() == 1);
    CHECK(records[0]["comment"] == nullptr);
    check_refused(tool({"submit", "--conversation-id=", "--sentiment", "positive"}), 2,
                  "conversation_id");
    check_refused(tool({"list", "--conversation-id=", "--json"}), 2, "--conversation-id");
    check_refused(tool({"status", "--outbox=", "--json"}), 2, "--outbox: must not be empty");
    for (const char* value : {"--json=no", "--json=1", "--json=words of a customer"}) {
        const Run run = tool({"status", value});
        check_refused(run, 2, "--json takes no value");
        CHECK(run.err.find("customer") == std::string::npos);
    }
    CHECK(tool.status()["accepted"] == 1);
    // What stands in a value's place is one.
    REQUIRE(tool({"submit", "--conversation-id", "c", "--sentiment", "positive", "--comment",
                  "--comment="})
                .code == 0);
    CHECK(tool.json({"list", "--reveal"})[1]["comment"] == "--comment=");
}
