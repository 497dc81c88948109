#include <doctest/doctest.h>

#include "support.hpp"

using namespace agentsight;
using namespace agentsight::test;
using outbox::Settlement;

TEST_CASE("a record goes from submit over claim to delivered") {
    Outboxed box;
    const std::string id = box.submit("c1", "Excellent");
    CHECK(box->status().waiting == 1);
    box.become_drainer();
    const auto claimed = box.claim(4);
    REQUIRE(claimed.size() == 1);
    CHECK(claimed[0].id.text() == id);
    CHECK(claimed[0].feedback.comment == "Excellent");
    CHECK(claimed[0].origin == origin);
    CHECK(claimed[0].attempt_began.utc_ms == box.clock.now().utc_ms);
    CHECK(box->status().claimed == 1);
    box.deliver(claimed[0].key, "77");
    const Status status = box->status();
    CHECK(status.delivered == 1);
    CHECK(status.claimed == 0);
    CHECK(status.waiting == 0);
    const Record record = box->get(id);
    CHECK(record.state == RecordState::delivered);
    CHECK(record.server_id == "77");
    REQUIRE(record.history.size() == 1);
    CHECK(record.history[0].outcome == "delivered");
    CHECK(box->verify().empty());
}
