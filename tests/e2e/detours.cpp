#include <atomic>
#include <mutex>

#include "e2e/support.hpp"
#include "support/self_signed.hpp"

/// What stands between the library and the API, or becomes of the API: routes that go away,
/// portals, interim answers, ids that are given twice.
using namespace agentsight;
using namespace agentsight::test;

namespace {

std::size_t posts_to(const sandbox::Server& server, const std::string& route) {
    const auto requests = server.requests();
    return static_cast<std::size_t>(std::ranges::count_if(requests, [&](const auto& request) {
        return request.method == "POST" && request.target == route;
    }));
}

std::vector<std::string> submit_some(ConversationManager& manager, int first, int count) {
    std::vector<std::string> ids;
    for (int i = first; i < first + count; ++i) {
        const std::string number = std::to_string(i);
        ids.push_back(
            manager.submit_feedback("conversation-" + number, "positive", "feedback " + number).id);
    }
    return ids;
}

void check_each_once(const sandbox::Server& server, std::size_t count) {
    const auto counts = count_by_comment(server.rows());
    CHECK(counts.size() == count);
    CHECK(server.row_count() == count);
}

}  // namespace

TEST_CASE("a route removed in the middle of a drain switches the dialect, durably, both ways") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    const Options options = options_for(folder, server.url());
    constexpr const char* old_route = "/api/conversation-feedbacks/";
    constexpr const char* new_route = "/api/feedbacks/";
    std::uint64_t fault = 0;
    {
        ConversationManager manager{options};
        fault = server.add_fault(
            {.kind = sandbox::FaultKind::route_removed, .skip = 50, .generation = "old"});
        submit_some(manager, 0, 200);
        CHECK(manager.flush(patience));
        CHECK(manager.stats().delivered == 200);
        CHECK(manager.stats().dead == 0);
        CHECK_FALSE(manager.stats().hold.has_value());
    }
    check_each_once(server, 200);
    // Those under way together may all have met the route's end; nothing after them.
    CHECK(posts_to(server, old_route) <= 50 + 4);
    CHECK(posts_to(server, new_route) == 150);

    server.clear_journal();
    {
        ConversationManager manager{options};
        submit_some(manager, 200, 20);
        CHECK(manager.flush(patience));
        CHECK(posts_to(server, old_route) == 0);  // remembered across the restart
        server.remove_fault(fault);
        server.add_fault(
            {.kind = sandbox::FaultKind::route_removed, .skip = 20, .generation = "new"});
        submit_some(manager, 220, 80);
        CHECK(manager.flush(patience));
        CHECK(manager.stats().delivered == 300);
    }
    check_each_once(server, 300);
    CHECK(posts_to(server, old_route) == 60);
    server.clear_journal();
    ConversationManager manager{options};
    submit_some(manager, 300, 1);
    CHECK(manager.flush(patience));
    CHECK(posts_to(server, new_route) == 0);
}

TEST_CASE("a captive portal's page is never a delivery, and costs no feedback anything") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    Options options = options_for(folder, server.url());
    options.reconcile_after = 500ms;
    std::string portal = "captive_portal";
    SUBCASE("200 in HTML") {}
    SUBCASE("a redirect") {
        portal = "captive_portal,status=302,location=http://login.example/";
    }
    SUBCASE("511") {
        portal = "status,status=511,body=html";
    }
    const std::uint64_t fault = server.add_fault(portal + ",method=*");
    ConversationManager manager{options};
    const std::vector<std::string> ids = submit_some(manager, 0, 10);
    REQUIRE(server.wait_for_requests(1, patience));
    CHECK_FALSE(manager.flush(1s));
    CHECK(manager.stats().delivered == 0);
    CHECK(manager.stats().dead == 0);
    server.remove_fault(fault);
    manager.network_changed();
    CHECK(settle_all(manager, ids));
    CHECK(manager.stats().delivered == 10);
    CHECK(manager.stats().possible_duplicates == 0);
    check_each_once(server, 10);
}

#ifdef WITH_TLS
TEST_CASE("a portal that answers TLS for another name gets nothing, and the link is down") {
    TemporaryFolder folder;
    sandbox::ServerOptions portal_options;
    portal_options.certificate = folder.path() / "portal.pem";
    portal_options.private_key = folder.path() / "portal.key";
    write_identity(portal_options.certificate, portal_options.private_key, "DNS:portal.example");
    portal_options.faults = {{.kind = sandbox::FaultKind::captive_portal, .method = "*"}};
    sandbox::ServerOptions real_options;
    real_options.certificate = folder.path() / "real.pem";
    real_options.private_key = folder.path() / "real.key";
    write_identity(real_options.certificate, real_options.private_key, "IP:127.0.0.1");

    auto portal = std::make_unique<sandbox::Server>(portal_options);
    Options options = options_for(folder, portal->url());
    options.ca_file = real_options.certificate;
    ConversationManager manager{options};
    submit_some(manager, 0, 10);
    CHECK_FALSE(manager.flush(1s));
    CHECK(portal->connection_count() > 0);
    CHECK(portal->requests().empty());
    CHECK(manager.stats().waiting == 10);
    REQUIRE(manager.stats().hold.has_value());
    CHECK(manager.stats().hold->reason == HoldReason::link_down);

    real_options.port = portal->port();
    portal.reset();
    sandbox::Server real{real_options};
    manager.network_changed();
    CHECK(manager.flush(patience));
    CHECK(manager.stats().delivered == 10);
    check_each_once(real, 10);
}
#endif

TEST_CASE("interim answers are no answers") {
    for (const int status : {100, 102, 103}) {
        CAPTURE(status);
        TemporaryFolder folder;
        sandbox::Server server{sandbox::ServerOptions{}};
        server.add_fault({.kind = sandbox::FaultKind::interim, .status = status, .count = 3});
        ConversationManager manager{options_for(folder, server.url())};
        submit_some(manager, 0, 10);
        CHECK(manager.flush(patience));
        CHECK(manager.stats().delivered == 10);
        check_each_once(server, 10);
    }
}

TEST_CASE("an id that another record owns is delivered, and raised as an alarm") {
    TemporaryFolder folder;
    sandbox::Server server{sandbox::ServerOptions{}};
    server.add_fault({.kind = sandbox::FaultKind::status,
                      .method = "POST",
                      .status = 201,
                      .body = R"({"id": 7, "sentiment": "positive"})"});
    Options options = options_for(folder, server.url());
    std::atomic<int> alarms = 0;
    options.observer = [&alarms](const Event& event) {
        alarms += std::holds_alternative<event::Alarm>(event) ? 1 : 0;
    };
    {
        ConversationManager manager{options};
        submit_some(manager, 0, 5);
        CHECK(manager.flush(patience));
        CHECK(manager.stats().delivered == 5);
        manager.close(patience);
    }
    CHECK(alarms == 4);
}
