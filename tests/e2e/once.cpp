#include <algorithm>
#include <future>
#include <random>

#include "e2e/support.hpp"
#include "support/child_process.hpp"

/// Over real sockets, a real process and a server that commits rows and loses replies: each
/// feedback becomes exactly one row.
using namespace agentsight;
using namespace agentsight::test;

namespace {

/// Instead of two minutes: the sandbox stores a row at once or never.
constexpr std::chrono::milliseconds reconcile_after = 500ms;

std::vector<std::string> comments_of(const std::vector<sandbox::Row>& rows,
                                     const std::string& conversation) {
    std::vector<std::string> comments;
    for (const sandbox::Row& row : rows) {
        if (row.conversation_id == conversation) {
            comments.push_back(row.comment);
        }
    }
    return comments;
}

/// Five in a hundred each: stored and the reply lost, dropped before, 504 after storing.
void make_lossy(sandbox::Server& server, std::uint64_t seed) {
    using sandbox::FaultKind;
    server.add_fault({.kind = FaultKind::drop_after, .probability = 0.05, .seed = seed});
    server.add_fault({.kind = FaultKind::drop_before, .probability = 0.05, .seed = seed + 1});
    server.add_fault({.kind = FaultKind::error_after_store,
                      .probability = 0.05,
                      .seed = seed + 2,
                      .status = 504});
    server.add_fault({.kind = FaultKind::latency, .ms = 10});
}

struct Given {
    std::map<std::string, std::vector<std::string>> comments;  ///< in order, by conversation
    std::vector<std::string> ids;
};

/// Every second one is equal to many others of its conversation.
Given submit_thousand(const Options& options) {
    constexpr int records = 1'000;
    constexpr int conversations = 100;
    Given given;
    Outbox outbox{options.outbox_path, OutboxMode::create};
    for (int i = 0; i < records; ++i) {
        const std::string conversation = "conversation-" + std::to_string(i % conversations);
        const std::string comment =
            i / conversations % 2 == 0 ? "good" : "feedback " + std::to_string(i);
        const Receipt receipt = outbox.submit(
            {.conversation = conversation, .sentiment = "positive", .comment = comment});
        given.ids.push_back(receipt.id);
        given.comments[conversation].push_back(comment);
    }
    return given;
}

}  // namespace

TEST_CASE("1,000 records, 15 % of the replies lost or wrong, the process killed every 2 s") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    Options options = options_for(folder, server.url());
    options.reconcile_after = reconcile_after;
    const unsigned seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random{seed};
    make_lossy(server, seed);
    const Given given = submit_thousand(options);

    int kills = 0;
    while (server.row_count() < 900 && kills < 30) {
        ChildProcess application =
            ChildProcess::execute(E2E_APPLICATION, {options.outbox_path.string(), server.url(), "1",
                                                    "0", std::to_string(reconcile_after.count())});
        // At a random row of the next hundred, and after two seconds at the latest.
        server.wait_for_rows(server.row_count() + 1 + random() % 100, 2s);
        application.kill();
        ++kills;
    }
    MESSAGE("killed " << kills << " times, " << server.row_count() << " rows by then");
    CHECK(kills >= 5);

    ConversationManager manager{options};
    CHECK(settle_all(manager, given.ids, 4 * patience));
    const Status status = manager.stats();
    CHECK(status.delivered == 1'000);
    CHECK(status.possible_duplicates == 0);
    check_ledger(status);
    const auto rows = server.rows();
    CHECK(rows.size() == 1'000);
    for (const auto& [conversation, comments] : given.comments) {
        CAPTURE(conversation);
        CHECK(comments_of(rows, conversation) == comments);  // each once, and in order
    }
    CHECK(server.errors().empty());
}

TEST_CASE("F5: twenty identical feedbacks with some replies lost end as exactly twenty rows") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    Options options = options_for(folder, server.url());
    options.reconcile_after = reconcile_after;
    server.add_fault({.kind = sandbox::FaultKind::drop_after, .every = 4});
    server.add_fault({.kind = sandbox::FaultKind::drop_before, .skip = 1, .every = 5});
    ConversationManager manager{options};
    std::vector<std::string> ids;
    for (int i = 0; i < 20; ++i) {
        ids.push_back(manager.submit_feedback("one", "positive", "good").id);
    }
    CHECK(settle_all(manager, ids));
    CHECK(manager.stats().delivered == 20);
    CHECK(server.row_count() == 20);
}

TEST_CASE("a reply lost in a long conversation of an older server is found, not sent again") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    Options options = options_for(folder, server.url());
    options.reconcile_after = reconcile_after;
    // Without the newer route there is no list: the conversation is read, whole.
    server.add_fault({.kind = sandbox::FaultKind::route_removed, .generation = "new"});
    server.add_fault({.kind = sandbox::FaultKind::drop_after, .comment = "the last", .times = 1});
    ConversationManager manager{options};
    std::vector<std::string> ids;
    for (int i = 0; i < 20; ++i) {
        ids.push_back(manager.submit_feedback("one", "positive", std::string(5'000, 'x')).id);
    }
    ids.push_back(manager.submit_feedback("one", "positive", "the last").id);
    CHECK(settle_all(manager, ids));
    CHECK(manager.stats().delivered == 21);
    CHECK(manager.stats().possible_duplicates == 0);
    CHECK(server.row_count() == 21);
}

TEST_CASE("where reading is refused, when_unknown decides: resend and count, or a person") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    Options options = options_for(folder, server.url());
    options.reconcile_after = reconcile_after;
    server.add_fault({.kind = sandbox::FaultKind::drop_after, .times = 1});
    server.add_fault({.kind = sandbox::FaultKind::status,
                      .method = "GET",
                      .status = 403,
                      .body = R"({"detail": "This key may not read."})"});
    SUBCASE("resend") {
        ConversationManager manager{options};
        const Receipt receipt = manager.submit_feedback("one", "positive", "good");
        CHECK(settle_all(manager, {receipt.id}));
        CHECK(manager.stats().possible_duplicates == 1);
        CHECK(server.row_count() == 2);
    }
    SUBCASE("leave to a person, who resolves it") {
        options.when_unknown = WhenUnknown::leave_to_person;
        std::promise<void> told;
        options.observer = [&told](const Event& event) {
            if (std::holds_alternative<event::Alarm>(event)) {
                told.set_value();
            }
        };
        ConversationManager manager{options};
        const Receipt receipt = manager.submit_feedback("one", "positive", "good");
        REQUIRE(told.get_future().wait_for(patience) == std::future_status::ready);
        CHECK(manager.stats().unknown == 1);
        CHECK(manager.stats().possible_duplicates == 0);
        CHECK(server.row_count() == 1);
        Outbox outbox{options.outbox_path, OutboxMode::read_write};
        outbox.resolve_delivered(receipt.id);
        CHECK(manager.flush(patience));
        CHECK(manager.stats().delivered == 1);
        CHECK(server.row_count() == 1);
    }
}
