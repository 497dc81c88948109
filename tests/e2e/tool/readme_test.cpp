#include "tool.hpp"

using namespace agentsight::test;

TEST_CASE("the README's example compiles, runs and delivers what it says") {
    const TemporaryFolder folder;
    const sandbox::Server server;
    const Run run = run_program(README_EXAMPLE, {},
                                {{"HOME", folder.path().string()},
                                 {"AGENTSIGHT_OUTBOX", (folder / "feedback.db").string()},
                                 {"AGENTSIGHT_API_ENDPOINT", server.url()},
                                 {"AGENTSIGHT_API_KEY", write_key}});
    CAPTURE(run.err);
    CHECK(run.code == 0);
    REQUIRE(server.row_count() == 1);
    const sandbox::Row row = server.rows().front();
    CHECK(row.conversation_id == "support-session-456");
    CHECK(row.sentiment == "positive");
    CHECK(row.comment == "Excellent service!");
    CHECK(nlohmann::json::parse(row.metadata) ==
          nlohmann::json{{"rating", 5}, {"would_recommend", true}});
    CHECK(row.source == "customer");
    CHECK(server.requests().front().target == "/api/conversation-feedbacks/");
}
