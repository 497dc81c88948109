#include <algorithm>

#include "engine_fixture.hpp"

namespace agentsight::delivery {
namespace {

using core::Failure;

bool is_get(const Task& task) {
    return task.kind == Task::Kind::send && task.request.method == core::HttpRequest::Method::get;
}
bool is_post(const Task& task) {
    return task.kind == Task::Kind::send && task.request.method == core::HttpRequest::Method::post;
}

/// Sleeps until a task is out; false when the engine goes to rest.
bool until_task(Drain& drain) {
    for (int i = 0; i < 100; ++i) {
        if (!drain.tasks.empty()) {
            return true;
        }
        if (!drain.wake_at) {
            return false;
        }
        drain.sleep();
    }
    return false;
}

TEST_CASE("H1, F1: a lost reply is looked for after two seconds and found") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    const std::string row = drain.row(7);
    drain.answer(Drain::failed(Failure::cut, true));
    CHECK(drain.state(id) == RecordState::unknown);
    const std::int64_t lost = drain.clock.now().boot_ms;
    REQUIRE(until_task(drain));
    CHECK(drain.clock.now().boot_ms - lost >= 2'000);
    CHECK(drain.clock.now().boot_ms - lost < 2'500);
    REQUIRE(is_get(drain.tasks[0]));
    CHECK(drain.tasks[0].request.target.starts_with("/api/feedbacks/?conversation_id=c&"));
    drain.answer(drain.listed({row}));
    CHECK(drain.state(id) == RecordState::delivered);
    CHECK(drain.store().get(id).server_id == "7");
    CHECK_FALSE(drain.wake_at.has_value());
}

TEST_CASE(
    "what is not there is sent again only after two looks, the first at W, the second at 1.5 W") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    drain.answer(Drain::failed(Failure::timeout, true));
    const std::int64_t ended = drain.clock.now().boot_ms;
    std::vector<std::int64_t> looks;
    while (until_task(drain) && is_get(drain.tasks[0])) {
        looks.push_back(drain.clock.now().boot_ms - ended);
        drain.answer(drain.listed({}));
    }
    REQUIRE(looks.size() == 3);
    CHECK(looks[0] >= 2'000);
    CHECK(looks[1] >= 120'000);
    CHECK(looks[2] - looks[1] >= 60'000);
    CHECK(looks[2] < 190'000);
    REQUIRE(is_post(drain.tasks[0]));
    drain.answer(drain.created());
    CHECK(drain.state(id) == RecordState::delivered);
    CHECK(drain.store().status().possible_duplicates == 0);
}

TEST_CASE("what the server fails at alone is sent ever more rarely, and no 404 counts for it") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    const auto sent_again_after = [&] {
        const std::int64_t began = drain.clock.now().boot_ms;
        while (until_task(drain) && !is_post(drain.tasks[0])) {
            is_get(drain.tasks[0]) ? drain.answer(drain.listed({})) : drain.connected();
        }
        REQUIRE_FALSE(drain.tasks.empty());
        return drain.clock.now().boot_ms - began;
    };
    for (int i = 0; i < 40; ++i) {
        drain.answer(Drain::reply(404, R"({"detail": "Not found."})"));
        sent_again_after();
    }
    constexpr std::int64_t looks_ms = 200'000;
    constexpr std::int64_t cap_ms = 300'000;
    for (int i = 0; i < 15; ++i) {
        CAPTURE(i);
        drain.answer(Drain::html(500));
        CHECK(sent_again_after() <= looks_ms + 3 * cap_ms);  // the hold's waits are in it
    }
    for (int i = 0; i < 8; ++i) {
        drain.answer(Drain::html(500));
        sent_again_after();
    }
    drain.answer(Drain::html(500));
    CHECK(sent_again_after() >= 1'800'000);
    CHECK(drain.store().get(id).attempts == 64);
}

TEST_CASE("a record whose process died between claim and settle is reconciled, not resent") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    const std::string row = drain.row(7);
    drain.restart();
    CHECK(drain.state(id) == RecordState::unknown);
    drain.run();
    REQUIRE(drain.tasks.size() == 1);
    REQUIRE(is_get(drain.tasks[0]));
    drain.answer(drain.listed({row}));
    CHECK(drain.state(id) == RecordState::delivered);
}

TEST_CASE("a look that ends after a person had the record sent again does not send it once more") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    const std::string row = drain.row(7);
    drain.answer(Drain::failed(Failure::timeout, true));
    for (int looks = 0; looks < 2; ++looks) {
        REQUIRE(until_task(drain));
        REQUIRE(is_get(drain.tasks[0]));
        drain.answer(drain.listed({}));
    }
    REQUIRE(until_task(drain));  // the last look goes out ...
    REQUIRE(is_get(drain.tasks[0]));
    drain.store().resolve_resend(id);
    drain.engine().rung();
    drain.steps();
    REQUIRE(drain.tasks.size() == 2);  // ... and then the record, by a person's word
    REQUIRE(is_post(drain.tasks[1]));
    SUBCASE("and shows nothing") {
        drain.answer(drain.listed({}));
        drain.pass(20);
        CHECK(drain.state(id) == RecordState::claimed);
        REQUIRE(drain.tasks.size() == 1);
        drain.answer(drain.created());
        CHECK(drain.state(id) == RecordState::delivered);
        CHECK(drain.tasks.empty());
    }
    SUBCASE("and shows it: neither of the two rows is taken for another record's") {
        drain.answer(drain.listed({row}));
        drain.pass(20);
        CHECK(drain.state(id) == RecordState::delivered);
        const std::string second = drain.row(drain.last_server_id + 1);
        drain.answer(drain.created());
        const std::string equal = drain.submit();
        drain.run();
        REQUIRE(is_post(drain.tasks.at(0)));
        drain.answer(Drain::failed(Failure::cut, true));
        REQUIRE(until_task(drain));
        REQUIRE(is_get(drain.tasks[0]));
        drain.answer(drain.listed({row, second}));
        CHECK(drain.state(equal) == RecordState::unknown);
    }
}

TEST_CASE("what was in flight when the file was salvaged is not sent again before its time") {
    Drain drain;
    drain.clock.advance(3'600'000);
    const std::string id = drain.submit();
    drain.run();
    REQUIRE(is_post(drain.tasks.at(0)));
    const Task lost = drain.take();  // nobody hears of it again
    const std::int64_t sent = drain.clock.now().boot_ms;
    drain.store().salvage(true);
    drain.engine().rung();
    drain.run();
    CHECK(drain.state(id) == RecordState::unknown);
    REQUIRE(until_task(drain));
    for (int looks = 0; looks < 10 && is_get(drain.tasks.at(0)); ++looks) {
        drain.answer(drain.listed({}));
        REQUIRE(until_task(drain));
    }
    REQUIRE(is_post(drain.tasks.at(0)));
    CHECK(drain.clock.now().boot_ms - sent >= 180'000);
    CHECK(drain.clock.now().boot_ms - sent < 200'000);
}

TEST_CASE("later records of the conversation wait for the unknown one, others do not") {
    Drain drain;
    drain.submit("=c");
    const std::string later = drain.submit("=c");
    const std::string other = drain.submit("=d");
    drain.run();
    drain.answer(Drain::failed(Failure::cut, true));
    for (int i = 0; i < 3 && drain.state(other) != RecordState::delivered; ++i) {
        drain.run();
        if (!drain.tasks.empty()) {
            drain.answer(drain.created());
        }
    }
    CHECK(drain.state(other) == RecordState::delivered);
    CHECK(drain.state(later) == RecordState::waiting);
}

TEST_CASE("a row that another record owns is not found again") {
    Drain drain;
    const std::string first = drain.submit();
    const std::string second = drain.submit();
    drain.run();
    const std::string row = drain.row(101);
    drain.answer(drain.created());  // 101
    REQUIRE(until_task(drain));
    drain.answer(Drain::failed(Failure::cut, true));
    REQUIRE(until_task(drain));
    REQUIRE(is_get(drain.tasks[0]));
    drain.answer(drain.listed({row}));
    CHECK(drain.state(first) == RecordState::delivered);
    CHECK(drain.state(second) == RecordState::unknown);
}

TEST_CASE("a list that does not show a row known to be there proves nothing") {
    Drain drain;
    drain.submit();
    const std::string id = drain.submit();
    drain.run();
    const std::string known = drain.row(101);
    drain.answer(drain.created());  // 101, the control
    REQUIRE(until_task(drain));
    drain.answer(Drain::failed(Failure::cut, true));
    for (int look = 0; look < 12; ++look) {
        REQUIRE(until_task(drain));
        REQUIRE(is_get(drain.tasks[0]));
        drain.answer(drain.listed({}));
    }
    CHECK(drain.state(id) == RecordState::unknown);
    int looks = 0;
    while (until_task(drain) && is_get(drain.tasks[0])) {
        drain.answer(drain.listed({known}));
        ++looks;
    }
    CHECK(looks == 2);
    CHECK(is_post(drain.tasks[0]));
}

TEST_CASE("a row may be that of an equal feedback under way by another name of the conversation") {
    for (const char* other_name : {"= c\t", "#7"}) {
        CAPTURE(other_name);
        Drain drain;
        const std::string lost = drain.submit("=c");
        const std::string other = drain.submit(other_name);
        drain.run();
        REQUIRE(drain.tasks.size() == 2);
        drain.answer(Drain::failed(Failure::cut, true));
        drain.clock.advance(2'500);
        drain.steps();
        REQUIRE(drain.tasks.size() == 2);
        drain.engine().finished(drain.take(1).id, {});  // the connection
        drain.steps();
        REQUIRE(drain.tasks.size() == 2);
        REQUIRE(is_get(drain.tasks[1]));
        std::swap(drain.tasks[0], drain.tasks[1]);
        drain.answer(drain.listed({drain.row(101)}));
        drain.answer(drain.created());  // 101 is its row
        drain.pass(100);
        CHECK(drain.state(other) == RecordState::delivered);
        CHECK(drain.state(lost) == RecordState::unknown);
    }
}

TEST_CASE("where the list is gone the conversation itself is read") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    drain.answer(Drain::failed(Failure::cut, true));
    REQUIRE(until_task(drain));
    drain.answer(Drain::html(404));
    REQUIRE(until_task(drain));
    CHECK(drain.tasks[0].request.target.starts_with("/api/conversations/?conversation_id=c&"));
    drain.answer(Drain::reply(
        200, R"({"count": 1, "next": null, "results": [{"id": 7, "conversation_id": "c"}]})"));
    REQUIRE(until_task(drain));
    CHECK(drain.tasks[0].request.target == "/api/conversations/7/");
    drain.answer(Drain::reply(200, R"({"id": 7, "feedbacks": [)" + drain.row(3) + "]}"));
    CHECK(drain.state(id) == RecordState::delivered);
    // Remembered for the next one.
    drain.submit();
    drain.run();
    drain.answer(Drain::failed(Failure::cut, true));
    REQUIRE(until_task(drain));
    CHECK(drain.tasks[0].request.target.starts_with("/api/conversations/?"));
}

TEST_CASE("F6: reading refused: sent again and counted, or left to a person") {
    for (const WhenUnknown when : {WhenUnknown::resend, WhenUnknown::leave_to_person}) {
        Policy policy = Drain::usual();
        policy.when_unknown = when;
        Drain drain{policy};
        const std::string id = drain.submit();
        drain.run();
        drain.answer(Drain::failed(Failure::cut, true));
        REQUIRE(until_task(drain));
        drain.answer(Drain::reply(403, R"({"detail": "This key may not read."})"));
        if (when == WhenUnknown::resend) {
            REQUIRE(until_task(drain));
            CHECK(is_post(drain.tasks[0]));
            CHECK(drain.store().status().possible_duplicates == 1);
        } else {
            CHECK(drain.state(id) == RecordState::unknown);
            CHECK(drain.store().get(id).left_to_person);
            CHECK_FALSE(drain.wake_at.has_value());
            CHECK(drain.engine().settled());
        }
    }
}

TEST_CASE("a 401 to a reading holds for the credential: a rotated key doubles nothing") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    drain.answer(Drain::failed(Failure::cut, true));
    REQUIRE(until_task(drain));
    drain.answer(Drain::reply(401, R"({"detail": "Invalid API key."})"));
    CHECK(drain.hold() == HoldReason::credential_refused);
    CHECK(drain.state(id) == RecordState::unknown);
    CHECK(drain.store().status().possible_duplicates == 0);
    drain.engine().set_credential(Credential::Kind::api_key);
    drain.run();
    REQUIRE(is_get(drain.tasks[0]));
}

TEST_CASE("readings that failed before do not make a refused key one that may not read") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    drain.answer(Drain::failed(Failure::cut, true));
    int failed = 0;
    for (int round = 0; round < 200 && failed < 6; ++round) {
        drain.submit("=other" + std::to_string(round));
        if (!until_task(drain)) {
            drain.run();
        }
        while (!drain.tasks.empty()) {
            const bool reads = is_get(drain.tasks[0]);
            failed += reads ? 1 : 0;
            drain.answer(reads ? Drain::html(500) : drain.created());
        }
    }
    REQUIRE(failed >= 6);
    REQUIRE(drain.state(id) == RecordState::unknown);
    while (drain.tasks.empty() || !is_get(drain.tasks[0])) {
        REQUIRE(until_task(drain));
    }
    drain.answer(Drain::reply(401, R"({"detail": "Invalid API key."})"));
    CHECK(drain.hold() == HoldReason::credential_refused);
    CHECK(drain.state(id) == RecordState::unknown);
    CHECK(drain.store().status().possible_duplicates == 0);
}

TEST_CASE("a key that may write and not read is believed once deliveries go on") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    drain.answer(Drain::failed(Failure::cut, true));
    bool counted = false;
    for (int round = 0; round < 200 && !counted; ++round) {
        drain.submit("=other" + std::to_string(round));
        if (!until_task(drain)) {
            drain.run();
        }
        while (!drain.tasks.empty()) {
            drain.answer(is_get(drain.tasks[0])
                             ? Drain::reply(401, R"({"detail": "Invalid API key."})")
                             : drain.created());
        }
        counted = drain.store().status().possible_duplicates == 1;
    }
    CHECK(counted);
}

TEST_CASE("a record that went to another endpoint is left to a person") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    drain.policy().origin = "https://elsewhere.example";
    drain.restart();
    drain.run();
    REQUIRE(until_task(drain));
    drain.answer(drain.listed({}));
    CHECK(drain.store().get(id).left_to_person);
    CHECK(drain.engine().settled());
}

TEST_CASE("after a reboot the window begins at the last Date, and without one a person decides") {
    for (const bool date_known : {true, false}) {
        Drain drain;
        if (date_known) {
            drain.submit("=z");
            drain.run();
            drain.answer(drain.created());
        }
        const std::string id = drain.submit();
        drain.run();
        const std::string row = drain.row(7);
        drain.die();
        drain.clock.reboot(60'000);
        drain.open();
        drain.run();
        REQUIRE(until_task(drain));
        REQUIRE(is_get(drain.tasks[0]));
        drain.answer(drain.listed({row}));
        if (date_known) {
            CHECK(drain.state(id) == RecordState::delivered);
        } else {
            CHECK(drain.store().get(id).left_to_person);
        }
    }
}

TEST_CASE("trouble while reading costs nothing but time") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    drain.answer(Drain::failed(Failure::cut, true));
    for (int i = 0; i < 30; ++i) {
        REQUIRE(until_task(drain));
        if (drain.tasks[0].kind == Task::Kind::connect) {
            drain.connected();
            continue;
        }
        REQUIRE(is_get(drain.tasks[0]));
        drain.answer(i % 3 == 0   ? Drain::failed(Failure::timeout, true)
                     : i % 3 == 1 ? Drain::html(502)
                                  : Drain::html(200));
    }
    CHECK(drain.state(id) == RecordState::unknown);
    CHECK(drain.store().get(id).attempts == 1);
}

TEST_CASE("F5: twenty identical feedbacks with some replies lost end as exactly twenty rows") {
    test::TestRandom chance{test::test_seed()};
    CAPTURE(chance.seed());
    Policy policy = Drain::usual();
    policy.connections = 4;
    Drain drain{policy};
    for (int i = 0; i < 20; ++i) {
        drain.submit();
    }
    std::vector<std::string> rows;
    int id = 500;
    for (int round = 0; round < 2'000 && drain.store().status().delivered < 20; ++round) {
        if (drain.tasks.empty() && !until_task(drain)) {
            drain.run();
        }
        REQUIRE_FALSE(drain.tasks.empty());
        if (drain.tasks[0].kind == Task::Kind::connect) {
            drain.connected();
        } else if (is_get(drain.tasks[0])) {
            drain.answer(drain.listed(rows));
        } else {
            const auto fate = chance.below(4);
            if (fate != 1) {
                rows.insert(rows.begin(), drain.row(++id));  // newest first
            }
            drain.answer(fate <= 1 ? Drain::failed(Failure::cut, true)
                                   : Drain::reply(201, R"({"id": )" + std::to_string(id) + "}"));
        }
    }
    CHECK(drain.store().status().delivered == 20);
    CHECK(rows.size() == 20);
}

}  // namespace
}  // namespace agentsight::delivery
