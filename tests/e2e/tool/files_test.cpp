#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "tool.hpp"

// Which file is the outbox, and what happens where it is none.

using namespace agentsight::test;
namespace fs = std::filesystem;

namespace {

const std::vector<std::vector<std::string>> verbs_on_a_file{
    {"drain"},
    {"status"},
    {"list"},
    {"show", "0193b5a0-7e2c-7d11-8f00-3c5a9e1f2b44"},
    {"requeue", "0193b5a0-7e2c-7d11-8f00-3c5a9e1f2b44"},
    {"discard", "0193b5a0-7e2c-7d11-8f00-3c5a9e1f2b44"},
    {"resolve", "0193b5a0-7e2c-7d11-8f00-3c5a9e1f2b44", "--resend"},
    {"hold"},
    {"release"},
    {"export"},
    {"verify"},
    {"metrics"}};

}  // namespace

TEST_CASE("without a file every verb but submit and import ends with 4 and makes none") {
    const Tool tool;
    for (const auto& verb : verbs_on_a_file) {
        CAPTURE(verb);
        check_refused(tool(verb), 4, tool.path());
        CHECK(fs::is_empty(tool.folder.path()));
    }
    CHECK(tool({"submit", "--conversation", "4", "--sentiment", "neutral"}).code == 0);
    CHECK(fs::exists(tool.path()));
}

TEST_CASE("a file that is no database ends with 5 and is left untouched") {
    const Tool tool;
    std::string garbage;
    for (int i = 0; i < 20'000; ++i) {
        garbage += static_cast<char>(i * 7919 >> 3);
    }
    std::ofstream(tool.path()) << garbage;
    ::chmod(tool.path().c_str(), 0600);
    for (const auto& verb : verbs_on_a_file) {
        if (verb.front() == "release" || verb.front() == "hold") {
            continue;  // these write, and a damaged file is then rescued: the store's tests
        }
        CAPTURE(verb);
        const Run run = tool(verb);
        CAPTURE(run.err);
        CHECK(run.code == 5);
    }
    CHECK(bytes_of(tool.path()) == garbage);
}

TEST_CASE("--outbox goes before AGENTSIGHT_OUTBOX, which goes before the default path") {
    Tool tool;
    const std::string other = (tool.folder / "other.db").string();
    tool({"submit", "--conversation", "4", "--sentiment", "neutral", "--outbox", other});
    CHECK(fs::exists(other));
    CHECK_FALSE(fs::exists(tool.path()));

    tool.environment["AGENTSIGHT_OUTBOX"] = "";
    tool.environment.erase("XDG_DATA_HOME");
    tool({"submit", "--conversation", "4", "--sentiment", "neutral"});
    CHECK(fs::exists(tool.folder / ".local/share/agentsight/agentsight-outbox/feedback.db"));
}

TEST_CASE("a folder, a missing parent's parent and a foreign database are refused with 1") {
    const Tool tool;
    fs::create_directory(tool.folder / "folder");
    ::chmod((tool.folder / "folder").c_str(), 0700);
    const std::string folder = (tool.folder / "folder").string();
    check_refused(
        tool({"submit", "--conversation", "4", "--sentiment", "neutral", "--outbox", folder}), 1,
        folder);
    check_refused(tool({"status", "--outbox", folder}), 1, folder);
}

TEST_CASE("a folder that cannot be written refuses a submit with 1, one line, nothing made") {
    const Tool tool;
    const fs::path shut = tool.folder / "shut";
    fs::create_directory(shut);
    const std::string file = (shut / "feedback.db").string();
    std::vector<std::string> words{AGENTSIGHT_OUTBOX_TOOL, "submit",  "--conversation", "4",
                                   "--sentiment",          "neutral", "--outbox",       file};
    if (::geteuid() == 0) {
        // Root may write everywhere: the tool then runs as nobody.
        constexpr uid_t nobody = 65534;
        REQUIRE(::chown(shut.c_str(), nobody, nobody) == 0);
        ::chmod(tool.folder.path().c_str(), 0711);
        const std::vector<std::string> as_nobody{"setpriv", "--reuid=65534", "--regid=65534",
                                                 "--clear-groups"};
        words.insert(words.begin(), as_nobody.begin(), as_nobody.end());
    }
    ::chmod(shut.c_str(), 0500);
    const Run run = run_program("/usr/bin/env", words, tool.environment);
    if (run.code == 126 || run.code == 127) {
        MESSAGE("skipped: nobody cannot run the tool here");
        return;
    }
    check_refused(run, 1, shut.string());
    CHECK(fs::is_empty(shut));
}

TEST_CASE("output that cannot be written is a failure, not a success") {
    const Tool tool;
    tool.submit();
    const Run run = run_program(
        "/bin/sh", {"-c", std::string("\"") + AGENTSIGHT_OUTBOX_TOOL + "\" list > /dev/full"},
        tool.environment);
    check_refused(run, 1, "standard output");
}
