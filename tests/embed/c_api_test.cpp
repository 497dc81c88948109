#include "c_api.h"

#include <string>

#include "agentsight/agentsight.h"
#include "e2e/support.hpp"

using namespace agentsight;
using namespace agentsight::test;

namespace {

/// 0, or the line of c_api.c whose check failed.
int run(int (*behaviour)(const char*, const char*), const sandbox::Server& server,
        const TemporaryFolder& folder) {
    return behaviour((folder.path() / "feedback.db").c_str(), server.url().c_str());
}

int code_of_options(const std::string& json, std::string& message) {
    char text[200];
    agentsight_manager* manager = nullptr;
    const int code =
        agentsight_open(json.data(), json.size(), nullptr, &manager, text, sizeof text);
    message = text;
    agentsight_close(manager, 0);
    return code;
}

}  // namespace

TEST_CASE("a C program submits feedback, and it is delivered as given") {
    const TemporaryFolder folder;
    const sandbox::Server server;
    CHECK(run(c_submits_and_delivers, server, folder) == 0);
    REQUIRE(server.row_count() == 2);
    const std::vector<sandbox::Row> rows = server.rows();
    const sandbox::Row& row = rows.front().sentiment == "positive" ? rows.front() : rows.back();
    CHECK(row.conversation_id == "conv-c");
    CHECK(row.comment == "from C, not terminated");
    CHECK(nlohmann::json::parse(row.metadata) ==
          nlohmann::json{{"rating", 5}, {"nested", {{"big", 18446744073709551615U}}}});
    CHECK(server.errors().empty());
}

TEST_CASE("every C function has its code, and a message in the caller's buffer") {
    const TemporaryFolder folder;
    const sandbox::Server server;
    CHECK(run(c_says_what_is_wrong, server, folder) == 0);
    CHECK(server.row_count() == 0);
}

TEST_CASE("structures of an older and of a newer caller keep their meaning") {
    const TemporaryFolder folder;
    CHECK(run(c_takes_structures_of_other_sizes, sandbox::Server{}, folder) == 0);
}

TEST_CASE("an id of the caller's stores once, in C too") {
    const TemporaryFolder folder;
    CHECK(run(c_repeats_an_id, sandbox::Server{}, folder) == 0);
}

TEST_CASE("an asynchronous submit of C calls back exactly once") {
    const TemporaryFolder folder;
    const sandbox::Server server;
    CHECK(run(c_submits_asynchronously, server, folder) == 0);
}

TEST_CASE("a C program pauses, resumes and changes its credential") {
    const TemporaryFolder folder;
    const sandbox::Server server;
    CHECK(run(c_pauses_and_changes_credentials, server, folder) == 0);
}

TEST_CASE("events reach a C program's own loop, as JSON, without the feedback's text") {
    const TemporaryFolder folder;
    const sandbox::Server server;
    CHECK(run(c_observes_through_its_own_loop, server, folder) == 0);
}

TEST_CASE("a C program fetches a conversation, or learns why not") {
    const TemporaryFolder folder;
    sandbox::Server server;
    server.add_conversation("conv-123", 42);
    CHECK(run(c_fetches_a_conversation, server, folder) == 0);
}

TEST_CASE("agentsight_stop ends the calls of other threads, and frees nothing") {
    const TemporaryFolder folder;
    sandbox::Server server;
    server.add_fault("hang");
    const auto start = std::chrono::steady_clock::now();
    CHECK(run(c_stops_what_other_threads_wait_for, server, folder) == 0);
    CHECK(since(start) < 30s);
}

TEST_CASE("agentsight_close returns in time while a request hangs") {
    const TemporaryFolder folder;
    sandbox::Server server;
    server.add_fault("hang");
    const auto start = std::chrono::steady_clock::now();
    CHECK(run(c_closes_in_time, server, folder) == 0);
    CHECK(since(start) < 10s);
}

TEST_CASE("the C codes and states are those of C++") {
    CHECK(AGENTSIGHT_ID_EMPTY == static_cast<int>(errc::id_empty));
    CHECK(AGENTSIGHT_SENTIMENT_INVALID == static_cast<int>(errc::sentiment_invalid));
    CHECK(AGENTSIGHT_COMMENT_HAS_NUL == static_cast<int>(errc::comment_has_nul));
    CHECK(AGENTSIGHT_METADATA_INTEGER_OUT_OF_RANGE ==
          static_cast<int>(errc::metadata_integer_out_of_range));
    CHECK(AGENTSIGHT_RECORD_ID_INVALID == static_cast<int>(errc::record_id_invalid));
    CHECK(AGENTSIGHT_INVALID_OPTION == static_cast<int>(errc::invalid_option));
    CHECK(AGENTSIGHT_ALREADY_OPEN == static_cast<int>(errc::already_open));
    CHECK(AGENTSIGHT_OUTBOX_FULL == static_cast<int>(errc::outbox_full));
    CHECK(AGENTSIGHT_OUT_OF_MEMORY == static_cast<int>(errc::out_of_memory));
    CHECK(AGENTSIGHT_READ_ONLY == static_cast<int>(errc::read_only));
    CHECK(AGENTSIGHT_NO_SUCH_FILE == static_cast<int>(errc::no_such_file));
    CHECK(AGENTSIGHT_NO_CREDENTIAL == static_cast<int>(errc::no_credential));
    CHECK(AGENTSIGHT_API_ERROR == static_cast<int>(errc::api));
    CHECK(AGENTSIGHT_STATE_WAITING == static_cast<int>(RecordState::waiting));
    CHECK(AGENTSIGHT_STATE_DELIVERED == static_cast<int>(RecordState::delivered));
    CHECK(AGENTSIGHT_STATE_DISCARDED == static_cast<int>(RecordState::discarded));
    CHECK(AGENTSIGHT_CREDENTIAL_JWT == static_cast<int>(Credential::Kind::jwt));
}

TEST_CASE("every option can be set as JSON, and each wrong one is named") {
    const TemporaryFolder folder;
    const std::string path = (folder.path() / "feedback.db").string();
    std::string message;
    CHECK(code_of_options(R"({"application":"kiosk","outbox_path":")" + path +
                              R"(","endpoint":"https://api.example.com","jwt":"a.b.c",)"
                              R"("allow_insecure":true,"proxy":"direct","dialect":"feedbacks",)"
                              R"("connections":8,"request_timeout_ms":1000,)"
                              R"("connect_timeout_ms":1000,"close_deadline_ms":0,)"
                              R"("busy_timeout_ms":100,"durability":"relaxed",)"
                              R"("max_records":10,"max_bytes":2000000,)"
                              R"("when_full":"drop_oldest","max_metadata_bytes":1000,)"
                              R"("keep_delivered":0,"stamp_collected_at":false,)"
                              R"("reconcile_after_ms":1000,"when_unknown":"leave_to_person",)"
                              R"("not_found_grace_ms":0,"backoff_base_ms":10,)"
                              R"("backoff_cap_ms":100,"allow_network_file_system":false,)"
                              R"("ca_file":"","client_certificate":"","client_key":""})",
                          message) == AGENTSIGHT_OK);
    const auto is_refused_naming = [&](const std::string& json, const std::string& name) {
        CAPTURE(json);
        CHECK(code_of_options(json, message) == AGENTSIGHT_INVALID_OPTION);
        CAPTURE(message);
        CHECK(message.find(name) != std::string::npos);
    };
    is_refused_naming(R"({"outbox":"x"})", "outbox");
    is_refused_naming(R"({"connections":"four"})", "connections");
    is_refused_naming(R"({"connections":4.5})", "connections");
    is_refused_naming(R"({"connections":4294967297})", "connections");
    is_refused_naming(R"({"request_timeout_ms":-1})", "request_timeout_ms");
    is_refused_naming(R"({"request_timeout_ms":18446744073709551615})", "request_timeout_ms");
    is_refused_naming(R"({"dialect":"latin"})", "conversation_feedbacks");
    is_refused_naming(R"({"durability":1})", "power_cut");
    is_refused_naming(R"({"endpoint":null})", "endpoint");
    is_refused_naming(R"({"allow_insecure":"yes"})", "allow_insecure");
    is_refused_naming(R"({"api_key":"a","jwt":"b"})", "jwt");
    is_refused_naming(R"({"connections":1,"connections":2})", "options");
    is_refused_naming(R"([1])", "options");
    is_refused_naming(R"(null)", "options");
    is_refused_naming("{", "options");
    is_refused_naming("{\"api_key\":\"a\\nsecret\"}", "credential");
    CHECK(message.find("secret") == std::string::npos);
}

TEST_CASE("a comment is whatever an optional text is made of, and a null pointer is none") {
    const TemporaryFolder folder;
    const sandbox::Server server;
    ConversationManager manager{options_for(folder, server.url())};
    const char* const null = nullptr;
    char buffer[] = "c";
    std::error_code ec;
    manager.submit_feedback("none", "positive", null);
    manager.submit_feedback("none", "positive", nullptr, {{"rating", 5}}, ec);
    CHECK_FALSE(ec);
    manager.submit_feedback("none", "positive", {}, ec);
    manager.submit_feedback("none", "positive", std::optional<std::string>{});
    manager.submit_feedback("c", "positive", buffer);
    manager.submit_feedback("c", "positive", std::string{"c"});
    manager.submit_feedback("c", "positive", std::string_view{buffer});
    manager.submit_feedback("c", "positive", std::optional<std::string>{"c"}, {{"rating", 5}});
    manager.async_submit_feedback("none", "positive", null, [](std::error_code, const Receipt&) {});
    manager.close(patience);
    Outbox outbox{options_for(folder, server.url()).outbox_path};
    int records = 0;
    outbox.for_each({}, [&](const Record& record) {
        CHECK(record.comment == (record.conversation_id == "c" ? "c" : ""));
        return ++records < 100;
    });
    CHECK(records == 9);
}

TEST_CASE("two managers on two outboxes in one process deliver each its own") {
    const TemporaryFolder folder;
    const sandbox::Server first;
    const sandbox::Server second;
    Options one = options_for(folder, first.url());
    Options two = options_for(folder, second.url());
    two.outbox_path = folder.path() / "second" / "feedback.db";
    ConversationManager left{one};
    ConversationManager right{two};
    for (int i = 0; i < 20; ++i) {
        left.submit_feedback("left", "positive", "left " + std::to_string(i));
        right.submit_feedback("right", "negative", "right " + std::to_string(i));
    }
    CHECK(left.flush(patience));
    CHECK(right.flush(patience));
    CHECK(first.row_count() == 20);
    CHECK(second.row_count() == 20);
    CHECK(first.rows().front().sentiment == "positive");
    CHECK(second.rows().front().sentiment == "negative");
}

TEST_CASE("two managers on one outbox in one process deliver each record once") {
    const TemporaryFolder folder;
    const sandbox::Server server;
    ConversationManager left{options_for(folder, server.url())};
    ConversationManager right{options_for(folder, server.url())};
    for (int i = 0; i < 20; ++i) {
        left.submit_feedback("left", "positive", "left " + std::to_string(i));
        right.submit_feedback("right", "negative", "right " + std::to_string(i));
    }
    CHECK(left.flush(patience));
    CHECK(right.flush(patience));
    CHECK(count_by_comment(server.rows()).size() == 40);
    CHECK(server.row_count() == 40);
}
