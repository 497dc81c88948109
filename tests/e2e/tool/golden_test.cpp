#include <cstdlib>
#include <fstream>
#include <regex>
#include <sstream>

#include "tool.hpp"

// Every verb's words and JSON, on an empty, a small and a damaged outbox, as they stand in
// golden/. To write them anew, and then read what changed before it is committed:
//
//   AGENTSIGHT_WRITE_GOLDEN=1 build/tests/e2e/tool/test-tool -tc='golden*'

using namespace agentsight::test;

namespace {

constexpr const char* delivered_id = "0198b7d0-0000-7d11-8f00-000000000001";
constexpr const char* dead_id = "0198b7d0-0000-7d11-8f00-000000000002";
constexpr const char* waiting_id = "0198b7d0-0000-7d11-8f00-000000000003";
constexpr const char* unknown_id = "0198b7d0-0000-7d11-8f00-000000000005";
constexpr const char* discarded_id = "0198b7d0-0000-7d11-8f00-000000000006";
constexpr const char* no_id = "0198b7d0-0000-7d11-8f00-00000000ffff";

using Words = std::vector<std::string>;

/// What differs from run to run becomes a name.
std::string normalised(const Tool& tool, std::string text) {
    const auto replace = [&](const char* pattern, const char* with) {
        text = std::regex_replace(text, std::regex(pattern), with);
    };
    const std::string folder = tool.folder.path().string();
    for (std::size_t at = 0; (at = text.find(folder, at)) != text.npos;) {
        text.replace(at, folder.size(), "/outboxes");
    }
    replace("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}Z", "<time with milliseconds>");
    replace("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", "<time>");
    replace("\\.damaged-[0-9TZ.]*", ".damaged-<when>");
    replace("\\([^()]* ago\\)", "(<long> ago)");
    replace("\\(in the future: a clock was wrong\\)", "(<long> ago)");
    // The drain itself, where it is not yet over when it is printed.
    replace("\\{\"pid\":[0-9]+,\"stopped\":false\\}", "null");
    replace("127\\.0\\.0\\.1:[0-9]+", "127.0.0.1:<port>");
    replace("[0-9.]+ (k|M)?B\\b", "<size>");
    replace("(\"bytes(_before|_after)?\":)[0-9]+", "$1<size>");
    replace("(_bytes )[0-9]+", "$1<size>");
    replace("(_seconds )[0-9]+", "$1<time>");
    replace("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-(?!000000)[0-9a-f]{12}",
            "<id>");
    return text;
}

class Golden {
  public:
    explicit Golden(const Tool& tool) : tool_(tool) {}

    /// Once for people and once as JSON.
    void both(const Words& words, const std::string& input = {}) {
        one(words, input);
        Words json = words;
        json.push_back("--json");
        one(json, input);
    }

    void one(const Words& words, const std::string& input = {}) {
        const Run run = tool_(words, input);
        text_ << "$ agentsight-outbox";
        for (const std::string& word : words) {
            text_ << ' ' << (word.find(' ') == word.npos ? word : "'" + word + "'");
        }
        text_ << "\n" << run.out << run.err << "[" << run.code << "]\n\n";
    }

    void check(const std::string& name) const {
        const std::string text = normalised(tool_, text_.str());
        const std::string file = std::string(GOLDEN_FOLDER) + "/" + name + ".txt";
        if (std::getenv("AGENTSIGHT_WRITE_GOLDEN") != nullptr) {
            std::ofstream(file) << text;
            return;
        }
        std::istringstream wanted(bytes_of(file));
        std::istringstream got(text);
        std::string wanted_line;
        std::string line;
        std::string command;
        for (int number = 1; std::getline(wanted, wanted_line); ++number) {
            command = wanted_line.starts_with("$ ") ? wanted_line : command;
            CAPTURE(name);
            CAPTURE(number);
            CAPTURE(command);
            REQUIRE(std::getline(got, line));
            REQUIRE(line == wanted_line);
        }
        CHECK_FALSE(std::getline(got, line));
    }

  private:
    const Tool& tool_;
    std::ostringstream text_;
};

void look_at_everything(Golden& golden) {
    golden.both({"status"});
    golden.both({"list"});
    golden.both({"list", "--state", "dead"});
    golden.both({"list", "--limit", "2"});
    golden.one({"list", "--reveal"});
    golden.both({"show", waiting_id});
    golden.both({"show", dead_id, "--reveal"});
    golden.both({"show", no_id});
    golden.both({"watch", "--count", "1"});
    golden.both({"export"});
    golden.both({"verify"});
    golden.both({"metrics"});
}

void change_everything(Golden& golden, const sandbox::Server& server) {
    golden.both({"hold"});
    golden.both({"status"});
    golden.both({"drain", "--endpoint", server.url()});
    golden.both({"release"});
    golden.both({"drain", "--endpoint", server.url(), "--deadline", "20s"});
    golden.both({"requeue", dead_id, no_id});
    golden.both({"requeue", "--all"});
    golden.both({"requeue", "--all", "--yes"});
    golden.both({"resolve", unknown_id, "--delivered", "--server-id", "77"});
    golden.both({"discard", waiting_id});
    golden.both({"discard", "--all", "--state", "dead", "--yes"});
    golden.both({"purge", "--delivered-before", "2020-01-01", "--yes"});
    golden.both({"compact"});
    golden.both({"salvage"});
    golden.both({"submit", "--conversation-id", "conv-9", "--sentiment", "neutral", "--id",
                 "0198b7d0-0000-7d11-8f00-000000000009"});
    golden.both({"import", "-"}, R"({"id":"0198b7d0-0000-7d11-8f00-00000000000a","conversation":7,)"
                                 R"("sentiment":"positive"})"
                                 "\n{}\nnonsense\n");
    golden.both({"status"});
}

/// One record in each state that a file can rest in.
void fill(const Tool& tool) {
    const auto submit = [&](const char* id, const char* conversation) {
        const Run run = tool({"submit", "--id", id, "--conversation-id", conversation,
                              "--sentiment", "negative", "--comment", "words of a customer"});
        REQUIRE(run.code == 0);
    };
    {
        const sandbox::Server server;
        submit(delivered_id, "conv-delivered");
        REQUIRE(tool.drain(server).code == 0);
    }
    {
        sandbox::Server server;
        server.add_fault("status,status=422,body=json");
        submit(dead_id, "conv-dead");
        REQUIRE(tool.drain(server).code == 0);
    }
    const Run run = tool(
        {"import", "-"},
        std::string(R"({"id":")") + waiting_id +
            R"(","conversation_id":"conv-\u001b[31m","sentiment":"positive",)"
            R"("comment":"line 1\nline \u202e2\u0007","metadata":{"rating":5,"\u009bkey":["x"]},)"
            R"("submitted_at":"2026-08-17T14:00:00Z"})"
            "\n"
            R"({"id":"0198b7d0-0000-7d11-8f00-000000000004","conversation":42,)"
            R"("sentiment":"neutral","credential":"jwt"})"
            "\n"
            R"({"id":")" +
            unknown_id +
            R"(","conversation_id":"conv-unknown","sentiment":"neutral","state":"unknown"})"
            "\n"
            R"({"id":")" +
            discarded_id + R"(","conversation_id":"conv-discarded","sentiment":"neutral"})");
    REQUIRE(run.code == 0);
    REQUIRE(tool({"discard", discarded_id}).code == 0);
}

/// One page in the middle becomes nonsense: the one with most of the records.
void damage(const Tool& tool) {
    REQUIRE(tool({"compact"}).code == 0);
    for (const char* companion : {"-wal", "-shm"}) {
        std::filesystem::remove(tool.path() + companion);
    }
    constexpr std::size_t page = 4096;
    const std::string bytes = bytes_of(tool.path());
    const std::size_t at = bytes.rfind("conv-unknown") / page * page;
    REQUIRE(at > 0);
    std::fstream file(tool.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file << std::string(page, '\x5a');
}

}  // namespace

TEST_CASE("golden: an empty outbox") {
    Tool tool;
    agentsight::Outbox(tool.path(), agentsight::OutboxMode::create);
    tool.environment["AGENTSIGHT_API_KEY"] = write_key;
    const sandbox::Server server;
    Golden golden(tool);
    look_at_everything(golden);
    change_everything(golden, server);
    golden.check("empty");
}

TEST_CASE("golden: a small outbox") {
    Tool tool;
    fill(tool);
    tool.environment["AGENTSIGHT_API_KEY"] = write_key;
    const sandbox::Server server;
    Golden golden(tool);
    look_at_everything(golden);
    change_everything(golden, server);
    golden.check("small");
}

TEST_CASE("golden: a damaged outbox") {
    Tool tool;
    fill(tool);
    damage(tool);
    tool.environment["AGENTSIGHT_API_KEY"] = write_key;
    const sandbox::Server server;
    Golden golden(tool);
    look_at_everything(golden);
    change_everything(golden, server);
    golden.check("damaged");
}
