#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "store/raw.hpp"
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
    {"metrics"},
    {"watch", "--count", "1"},
    {"salvage"},
    {"compact"},
    {"purge", "--delivered-before", "1d", "--yes"}};

constexpr const char* someones_id = "0193b5a0-7e2c-7d11-8f00-3c5a9e1f2b44";

/// With what it takes to be done, but for the file.
std::vector<std::vector<std::string>> all_verbs() {
    std::vector<std::vector<std::string>> verbs = verbs_on_a_file;
    verbs.push_back({"submit", "--conversation", "4", "--sentiment", "neutral"});
    verbs.push_back({"import", "-"});
    return verbs;
}

/// Every verb ends with 1, says so in one line, and changes nothing.
void check_all_refused(const Tool& tool, const std::string& words) {
    const std::string before = bytes_of(tool.path());
    for (const auto& verb : all_verbs()) {
        CAPTURE(verb);
        check_refused(tool(verb, R"({"id":")" + std::string(someones_id) +
                                     R"(","conversation_id":"c","sentiment":"neutral"})"),
                      1, words);
    }
    CHECK(bytes_of(tool.path()) == before);
}

/// A lock that some other process holds for longer than anybody waits.
class HeldLock {
  public:
    HeldLock(const std::string& file, off_t byte) : descriptor_(::open(file.c_str(), O_RDWR)) {
        struct flock lock {};
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        lock.l_start = byte;
        lock.l_len = 1;
        REQUIRE(::fcntl(descriptor_, F_OFD_SETLK, &lock) == 0);
    }
    ~HeldLock() { ::close(descriptor_); }
    HeldLock(const HeldLock&) = delete;
    HeldLock& operator=(const HeldLock&) = delete;

  private:
    int descriptor_;
};

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

TEST_CASE("a file that is no database, and has nothing of ours beside it, is refused with 1") {
    const Tool tool;
    std::string garbage;
    for (int i = 0; i < 20'000; ++i) {
        garbage += static_cast<char>(i * 7919 >> 3);
    }
    std::ofstream(tool.path()) << garbage;
    ::chmod(tool.path().c_str(), 0600);
    check_all_refused(tool, "it is not a database");
    CHECK(bytes_of(tool.path()) == garbage);
}

TEST_CASE("an outbox of a newer version is refused with 1 and left untouched") {
    const Tool tool;
    tool.submit();
    RawDatabase(tool.path()).run("PRAGMA user_version=2; PRAGMA wal_checkpoint(TRUNCATE)");
    check_all_refused(tool, "newer version");
}

TEST_CASE("another application's database is refused with 1 and left untouched") {
    const Tool tool;
    RawDatabase(tool.path()).run("CREATE TABLE theirs(x); INSERT INTO theirs VALUES(1)");
    ::chmod(tool.path().c_str(), 0600);
    check_all_refused(tool, "another application");
}

TEST_CASE("an empty file is no outbox yet: salvage leaves it alone, submit makes one of it") {
    const Tool tool;
    std::ofstream{tool.path()};
    ::chmod(tool.path().c_str(), 0600);
    check_refused(tool({"verify"}), 4, "nothing was ever submitted");
    check_refused(tool({"salvage"}), 4, "nothing was ever submitted");
    CHECK(fs::file_size(tool.path()) == 0);
    tool.submit();
    CHECK(tool({"verify"}).code == 0);
}

TEST_CASE("what changes something ends with 1 where another process keeps the outbox locked") {
    const Tool tool;
    const std::string id = tool.submit();
    const HeldLock commit(tool.path() + "-lock", 0);
    check_refused(tool({"submit", "--conversation", "4", "--sentiment", "neutral"}), 1,
                  "try again");
    check_refused(tool({"hold"}), 1, "try again");
    // Who only looks waits for nobody.
    CHECK(tool({"show", id}).code == 0);
    CHECK(tool({"verify"}).code == 0);
    CHECK(tool.status()["accepted"] == 1);
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

TEST_CASE("a receipt that cannot be written is told with the failure: the feedback is stored") {
    const Tool tool;
    for (const char* out : {"> /dev/full", ">&-", "--json > /dev/full"}) {
        CAPTURE(out);
        const auto before = tool({"status"}).code == 0 ? tool.json({"list"}).size() : 0;
        const Run run =
            run_program("/bin/sh",
                        {"-c", std::string("\"") + AGENTSIGHT_OUTBOX_TOOL +
                                   "\" submit --conversation-id c --sentiment neutral " + out},
                        tool.environment);
        const auto records = tool.json({"list"});
        REQUIRE(records.size() == before + 1);
        check_refused(run, 1, "stored, as " + records.back()["id"].get<std::string>());
    }
    CHECK(tool({"verify"}).code == 0);
}

TEST_CASE("output that cannot be written is a failure, not a success") {
    const Tool tool;
    tool.submit();
    const Run run = run_program(
        "/bin/sh", {"-c", std::string("\"") + AGENTSIGHT_OUTBOX_TOOL + "\" list > /dev/full"},
        tool.environment);
    check_refused(run, 1, "standard output");
}

TEST_CASE("a damaged database is an outbox by its header, though nothing stands beside it") {
    const Tool one;
    for (int i = 0; i < 20; ++i) {
        one.submit();
    }
    const Tool other;
    std::string bytes = bytes_of(one.path());
    SUBCASE("the first page is garbled behind the header") {
        std::fill(bytes.begin() + 100, bytes.begin() + 4096, 'x');
    }
    SUBCASE("cut off in the middle of the first page") {
        bytes.resize(2'000);
    }
    std::ofstream(other.path(), std::ios::binary) << bytes;
    CHECK(other({"verify"}).code == 5);
    CHECK(other({"status"}).code == 5);
}

TEST_CASE("an empty file is no outbox yet, and only submit and import make it one") {
    const Tool tool;
    std::ofstream(tool.path(), std::ios::binary);
    for (const std::vector<std::string>& verb :
         std::vector<std::vector<std::string>>{{"status"},
                                               {"hold"},
                                               {"release"},
                                               {"compact"},
                                               {"requeue", "--all", "--yes"},
                                               {"purge", "--delivered-before", "1d", "--yes"}}) {
        CAPTURE(verb);
        CHECK(tool(verb).code == 4);
        CHECK(fs::file_size(tool.path()) == 0);
    }
    tool.submit();
    CHECK(tool({"status"}).code == 0);
}
