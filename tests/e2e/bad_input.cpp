#include <sqlite3.h>

#include <cmath>
#include <cstdlib>
#include <fstream>

#include "e2e/support.hpp"
#include "support/child_process.hpp"

using namespace agentsight;
using namespace agentsight::test;

namespace {

errc code_of(const std::function<void()>& call, std::string* message = nullptr) {
    try {
        call();
    } catch (const Error& error) {
        if (message) {
            *message = error.what();
        }
        CHECK(error.code().category() == error_category());
        return static_cast<errc>(error.code().value());
    }
    return errc{};
}

Options local(const std::filesystem::path& path) {
    Options options;
    options.outbox_path = path;
    options.endpoint = "http://127.0.0.1:1";
    options.credential = ApiKey{"ags_test"};
    return options;
}

std::string contents(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("each broken rule is its own error, names the field, and stores nothing") {
    TemporaryFolder folder;
    ConversationManager manager{local(folder.path() / "feedback.db")};
    struct Row {
        errc code;
        const char* field;
        std::function<void()> call;
    };
    const std::string long_id(256, 'x');
    const std::string long_comment(5'001, 'x');
    nlohmann::json deep = nlohmann::json::object();
    for (int i = 0; i < 100; ++i) {
        deep = nlohmann::json{{"d", deep}};
    }
    const auto submit = [&](auto... arguments) {
        return [&manager, arguments...] { manager.submit_feedback(arguments...); };
    };
    using namespace std::string_literals;
    const std::vector<Row> rows = {
        {errc::id_empty, "conversation", submit("", "positive")},
        {errc::id_not_positive, "conversation", submit(0, "positive")},
        {errc::id_not_positive, "conversation", submit(-1, "positive")},
        {errc::id_blank, "conversation", submit(" \t\u00a0", "positive")},
        {errc::id_too_long, "conversation", submit(long_id, "positive")},
        {errc::id_not_utf8, "conversation", submit("\xff", "positive")},
        {errc::id_has_nul, "conversation", submit("a\0b"s, "positive")},
        {errc::sentiment_invalid, "sentiment", submit("a", "Positive")},
        {errc::sentiment_invalid, "sentiment", submit("a", "")},
        {errc::comment_too_long, "comment", submit("a", "positive", long_comment)},
        {errc::comment_not_utf8, "comment", submit("a", "positive", "\xed\xa0\x80")},
        {errc::comment_has_nul, "comment", submit("a", "positive", "a\0b"s)},
        {errc::metadata_not_object, "metadata",
         submit("a", "positive", "c", nlohmann::json::array({1}))},
        {errc::metadata_not_utf8, "metadata",
         submit("a", "positive", "c", nlohmann::json{{"k", "\xff"}})},
        {errc::metadata_not_finite, "metadata",
         submit("a", "positive", "c", nlohmann::json{{"k", std::nan("")}})},
        {errc::metadata_not_finite, "metadata",
         submit("a", "positive", "c", nlohmann::json{{"k", {1, INFINITY}}})},
        {errc::metadata_too_deep, "metadata", submit("a", "positive", "c", deep)},
        {errc::metadata_too_large, "metadata",
         submit("a", "positive", "c", nlohmann::json{{"k", std::string(256 * 1024, 'x')}})},
        {errc::metadata_not_json, "metadata",
         [&] {
             manager.submit_feedback(
                 {.conversation = "a", .sentiment = "positive", .metadata_json = "{"});
         }},
        {errc::metadata_duplicate_name, "metadata",
         [&] {
             manager.submit_feedback({.conversation = "a",
                                      .sentiment = "positive",
                                      .metadata_json = R"({"a":1,"a":2})"});
         }},
        {errc::metadata_integer_out_of_range, "metadata",
         [&] {
             manager.submit_feedback({.conversation = "a",
                                      .sentiment = "positive",
                                      .metadata_json = R"({"a":18446744073709551616})"});
         }},
        {errc::record_id_invalid, "id",
         [&] { manager.submit_feedback(RecordId{"not-a-uuid"}, "a", "positive"); }},
        {errc::record_id_invalid, "id",
         [&] { manager.submit_feedback(RecordId{""}, "a", "positive"); }},
    };
    for (const Row& row : rows) {
        std::string message;
        const errc code = code_of(row.call, &message);
        CAPTURE(message);
        CHECK(static_cast<int>(code) == static_cast<int>(row.code));
        CHECK(message.find(row.field) != std::string::npos);
        CHECK(message.find("xxxx") == std::string::npos);
        CHECK(message.find('\n') == std::string::npos);
    }
    CHECK(manager.stats().accepted == 0);
}

TEST_CASE("the error_code overloads fill the code and throw nothing") {
    TemporaryFolder folder;
    ConversationManager manager{local(folder.path() / "feedback.db")};
    std::error_code ec;
    manager.submit_feedback("", "positive", ec);
    CHECK(ec == errc::id_empty);
    CHECK(is_validation_error(ec));
    const Receipt receipt = manager.submit_feedback("a", "positive", "c", {{"n", 1}}, ec);
    CHECK_FALSE(ec);
    CHECK(receipt.stored);
    CHECK(receipt.id.size() == 36);
}

TEST_CASE("submitting again with the same id stores once, and other content is a conflict") {
    TemporaryFolder folder;
    ConversationManager manager{local(folder.path() / "feedback.db")};
    const RecordId id{"0190a6b2-7d3e-4c11-8a52-0123456789ab"};
    CHECK(manager.submit_feedback(id, "a", "positive", "c").stored);
    const Receipt again = manager.submit_feedback(id, "a", "positive", "c");
    CHECK_FALSE(again.stored);
    CHECK(again.id == id.value);
    CHECK(code_of([&] { manager.submit_feedback(id, "a", "positive", "other"); }) ==
          errc::id_conflict);
    CHECK(manager.stats().accepted == 1);
    std::error_code ec;
    CHECK_FALSE(manager.submit_feedback(id, "a", "positive", "c", nullptr, ec).stored);
    CHECK_FALSE(ec);
    CHECK_FALSE(manager.submit_feedback(id, "a", "positive", "c", ec).stored);
    CHECK_FALSE(ec);
    CHECK(manager.submit_feedback(id, "a", "positive", ec).id == id.value);
    CHECK(ec == errc::id_conflict);
}

TEST_CASE("an id that names no record is not found, whatever it looks like") {
    TemporaryFolder folder;
    ConversationManager manager{local(folder.path() / "feedback.db")};
    manager.submit_feedback("a", "positive");
    Outbox outbox{folder.path() / "feedback.db", OutboxMode::read_write};
    for (const char* id : {"", "nope", "0190a6b2-7d3e-4c11-8a52-0123456789ab"}) {
        CAPTURE(id);
        CHECK(code_of([&] { manager.wait(id, 1s); }) == errc::not_found);
        CHECK(code_of([&] { outbox.get(id); }) == errc::not_found);
        CHECK(code_of([&] { outbox.requeue(id); }) == errc::not_found);
        CHECK(code_of([&] { outbox.discard(id); }) == errc::not_found);
        CHECK(code_of([&] { outbox.resolve_resend(id); }) == errc::not_found);
    }
}

TEST_CASE("options that break a rule are refused before anything is made") {
    TemporaryFolder folder;
    const auto path = folder.path() / "new" / "feedback.db";
    const auto refuses = [&](const char* field, const std::function<void(Options&)>& change) {
        Options options = local(path);
        change(options);
        std::string message;
        CHECK(code_of([&] { ConversationManager manager{options}; }, &message) ==
              errc::invalid_option);
        CAPTURE(message);
        CHECK(message.find(field) != std::string::npos);
        CHECK(message.find("secret") == std::string::npos);
    };
    for (const char* endpoint :
         {"not a url", "ftp://host", "http://", "http://host:0", "http://host:99999",
          "http://ho st", "http://host/\r\nX: y", "http://host/a?b", "http://u:secret@host"}) {
        CAPTURE(endpoint);
        refuses("endpoint", [&](Options& o) { o.endpoint = endpoint; });
    }
    refuses("endpoint", [](Options& o) { o.endpoint = std::string("http://ho\0st", 12); });
    refuses("credential", [](Options& o) { o.credential = ApiKey{"secret\r\nX: y"}; });
    refuses("credential", [](Options& o) { o.credential = Jwt{"secret with space"}; });
    refuses("connections", [](Options& o) { o.connections = 0; });
    refuses("connections", [](Options& o) { o.connections = 65; });
    refuses("application", [](Options& o) { o.application = "../up"; });
    refuses("request_timeout", [](Options& o) { o.request_timeout = 0ms; });
    refuses("reconcile_after", [](Options& o) { o.reconcile_after = -1ms; });
    refuses("max_bytes", [](Options& o) { o.max_bytes = 1; });
    CHECK_FALSE(std::filesystem::exists(folder.path() / "new"));
}

TEST_CASE("a path that cannot be an outbox is refused with its own error and left alone") {
    TemporaryFolder folder;
    SUBCASE("a directory") {
        std::filesystem::create_directory(folder.path() / "feedback.db");
        const errc code =
            code_of([&] { ConversationManager m{local(folder.path() / "feedback.db")}; });
        CHECK((code == errc::unsafe_path || code == errc::invalid_option));
        CHECK(std::filesystem::is_directory(folder.path() / "feedback.db"));
    }
    SUBCASE("a database of another application") {
        const auto path = folder.path() / "other.db";
        sqlite3* other = nullptr;
        REQUIRE(sqlite3_open(path.c_str(), &other) == SQLITE_OK);
        REQUIRE(sqlite3_exec(other, "create table t(a); insert into t values(1)", nullptr, nullptr,
                             nullptr) == SQLITE_OK);
        sqlite3_close(other);
        std::filesystem::permissions(path, std::filesystem::perms{0600});
        const std::string before = contents(path);
        CHECK(code_of([&] { ConversationManager m{local(path)}; }) == errc::foreign_file);
        CHECK(contents(path) == before);
    }
    SUBCASE("a symbolic link") {
        std::filesystem::create_symlink(folder.path() / "real.db", folder.path() / "feedback.db");
        CHECK(code_of([&] { ConversationManager m{local(folder.path() / "feedback.db")}; }) ==
              errc::unsafe_path);
    }
    SUBCASE("a folder others may write to") {
        const auto open = folder.path() / "open";
        std::filesystem::create_directory(open);
        std::filesystem::permissions(open, std::filesystem::perms{0777});
        CHECK(code_of([&] { ConversationManager m{local(open / "feedback.db")}; }) ==
              errc::unsafe_path);
    }
}

TEST_CASE("after fork a child's calls fail with errc::forked and harm nothing") {
    TemporaryFolder folder;
    ConversationManager manager{local(folder.path() / "feedback.db")};
    manager.submit_feedback("a", "positive");
    ChildProcess child = ChildProcess::run([&](ParentLink&) {
        std::error_code ec;
        manager.submit_feedback("b", "positive", ec);
        return ec == errc::forked ? 0 : 1;
    });
    CHECK(child.wait().code == 0);
    manager.submit_feedback("c", "positive");
    CHECK(manager.stats().accepted == 2);
}
