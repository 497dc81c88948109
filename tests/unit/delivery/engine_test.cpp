#include <algorithm>

#include "engine_fixture.hpp"
#include "os/lock_file.hpp"

namespace agentsight::delivery {
namespace {

using core::Failure;

bool is_connect(const Task& task) {
    return task.kind == Task::Kind::connect;
}
bool is_post(const Task& task) {
    return task.kind == Task::Kind::send && task.request.method == core::HttpRequest::Method::post;
}
bool is_get(const Task& task) {
    return task.kind == Task::Kind::send && task.request.method == core::HttpRequest::Method::get;
}

TEST_CASE("an empty outbox starts nothing and arms no timer") {
    Drain drain;
    drain.step();
    CHECK(drain.tasks.empty());
    CHECK_FALSE(drain.wake_at.has_value());
    CHECK(drain.engine().settled());
    drain.engine().rung();
    drain.step();
    CHECK(drain.tasks.empty());
    CHECK_FALSE(drain.wake_at.has_value());
}

TEST_CASE("a way is proven before anything is claimed") {
    Drain drain;
    const std::string id = drain.submit();
    drain.step();
    REQUIRE(drain.tasks.size() == 1);
    CHECK(is_connect(drain.tasks[0]));
    CHECK(drain.state(id) == RecordState::waiting);
    drain.connected();
    REQUIRE(drain.tasks.size() == 1);
    CHECK(is_post(drain.tasks[0]));
    CHECK(drain.tasks[0].request.idempotency_key == id);
    CHECK(drain.state(id) == RecordState::claimed);
    drain.answer(drain.created());
    CHECK(drain.state(id) == RecordState::delivered);
    CHECK(drain.engine().settled());
    CHECK_FALSE(drain.wake_at.has_value());
}

TEST_CASE("a way proven in the last four seconds is proven") {
    Drain drain;
    drain.submit();
    drain.run();
    drain.answer(drain.created());
    drain.clock.advance(3'900);
    drain.submit();
    drain.step();
    REQUIRE(drain.tasks.size() == 1);
    CHECK(is_post(drain.tasks[0]));
    drain.answer(drain.created());
    drain.clock.advance(4'100);
    drain.submit();
    drain.step();
    REQUIRE(drain.tasks.size() == 1);
    CHECK(is_connect(drain.tasks[0]));
}

TEST_CASE(
    "after a link came back by itself the backlog is splayed and paced; fresh feedback is not") {
    Drain drain;
    std::vector<std::string> backlog;
    for (int i = 0; i < 30; ++i) {
        backlog.push_back(drain.submit("=old" + std::to_string(i)));
    }
    drain.step();
    drain.answer(Drain::failed(Failure::connect, false));
    drain.clock.advance(600'000);
    drain.step();
    drain.connected();
    CHECK_FALSE(drain.hold().has_value());
    CHECK(drain.tasks.empty());
    REQUIRE(drain.wake_at.has_value());
    const core::OutboxMs splayed = *drain.wake_at;
    CHECK(splayed - drain.store().now() <= 60'000);
    const std::string fresh = drain.submit("=new");
    const std::string behind = drain.submit("=old3");  // its conversation has a backlog
    drain.run();
    REQUIRE(drain.tasks.size() == 1);
    CHECK(drain.tasks[0].request.idempotency_key == fresh);
    drain.answer(drain.created());
    CHECK(drain.state(fresh) == RecordState::delivered);
    CHECK(drain.state(behind) == RecordState::waiting);
    CHECK(drain.tasks.empty());
    CHECK(*drain.wake_at == splayed);
    drain.sleep();
    const std::int64_t began = drain.clock.now().boot_ms;
    for (int i = 0; i < 200 && drain.store().status().delivered < 32; ++i) {
        drain.tasks.empty() ? drain.sleep() : drain.answer(drain.created());
    }
    CHECK(drain.store().status().delivered == 32);
    const std::int64_t took = drain.clock.now().boot_ms - began;
    CHECK(took >= 2'700);  // two connections, five a second each
    CHECK(took < 6'000);
}

TEST_CASE("at full speed nothing is paced") {
    Drain drain;
    for (int i = 0; i < 30; ++i) {
        drain.submit("=old" + std::to_string(i));
    }
    drain.step();
    drain.answer(Drain::failed(Failure::connect, false));
    drain.clock.advance(600'000);
    drain.engine().full_speed(true);
    drain.step();
    drain.connected();
    const std::int64_t began = drain.clock.now().boot_ms;
    for (int i = 0; i < 200 && drain.store().status().delivered < 30; ++i) {
        drain.tasks.empty() ? drain.sleep() : drain.answer(drain.created());
    }
    CHECK(drain.clock.now().boot_ms - began < 1'000);
}

TEST_CASE(
    "somebody who waits in another process has the drainer probe at once, and nothing paced") {
    Drain drain;
    for (int i = 0; i < 30; ++i) {
        drain.submit("=old" + std::to_string(i));
    }
    drain.step();
    drain.answer(Drain::failed(Failure::connect, false));
    drain.clock.advance(600'000);
    drain.step();
    drain.answer(Drain::failed(Failure::connect, false));
    drain.step();
    REQUIRE(drain.hold() == HoldReason::link_down);
    REQUIRE(drain.tasks.empty());
    drain.engine().hurry();
    drain.step();
    REQUIRE(drain.tasks.size() == 1);
    drain.connected();
    const std::int64_t began = drain.clock.now().boot_ms;
    for (int i = 0; i < 200 && drain.store().status().delivered < 30; ++i) {
        drain.tasks.empty() ? drain.sleep() : drain.answer(drain.created());
    }
    CHECK(drain.store().status().delivered == 30);
    CHECK(drain.clock.now().boot_ms - began < 1'000);
}

TEST_CASE("the hurry of another process ends by itself: later a backlog is paced again") {
    Drain drain;
    drain.submit("=old");
    drain.step();
    drain.engine().hurry();
    drain.step();
    drain.answer(Drain::failed(Failure::connect, false));
    drain.clock.advance(600'000);
    drain.step();
    drain.connected();
    CHECK_FALSE(drain.hold().has_value());
    CHECK(drain.tasks.empty());
    REQUIRE(drain.wake_at.has_value());
    CHECK(*drain.wake_at > drain.store().now());
}

TEST_CASE("the hurry of another process overcomes a record's backoff once, not again and again") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    drain.answer(Drain::reply(404, R"({"detail": "Not found."})"));
    REQUIRE(drain.state(id) == RecordState::waiting);
    REQUIRE(drain.tasks.empty());
    drain.engine().hurry();
    drain.run();
    REQUIRE(drain.tasks.size() == 1);
    drain.answer(Drain::reply(404, R"({"detail": "Not found."})"));
    drain.run();
    CHECK(drain.tasks.empty());
    CHECK(*drain.wake_at > drain.store().now());
}

TEST_CASE("F12, T5: while the link is down no record is touched, for sixty days") {
    Drain drain;
    const std::string id = drain.submit();
    drain.step();
    const std::int64_t end = drain.clock.now().boot_ms + 60LL * 86'400'000;
    int probes = 0;
    while (drain.clock.now().boot_ms < end) {
        REQUIRE(drain.tasks.size() == 1);
        REQUIRE(is_connect(drain.tasks[0]));
        drain.answer(Drain::failed(Failure::connect, false));
        CHECK(drain.hold() == HoldReason::link_down);
        drain.doze();
        if (++probes > 200) {
            drain.clock.advance(86'400'000);
        }
        drain.step();
    }
    const Record record = drain.store().get(id);
    CHECK(record.state == RecordState::waiting);
    CHECK(record.attempts == 0);
    CHECK(record.history.empty());
    drain.connected();
    drain.clock.advance(60'000);  // the splay
    drain.run();
    drain.answer(drain.created());
    CHECK(drain.state(id) == RecordState::delivered);
}

TEST_CASE("nothing written costs the record nothing") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    drain.answer(Drain::failed(Failure::cut, false));
    CHECK(drain.state(id) == RecordState::waiting);
    CHECK(drain.store().get(id).attempts == 0);
    CHECK(drain.hold() == HoldReason::link_down);
}

TEST_CASE("a hold shut before the claim was sent gives the claim back") {
    Policy policy = Drain::usual();
    policy.connections = 1;
    Drain drain{policy};
    const std::string first = drain.submit("=a");
    const std::string second = drain.submit("=b");
    drain.run();
    REQUIRE(drain.tasks.size() == 1);
    CHECK(drain.state(second) == RecordState::claimed);  // ahead
    drain.answer(Drain::reply(401, R"({"detail": "Invalid API key."})"));
    CHECK(drain.state(first) == RecordState::waiting);
    CHECK(drain.state(second) == RecordState::waiting);
    CHECK(drain.hold() == HoldReason::credential_refused);
    CHECK(drain.engine().needs_person());
}

TEST_CASE(
    "H12: a refused credential is probed rarely with another record, and set_credential ends it") {
    Drain drain;
    const std::string first = drain.submit("=a");
    const std::string second = drain.submit("=b");
    drain.policy().connections = 1;
    drain.restart();
    drain.run();
    CHECK(drain.tasks[0].request.idempotency_key == first);
    drain.answer(Drain::reply(401, R"({"detail": "Invalid API key."})"));
    const auto until = drain.wake_at.value();
    CHECK(until - drain.store().now() >= 30'000);
    drain.sleep();
    REQUIRE(drain.tasks.size() == 1);
    CHECK(drain.tasks[0].request.idempotency_key == second);
    drain.answer(Drain::reply(401, R"({"detail": "Invalid API key."})"));
    CHECK(drain.tasks.empty());
    drain.engine().set_credential(Credential::Kind::api_key);
    drain.run();
    drain.answer(drain.created());
    drain.answer(drain.created());
    CHECK(drain.state(first) == RecordState::delivered);
    CHECK(drain.state(second) == RecordState::delivered);
    CHECK_FALSE(drain.hold().has_value());
}

TEST_CASE("an answer to a credential that was replaced meanwhile holds nothing") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    drain.engine().set_credential(Credential::Kind::api_key);
    drain.answer(Drain::reply(401, R"({"detail": "Invalid API key."})"));
    CHECK_FALSE(drain.hold().has_value());
    REQUIRE(drain.tasks.size() == 1);
    CHECK(drain.tasks[0].request.idempotency_key == id);
}

TEST_CASE("what is claimed is not sent under a credential of another kind") {
    Policy policy = Drain::usual();
    policy.connections = 4;
    Drain drain{policy};
    std::vector<std::string> ids;
    for (int i = 0; i < 12; ++i) {
        ids.push_back(drain.submit("=c" + std::to_string(i), "good",
                                   i == 11 ? Credential::Kind::none : Credential::Kind::api_key));
    }
    drain.run();
    REQUIRE(drain.tasks.size() == 4);
    drain.engine().set_credential(Credential::Kind::jwt);
    for (const Task& task : drain.tasks) {
        CHECK(task.request.permit.is_withdrawn());
    }
    for (int i = 0; i < 3; ++i) {
        drain.answer(drain.created());
    }
    // The transport did not send it: it was still connecting.
    drain.answer(Drain::failed(core::Failure::aborted, false));
    REQUIRE(drain.tasks.size() == 1);  // that of no kind
    CHECK(drain.tasks[0].request.idempotency_key == ids[11]);
    drain.answer(drain.created());
    const Status status = drain.store().status();
    CHECK(status.delivered == 4);
    CHECK(status.waiting_for_other_credential == 8);
    CHECK(status.claimed == 0);
    CHECK_FALSE(status.hold.has_value());
    drain.engine().set_credential(Credential::Kind::api_key);
    drain.run();
    while (!drain.tasks.empty()) {
        drain.answer(drain.created());
    }
    CHECK(drain.store().status().delivered == 12);
}

TEST_CASE("what an answer repeats of a feedback is in no event, no hold and no history") {
    const std::string comment = "a comment that is nobody's business";
    const std::string row = R"({"id": 1, "sentiment": "negative", "comment": ")" + comment + "\"}";
    const std::string refusal = R"({"comment": ["not wanted: )" + comment + "\"]}";
    for (const auto& [status, body] : {std::pair{201, row},
                                       {207, row},
                                       {200, row},
                                       {302, row},
                                       {400, refusal},
                                       {422, refusal},
                                       {401, refusal},
                                       {404, refusal},
                                       {429, refusal},
                                       {500, refusal}}) {
        CAPTURE(status);
        Drain drain;
        const std::vector<std::string> ids = drain.submit_each(8, comment);
        drain.run();
        for (int i = 0; i < 8 && !drain.tasks.empty(); ++i) {
            drain.answer(Drain::reply(status, body));
        }
        std::string said;
        for (const Event& event : drain.events) {
            if (const auto* failed = std::get_if<event::AttemptFailed>(&event)) {
                said += failed->detail;
            } else if (const auto* dead = std::get_if<event::DeadLetter>(&event)) {
                said += dead->detail;
            } else if (const auto* held = std::get_if<event::Held>(&event)) {
                said += held->detail;
            }
        }
        const Status now = drain.store().status();
        said += now.hold ? now.hold->detail : "";
        for (const std::string& id : ids) {
            const Record record = drain.store().get(id);
            said += record.last_error;
            for (const Attempt& attempt : record.history) {
                said += attempt.detail;
            }
        }
        CHECK_FALSE(said.empty());
        CHECK(said.find("nobody") == std::string::npos);
    }
}

TEST_CASE("a probe that draws an error ends a throttle: what is held is held for that") {
    Drain drain;
    drain.submit("=a");
    drain.submit("=b");
    drain.run();
    core::Evidence throttled = Drain::throttled("5");
    drain.answer(throttled);
    drain.answer(throttled);
    REQUIRE(drain.hold() == HoldReason::throttled);
    for (int i = 0; i < 100 && drain.tasks.empty(); ++i) {
        REQUIRE(drain.wake_at.has_value());
        drain.clock.advance(std::max<std::int64_t>(*drain.wake_at - drain.store().now(), 1));
        drain.run();
    }
    REQUIRE(drain.tasks.size() == 1);
    drain.answer(Drain::html(500));
    CHECK(drain.hold() == HoldReason::outage);
    CHECK(std::ranges::any_of(drain.events, [](const Event& event) {
        const auto* released = std::get_if<event::Released>(&event);
        return released != nullptr && released->reason == HoldReason::throttled;
    }));
}

TEST_CASE("what we stopped ourselves holds nothing") {
    Policy policy = Drain::usual();
    policy.connections = 8;
    Drain drain{policy};
    drain.submit_each(8);
    drain.run();
    for (int i = 0; i < 8; ++i) {
        drain.answer(Drain::failed(core::Failure::aborted, true));
    }
    CHECK_FALSE(drain.hold().has_value());
    CHECK(drain.store().status().unknown == 8);
}

TEST_CASE("those in doubt are read though a backlog would fill every connection") {
    Policy policy = Drain::usual();
    policy.connections = 2;
    Drain drain{policy};
    drain.submit("=doubtful");
    drain.run();
    drain.answer(Drain::failed(core::Failure::cut, true));
    drain.submit_each(200);
    bool read = false;
    for (int i = 0; i < 60 && !read; ++i) {
        drain.pass(100);
        REQUIRE_FALSE(drain.tasks.empty());
        read = std::ranges::any_of(drain.tasks, [](const Task& task) {
            return task.request.method == core::HttpRequest::Method::get;
        });
        if (!read) {
            drain.answer(drain.created());
        }
    }
    CHECK(read);
}

TEST_CASE("a refusal of a reading under a credential that was replaced holds nothing") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    drain.answer(Drain::failed(core::Failure::cut, true));
    drain.sleep();
    REQUIRE(drain.tasks.size() == 1);
    REQUIRE(drain.tasks[0].request.method == core::HttpRequest::Method::get);
    drain.engine().set_credential(Credential::Kind::api_key);
    drain.answer(Drain::reply(401, R"({"detail": "Invalid API key."})"));
    CHECK_FALSE(drain.hold().has_value());
    CHECK(drain.state(id) == RecordState::unknown);
    REQUIRE_FALSE(drain.tasks.empty());  // it is read again, under the new one
    CHECK(drain.tasks[0].request.method == core::HttpRequest::Method::get);
}

TEST_CASE("a new credential and a new network probe what a gateway or a portal held") {
    Drain drain;
    drain.submit();
    drain.run();
    SUBCASE("a gateway's 401 page, and a new key") {
        drain.answer(Drain::html(401));
        REQUIRE(drain.hold() == HoldReason::endpoint);
        drain.engine().set_credential(Credential::Kind::api_key);
    }
    SUBCASE("a portal's 404 pages, and a new network") {
        drain.answer(Drain::html(404));
        drain.answer(Drain::html(404));
        REQUIRE(drain.hold() == HoldReason::route_lost);
        drain.engine().network_changed();
    }
    drain.pass(10);
    REQUIRE(drain.tasks.size() == 1);
    drain.answer(drain.created());
    CHECK_FALSE(drain.hold().has_value());
    CHECK(drain.store().status().delivered == 1);
}

TEST_CASE("where nobody may read, a record that is never answered is not sent for ever") {
    Drain drain;
    const std::string id = drain.submit("=bad");
    int sent = 0;
    int other = 0;
    for (int i = 0; i < 400 && !drain.store().get(id).left_to_person; ++i) {
        drain.submit("=good" + std::to_string(other++));
        drain.run();
        while (!drain.tasks.empty()) {
            if (drain.tasks[0].kind == Task::Kind::connect) {
                drain.answer(core::Evidence{});
            } else if (drain.tasks[0].request.method == core::HttpRequest::Method::get) {
                drain.answer(Drain::reply(403, R"({"detail": "Not allowed."})"));
            } else if (drain.tasks[0].request.idempotency_key == id) {
                ++sent;
                drain.answer(Drain::failed(core::Failure::cut, true));
            } else {
                drain.answer(drain.created());
            }
        }
        drain.pass(60'000);
    }
    CHECK(drain.store().get(id).left_to_person);
    CHECK(sent <= 10);
    CHECK(drain.store().status().possible_duplicates < 10);
}

/// Ends what has been withdrawn as the transport does; how many there were.
int end_withdrawn(Drain& drain) {
    int ended = 0;
    for (std::size_t i = 0; i < drain.tasks.size();) {
        if (!drain.tasks[i].request.permit.is_withdrawn()) {
            ++i;
            continue;
        }
        drain.engine().finished(drain.take(i).id, Drain::failed(Failure::aborted, false));
        ++ended;
    }
    return ended;
}

TEST_CASE("what still waits for its connection when the outbox is held is not sent") {
    Policy policy = Drain::usual();
    policy.connections = 4;
    Drain drain{policy};
    const std::vector<std::string> ids = drain.submit_each(8);
    drain.run();
    REQUIRE(drain.tasks.size() == 4);
    const auto untouched = [&](const std::string& id) {
        const Record record = drain.store().get(id);
        return record.state == RecordState::waiting && record.attempts == 0 &&
               record.last_error.empty();
    };
    std::size_t asked = 0;
    SUBCASE("by a server that says when to come back") {
        core::Evidence later = Drain::throttled("30");
        drain.answer(later);
        asked = 1;
        CHECK(end_withdrawn(drain) == 3);
        drain.steps();
        CHECK(drain.hold() == HoldReason::throttled);
        CHECK(drain.tasks.empty());
        drain.sleep();
        REQUIRE(drain.tasks.size() == 1);
        CHECK_FALSE(drain.tasks[0].request.permit.is_withdrawn());  // the probe
    }
    SUBCASE("by a refused credential") {
        drain.answer(Drain::reply(401, R"({"detail": "Invalid API key."})"));
        asked = 1;
        CHECK(end_withdrawn(drain) == 3);
        drain.steps();
        CHECK(drain.hold() == HoldReason::credential_refused);
    }
    SUBCASE("by a person") {
        drain.store().hold();
        drain.engine().rung();
        drain.step();
        CHECK(end_withdrawn(drain) == 4);
        drain.steps();
        CHECK(drain.hold() == HoldReason::person);
    }
    SUBCASE("by a pause, and then sent at once") {
        drain.engine().pause(true);
        CHECK(end_withdrawn(drain) == 4);
        drain.steps();
        CHECK(drain.tasks.empty());
        CHECK_FALSE(drain.hold().has_value());
        drain.engine().pause(false);
        drain.run();
        CHECK(drain.tasks.size() == 4);
        drain.tasks.clear();
        drain.engine().pause(true);
        drain.steps();
        return;
    }
    SUBCASE("by another key of the same kind, and then sent at once") {
        drain.engine().set_credential(Credential::Kind::api_key);
        CHECK(end_withdrawn(drain) == 4);
        drain.run();
        REQUIRE(drain.tasks.size() == 4);
        CHECK(drain.tasks[0].request.idempotency_key == ids[0]);  // still the first
        return;
    }
    SUBCASE("by the end of its drainer") {
        drain.engine().stop();
        CHECK(end_withdrawn(drain) == 4);
        return;
    }
    for (std::size_t i = asked; i < ids.size(); ++i) {
        CAPTURE(i);
        const bool probes =
            !drain.tasks.empty() && drain.tasks[0].request.idempotency_key == ids[i];
        CHECK((probes || untouched(ids[i])));
    }
}

TEST_CASE("an older answer withdraws a probe that still waits for its connection") {
    Policy policy = Drain::usual();
    policy.connections = 4;
    Drain drain{policy};
    drain.submit_each(4);
    drain.run();
    REQUIRE(drain.tasks.size() == 4);
    core::Evidence later = Drain::throttled("10");
    drain.answer(later);
    drain.sleep();
    REQUIRE(drain.tasks.size() == 4);
    REQUIRE(is_connect(drain.tasks[3]));
    drain.engine().finished(drain.take(3).id, {});
    drain.steps();
    REQUIRE(drain.tasks.size() == 4);
    const Task probe = drain.tasks[3];
    REQUIRE(is_post(probe));
    CHECK_FALSE(probe.request.permit.is_withdrawn());
    later.retry_after = "100";
    drain.answer(later);  // the second of the four, which had been written
    CHECK(probe.request.permit.is_withdrawn());
    CHECK(end_withdrawn(drain) == 3);
    drain.steps();
    CHECK(drain.tasks.empty());
    REQUIRE(drain.wake_at.has_value());
    CHECK(*drain.wake_at >= drain.store().now() + 90'000);
}

TEST_CASE("a reading that probes asks for no further page once the server has said when") {
    Policy policy = Drain::usual();
    policy.connections = 4;
    Drain drain{policy};
    drain.submit_each(4);
    drain.run();
    REQUIRE(drain.tasks.size() == 4);
    for (int i = 0; i < 3; ++i) {
        drain.answer(Drain::html(504));
    }
    CHECK(drain.hold() == HoldReason::outage);
    drain.pass(60'000);
    REQUIRE(drain.tasks.size() == 2);
    REQUIRE(is_connect(drain.tasks[1]));
    drain.engine().finished(drain.take(1).id, {});
    drain.steps();
    REQUIRE(drain.tasks.size() == 2);
    REQUIRE(is_get(drain.tasks[1]));
    core::Evidence later = Drain::throttled("100");
    drain.answer(later);  // to the fourth
    core::Evidence page = drain.listed({drain.row(1)});
    page.body.replace(page.body.find("null"), 4, "\"http://inside/?page=2\"");
    drain.answer(page);
    CHECK(drain.tasks.empty());
    CHECK(drain.hold() == HoldReason::throttled);
}

TEST_CASE("a question withdrawn says nothing about the link") {
    Drain drain;
    drain.clock.set_utc(1'000);  // 1970: it asks for the time first
    drain.submit();
    drain.run();
    REQUIRE(drain.tasks.size() == 1);
    REQUIRE(is_get(drain.tasks[0]));
    drain.engine().set_credential(Credential::Kind::api_key);
    CHECK(end_withdrawn(drain) == 1);
    drain.run();
    CHECK_FALSE(drain.hold().has_value());
    REQUIRE(drain.tasks.size() == 1);
    CHECK(is_get(drain.tasks[0]));  // and is asked again
}

TEST_CASE("an unpaid account is told apart") {
    Drain drain;
    drain.submit();
    drain.run();
    drain.answer(Drain::reply(
        401, R"({"detail": "Agent does not have an active subscription or development phase."})"));
    CHECK(drain.hold() == HoldReason::account_unpaid);
}

TEST_CASE("without a credential everything is kept and nothing is sent") {
    Policy policy = Drain::usual();
    policy.kind = Credential::Kind::none;
    Drain drain{policy};
    drain.submit();
    drain.step();
    CHECK(drain.tasks.empty());
    CHECK_FALSE(drain.wake_at.has_value());
    CHECK(drain.hold() == HoldReason::no_credential);
    CHECK(drain.engine().needs_person());
    drain.engine().set_credential(Credential::Kind::api_key);
    drain.run();
    CHECK(drain.tasks.size() == 1);
    CHECK_FALSE(drain.hold().has_value());
}

TEST_CASE("Retry-After is never undercut, not even at full speed, by release or by restart") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    core::Evidence throttled = Drain::throttled("30");
    drain.answer(throttled);
    const core::OutboxMs told = drain.store().now() + 30'000;
    CHECK(drain.hold() == HoldReason::throttled);
    CHECK(drain.store().get(id).attempts == 0);
    CHECK(drain.wake_at.value() >= told);
    drain.engine().release();
    drain.engine().network_changed();
    drain.step();
    CHECK(drain.tasks.empty());
    CHECK(drain.wake_at.value() >= told);
    drain.engine().full_speed(true);
    drain.step();
    CHECK(drain.tasks.empty());
    CHECK(drain.wake_at.value() == told);  // exactly: somebody waits
    drain.restart();
    drain.step();
    CHECK(drain.tasks.empty());
    CHECK(drain.wake_at.value() >= told);
    drain.sleep();
    CHECK(drain.tasks.size() == 1);
}

TEST_CASE("Retry-After binds the next process too, whoever says release or drain") {
    Drain drain;
    drain.submit();
    drain.run();
    core::Evidence throttled = Drain::reply(429, R"({"detail": "Request was throttled."})");
    SUBCASE("told") {
        throttled.retry_after = "30";
        drain.answer(throttled);
        const core::OutboxMs told = drain.store().now() + 30'000;
        drain.restart();
        drain.engine().release();
        drain.step();
        CHECK(drain.tasks.empty());
        CHECK(drain.hold() == HoldReason::throttled);
        CHECK(drain.wake_at.value() == told);  // what was added to it, release has ended
        drain.restart();
        drain.engine().full_speed(true);
        drain.step();
        CHECK(drain.tasks.empty());
        CHECK(drain.wake_at.value() == told);
    }
    SUBCASE("not told") {
        drain.answer(throttled);
        drain.restart();
        REQUIRE(drain.hold() == HoldReason::throttled);
        drain.engine().release();
        drain.step();
        CHECK_FALSE(drain.hold().has_value());
        CHECK(drain.tasks.size() == 1);
    }
}

TEST_CASE("in the background a throttled device comes later than it was told") {
    int later = 0;
    for (int i = 0; i < 20; ++i) {
        Drain drain;
        drain.random = test::TestRandom{static_cast<std::uint64_t>(i)};
        drain.submit();
        drain.run();
        core::Evidence throttled = Drain::throttled("10", "{}");
        drain.answer(throttled);
        const std::int64_t wait = *drain.wake_at - drain.store().now();
        CHECK(wait >= 10'000);
        CHECK(wait <= 20'000);
        later += wait > 10'500 ? 1 : 0;
    }
    CHECK(later > 10);
}

TEST_CASE("a server back from an outage that has too much is throttling, not out") {
    Policy policy = Drain::usual();
    policy.connections = 4;
    Drain drain{policy};
    for (const char* const conversation : {"=a", "=b", "=c"}) {
        drain.submit(conversation);
    }
    drain.run();
    for (int i = 0; i < 3; ++i) {
        drain.answer(Drain::html(503));
    }
    REQUIRE(drain.hold() == HoldReason::outage);
    for (int i = 0; i < 100 && drain.hold() == HoldReason::outage; ++i) {
        if (drain.tasks.empty()) {
            drain.sleep();
            continue;
        }
        core::Evidence later = Drain::throttled("30");
        drain.answer(std::move(later));
    }
    CHECK(drain.hold() == HoldReason::throttled);
    REQUIRE(drain.wake_at.has_value());
    // Many devices heard the same: back at a moment of one's own in the next minutes.
    CHECK(*drain.wake_at >= drain.store().now() + 29'000);
    CHECK(*drain.wake_at <= drain.store().now() + 480'000);
}

TEST_CASE("a delivery that was under way does not end a throttle before its time") {
    Drain drain;
    drain.submit("=a");
    drain.submit("=b");
    drain.run();
    REQUIRE(drain.tasks.size() == 2);
    core::Evidence throttled = Drain::throttled("30", "{}");
    drain.answer(throttled);
    drain.answer(drain.created());
    CHECK(drain.hold() == HoldReason::throttled);
    CHECK(drain.tasks.empty());
}

TEST_CASE("H15: five refusals in a row are dead letters, then the outbox holds instead") {
    Policy policy = Drain::usual();
    policy.connections = 1;
    Drain drain{policy};
    const std::vector<std::string> ids = drain.submit_each(8);
    drain.run();
    for (int i = 0; i < 5; ++i) {
        drain.answer(Drain::reply(422, R"({"rating": ["New rule."]})"));
    }
    CHECK(drain.hold() == HoldReason::refusals);
    CHECK(drain.store().status().dead == 5);
    CHECK(drain.store().status().waiting == 3);
    CHECK(drain.store().get(ids[0]).last_error == "rating: New rule.");
    for (int probe = 0; probe < 4; ++probe) {
        drain.sleep();
        REQUIRE(drain.tasks.size() == 1);
        drain.answer(Drain::reply(422, R"({"rating": ["New rule."]})"));
        CHECK(drain.store().status().dead == 5);
    }
    drain.sleep();
    for (int i = 0; i < 3; ++i) {
        drain.answer(drain.created());
    }
    CHECK(drain.store().status().delivered == 3);
    CHECK_FALSE(drain.hold().has_value());
}

TEST_CASE("a delivery between breaks the row of refusals") {
    Policy policy = Drain::usual();
    policy.connections = 1;
    Drain drain{policy};
    drain.submit_each(12);
    drain.run();
    for (int i = 0; i < 12; ++i) {
        drain.answer(i % 4 == 3 ? drain.created() : Drain::reply(400, R"({"detail": "no"})"));
    }
    CHECK(drain.store().status().dead == 9);
    CHECK_FALSE(drain.hold().has_value());
}

TEST_CASE("the count of refusals survives a restart") {
    Policy policy = Drain::usual();
    policy.connections = 1;
    Drain drain{policy};
    drain.submit_each(8);
    drain.run();
    for (int i = 0; i < 3; ++i) {
        drain.answer(Drain::reply(400, R"({"detail": "no"})"));
    }
    drain.engine().stop();
    drain.restart();
    drain.run();
    for (int refused = 0; refused < 2;) {
        REQUIRE_FALSE(drain.tasks.empty());
        if (drain.tasks[0].request.method == core::HttpRequest::Method::get) {
            drain.answer(drain.listed({}));  // the one that was under way
        } else {
            drain.answer(Drain::reply(400, R"({"detail": "no"})"));
            ++refused;
        }
    }
    CHECK(drain.hold() == HoldReason::refusals);
}

TEST_CASE("a lost route switches the dialect, durably and without cost") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    CHECK(drain.tasks[0].request.target == "/api/conversation-feedbacks/");
    drain.answer(Drain::html(404));
    REQUIRE(drain.tasks.size() == 1);
    CHECK(drain.tasks[0].request.target == "/api/feedbacks/");
    CHECK(drain.tasks[0].request.body.find(R"("kind":"conversation")") != std::string::npos);
    CHECK(drain.store().get(id).attempts == 0);
    CHECK_FALSE(drain.hold().has_value());
    drain.answer(drain.created());
    drain.submit();
    drain.restart();
    drain.run();
    CHECK(drain.tasks[0].request.target == "/api/feedbacks/");
    drain.answer(Drain::reply(405, R"({"detail": "Method \"POST\" not allowed."})"));
    REQUIRE(drain.tasks.size() == 1);
    CHECK(drain.tasks[0].request.target == "/api/conversation-feedbacks/");
    drain.answer(drain.created());
    CHECK(drain.store().status().delivered == 2);
}

TEST_CASE("answers of several requests to the lost route switch once") {
    Drain drain;
    drain.submit("=a");
    drain.submit("=b");
    drain.run();
    REQUIRE(drain.tasks.size() == 2);
    drain.answer(Drain::html(404));
    drain.answer(Drain::html(404));
    if (drain.tasks.size() < 2) {
        drain.sleep();
    }
    REQUIRE(drain.tasks.size() == 2);
    CHECK(drain.tasks[0].request.target == "/api/feedbacks/");
    CHECK(drain.tasks[1].request.target == "/api/feedbacks/");
}

TEST_CASE("H13: with both routes lost the outbox holds and probes them in turn") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    drain.answer(Drain::html(404));
    drain.answer(Drain::reply(410));
    CHECK(drain.hold() == HoldReason::route_lost);
    std::vector<std::string> targets;
    for (int i = 0; i < 4; ++i) {
        drain.sleep();
        REQUIRE(drain.tasks.size() == 1);
        targets.push_back(drain.tasks[0].request.target);
        drain.answer(Drain::html(404));
    }
    CHECK(targets[0] == targets[2]);
    CHECK(targets[1] == targets[3]);
    CHECK(targets[0] != targets[1]);
    CHECK(drain.store().get(id).attempts == 0);
    drain.sleep();
    drain.answer(drain.created());
    CHECK_FALSE(drain.hold().has_value());
}

TEST_CASE("a fixed dialect never switches") {
    Policy policy = Drain::usual();
    policy.dialect = Dialect::feedbacks;
    Drain drain{policy};
    drain.submit();
    drain.run();
    CHECK(drain.tasks[0].request.target == "/api/feedbacks/");
    drain.answer(Drain::html(404));
    CHECK(drain.hold() == HoldReason::route_lost);
    drain.sleep();
    CHECK(drain.tasks[0].request.target == "/api/feedbacks/");
}

TEST_CASE("a missing conversation is asked for again until its grace is over") {
    Policy policy = Drain::usual();
    policy.not_found_grace_ms = 3'600'000;
    Drain drain{policy};
    const std::string id = drain.submit();
    const std::string other = drain.submit("=other");
    drain.run();
    drain.answer(Drain::reply(404, R"({"detail": "Not found."})"));
    drain.answer(drain.created());
    CHECK(drain.state(other) == RecordState::delivered);
    int attempts = 1;
    std::int64_t began = drain.clock.now().boot_ms;
    while (drain.state(id) != RecordState::dead && attempts < 1'000) {
        drain.clock.set_utc(attempts % 2 == 0 ? 0 : 4'000'000'000'000);  // it must not matter
        drain.sleep();
        REQUIRE(drain.tasks.size() == 1);
        drain.answer(Drain::reply(404, R"({"detail": "Not found."})"));
        ++attempts;
    }
    CHECK(drain.clock.now().boot_ms - began >= 3'590'000);
    CHECK(drain.clock.now().boot_ms - began < 4'500'000);
    CHECK(attempts > 10);
    CHECK(attempts < 60);
    CHECK_FALSE(drain.hold().has_value());
}

TEST_CASE("the grace of a missing conversation does not run while a portal or no link is there") {
    Policy policy = Drain::usual();
    policy.not_found_grace_ms = 3'600'000;
    Drain drain{policy};
    const std::string id = drain.submit();
    drain.run();
    SUBCASE("before the first 404") {}
    SUBCASE("after the first 404") {
        drain.answer(Drain::reply(404, R"({"detail": "Not found."})"));
        drain.sleep();
    }
    for (const std::int64_t began = drain.clock.now().boot_ms;
         drain.clock.now().boot_ms - began < 25 * 3'600'000;) {
        REQUIRE(drain.tasks.size() == 1);
        drain.answer(drain.tasks[0].kind == Task::Kind::connect ? core::Evidence{}
                                                                : Drain::html(511));
        if (drain.tasks.empty()) {
            drain.sleep();
        }
    }
    drain.answer(Drain::reply(404, R"({"detail": "Not found."})"));
    CHECK_FALSE(drain.hold().has_value());
    CHECK(drain.state(id) == RecordState::waiting);
    const std::int64_t online = drain.clock.now().boot_ms;
    for (int i = 0; i < 1'000 && drain.state(id) != RecordState::dead; ++i) {
        drain.sleep();
        REQUIRE(drain.tasks.size() == 1);
        drain.answer(Drain::reply(404, R"({"detail": "Not found."})"));
    }
    CHECK(drain.state(id) == RecordState::dead);
    CHECK(drain.clock.now().boot_ms - online >= 1'800'000);
    CHECK(drain.clock.now().boot_ms - online < 2 * 3'600'000);
}

TEST_CASE("one poisonous comment does not hold the outbox for ever") {
    Policy policy = Drain::usual();
    policy.connections = 1;
    Drain drain{policy};
    const std::string poison = drain.submit("=p", "'; DROP TABLE");
    drain.submit_each(12);
    drain.run();
    for (int round = 0; round < 100 && drain.state(poison) != RecordState::dead; ++round) {
        if (drain.tasks.empty()) {
            drain.sleep();
            continue;
        }
        const bool hit = drain.tasks[0].request.idempotency_key == poison;
        drain.answer(hit ? Drain::html(403) : drain.created());
    }
    CHECK(drain.state(poison) == RecordState::dead);
    CHECK(drain.store().status().dead == 1);
    for (int round = 0; round < 60 && drain.store().status().delivered < 12; ++round) {
        drain.tasks.empty() ? drain.sleep() : drain.answer(drain.created());
    }
    CHECK(drain.store().status().delivered == 12);
}

TEST_CASE("a poisonous comment first of the only conversation steps aside") {
    Policy policy = Drain::usual();
    policy.connections = 1;
    Drain drain{policy};
    const std::string poison = drain.submit("=c", "'; DROP TABLE");
    for (int i = 0; i < 5; ++i) {
        drain.submit("=c");
    }
    drain.run();
    std::int64_t began = drain.clock.now().boot_ms;
    for (int round = 0; round < 200 && drain.store().status().delivered < 5; ++round) {
        if (drain.tasks.empty()) {
            drain.sleep();
            continue;
        }
        if (is_get(drain.tasks[0])) {
            drain.answer(Drain::reply(200, R"({"count": 0, "next": null, "results": []})"));
        } else {
            const bool hit = drain.tasks[0].request.idempotency_key == poison;
            drain.answer(hit ? Drain::html(403) : drain.created());
        }
    }
    CHECK(drain.store().status().delivered == 5);
    CHECK(drain.clock.now().boot_ms - began < 3'600'000);
}

TEST_CASE("behind a portal no order is lost") {
    Policy policy = Drain::usual();
    policy.connections = 1;
    Drain drain{policy};
    std::vector<std::string> ids;
    for (int i = 0; i < 4; ++i) {
        ids.push_back(drain.submit("=c"));
    }
    drain.run();
    for (int probe = 0; probe < 12; ++probe) {
        drain.tasks.empty() ? drain.sleep() : drain.answer(Drain::html(302));
    }
    CHECK(drain.hold() == HoldReason::endpoint);
    std::vector<std::string> arrived;
    for (int round = 0; round < 30 && arrived.size() < 4; ++round) {
        if (drain.tasks.empty()) {
            drain.sleep();
            continue;
        }
        if (is_post(drain.tasks[0])) {
            arrived.push_back(drain.tasks[0].request.idempotency_key);
        }
        drain.answer(is_post(drain.tasks[0])
                         ? drain.created()
                         : Drain::reply(200, R"({"count": 0, "next": null, "results": []})"));
    }
    CHECK(arrived == ids);
}

TEST_CASE("408 is tried again without cost, and not for ever") {
    Drain drain;
    const std::string id = drain.submit("=a");
    drain.run();
    drain.answer(Drain::reply(408, "", false));
    CHECK(drain.state(id) == RecordState::waiting);
    CHECK(drain.store().get(id).attempts == 0);
    CHECK_FALSE(drain.hold().has_value());
    for (int i = 0; i < 40 && drain.state(id) != RecordState::dead; ++i) {
        drain.submit("=b" + std::to_string(i));
        drain.run();
        for (int j = 0; j < 4 && !drain.tasks.empty(); ++j) {
            const bool hit = drain.tasks[0].request.idempotency_key == id;
            drain.answer(hit ? Drain::reply(408, "", false) : drain.created());
        }
        if (drain.wake_at) {
            drain.sleep();
        }
        for (int j = 0; j < 4 && !drain.tasks.empty(); ++j) {
            const bool hit = drain.tasks[0].request.idempotency_key == id;
            drain.answer(hit ? Drain::reply(408, "", false) : drain.created());
        }
    }
    CHECK(drain.state(id) == RecordState::dead);
}

TEST_CASE("408 for everything is an outage: held, probed ever more rarely, nothing buried") {
    Drain drain;
    drain.submit("=before");
    drain.run();
    drain.answer(drain.created());
    constexpr std::uint64_t records = 40;
    drain.submit_each(records);
    drain.run();
    int answers = 0;
    for (; !drain.hold() && answers < 100; ++answers) {
        drain.tasks.empty() ? drain.sleep() : drain.answer(Drain::reply(408, "", false));
    }
    CHECK(drain.hold() == HoldReason::outage);
    CHECK(answers < 40);
    for (; !drain.tasks.empty(); ++answers) {
        drain.answer(Drain::reply(408, "", false));
    }
    const std::int64_t day = drain.clock.now().boot_ms + 86'400'000;
    int probes = 0;
    while (drain.clock.now().boot_ms < day && probes < 2'000) {
        if (drain.tasks.empty()) {
            drain.sleep();
            continue;
        }
        ++probes;
        drain.answer(is_get(drain.tasks[0]) ? Drain::failed(Failure::timeout, true)
                                            : Drain::reply(425, "", false));
    }
    CHECK(probes < 2'000);
    CHECK(drain.store().status().dead == 0);
    for (int i = 0; i < 500 && drain.store().status().delivered <= records; ++i) {
        drain.tasks.empty() ? drain.sleep() : drain.answer(drain.created());
    }
    CHECK(drain.store().status().delivered == records + 1);
}

TEST_CASE("a record whose 408 is forgotten for want of room is not thought to be the only one") {
    Drain drain;
    drain.submit("=before");
    drain.run();
    drain.answer(drain.created());
    const std::string id = drain.submit("=a");
    drain.run();
    drain.answer(Drain::reply(408, "", false));
    drain.submit_each(4'200);
    bool again = false;
    for (int answers = 0; answers < 20'000 && !(again && answers > 5'000); ++answers) {
        drain.engine().release();
        if (drain.tasks.empty()) {
            drain.run();
        }
        if (drain.tasks.empty()) {
            drain.sleep();
        }
        again = drain.tasks[0].request.idempotency_key == id;
        drain.answer(Drain::reply(408, "", false));
    }
    REQUIRE(again);
    drain.engine().stop();
    drain.store().begin_draining();
    outbox::DrainRequest request;
    request.claim = 5'000;
    request.kind = Credential::Kind::api_key;
    request.ignore_due = true;
    for (const outbox::ClaimedRecord& record : drain.store().drain(request).claimed) {
        CHECK(record.refusals <= 1);
    }
}

TEST_CASE("pause claims nothing and gives back what was not sent; resume goes on") {
    Policy policy = Drain::usual();
    policy.connections = 1;
    Drain drain{policy};
    drain.submit("=a");
    drain.submit("=b");
    drain.run();
    drain.engine().pause(true);
    drain.answer(drain.created());
    CHECK(drain.tasks.empty());
    CHECK(drain.store().status().claimed == 0);
    CHECK(drain.store().status().delivered == 1);
    CHECK_FALSE(drain.wake_at.has_value());
    drain.engine().pause(false);
    drain.run();
    CHECK(drain.tasks.size() == 1);
}

TEST_CASE("a person's hold stops sending, also of a reading, and release goes on") {
    Drain drain;
    drain.submit("=a");
    drain.store().hold();
    drain.engine().rung();
    drain.step();
    CHECK(drain.tasks.empty());
    CHECK(drain.engine().held() == HoldReason::person);
    CHECK(drain.engine().needs_person());
    CHECK_FALSE(drain.engine().settled());  // what a flush answers
    CHECK_FALSE(drain.wake_at.has_value());
    drain.store().release();
    drain.engine().rung();
    drain.run();
    CHECK(drain.tasks.size() == 1);
}

TEST_CASE("an outbox that a person holds is settled where nothing waits") {
    Drain drain;
    drain.submit("=a");
    drain.run();
    drain.answer(drain.created());
    drain.store().hold();
    drain.engine().rung();
    drain.step();
    CHECK(drain.engine().needs_person());
    CHECK(drain.engine().settled());
}

TEST_CASE("release by another process ends every hold and its backoff") {
    Drain drain;
    drain.submit("=a");
    drain.run();
    drain.answer(Drain::html(302));
    CHECK(drain.hold() == HoldReason::endpoint);
    drain.store().release();
    drain.engine().rung();
    drain.run();
    CHECK_FALSE(drain.engine().held().has_value());
    drain.sleep();  // the probed record had gone behind, by a millisecond
    CHECK(drain.tasks.size() == 1);
}

TEST_CASE("stop gives unsent claims back and settles what is finished") {
    Policy policy = Drain::usual();
    policy.connections = 1;
    Drain drain{policy};
    const std::string first = drain.submit("=a");
    const std::string second = drain.submit("=b");
    drain.run();
    CHECK(drain.state(second) == RecordState::claimed);
    drain.engine().stop();
    CHECK(drain.state(first) == RecordState::claimed);  // abandoned in flight
    CHECK(drain.state(second) == RecordState::waiting);
    drain.restart();
    CHECK(drain.state(first) == RecordState::unknown);
}

TEST_CASE("a settle waits for company only while there can be any, and at most 20 ms") {
    Drain drain;
    const std::string first = drain.submit("=a");
    drain.submit("=b");
    drain.run();
    REQUIRE(drain.tasks.size() == 2);
    drain.answer(drain.created());
    if (drain.state(first) == RecordState::claimed) {
        REQUIRE(drain.wake_at.has_value());
        CHECK(*drain.wake_at - drain.store().now() <= 20);
        drain.sleep();
    }
    CHECK(drain.state(first) == RecordState::delivered);
}

TEST_CASE("records of another credential kind wait") {
    Drain drain;
    const std::string platform = drain.submit("=a", "x", Credential::Kind::jwt);
    const std::string none = drain.submit("=b", "x", Credential::Kind::none);
    drain.run();
    REQUIRE(drain.tasks.size() == 1);
    CHECK(drain.tasks[0].request.idempotency_key == none);
    drain.answer(drain.created());
    CHECK(drain.state(platform) == RecordState::waiting);
    CHECK_FALSE(drain.wake_at.has_value());
    CHECK(drain.engine().settled());
    CHECK(drain.store().status().waiting_for_other_credential == 1);
}

TEST_CASE("feedback delivered late says when it was given; delivered at once it is untouched") {
    Drain drain;
    drain.submit("=a");
    drain.run();
    CHECK(drain.tasks[0].request.body.find("collected_at") == std::string::npos);
    drain.answer(drain.created());
    drain.submit("=b");
    const core::UtcMs given = drain.clock.now().utc_ms;
    drain.pass(61'000);
    CHECK(drain.tasks[0].request.body.find("\"collected_at\":\"" + core::iso8601(given) + "\"") !=
          std::string::npos);
}

TEST_CASE("T4: collected_at is on the server's clock where ours is wrong") {
    Drain drain;
    drain.server_ahead_ms = 50LL * 365 * 86'400'000;  // we think it is 1974
    drain.submit("=a");
    drain.run();
    drain.answer(drain.created());
    drain.submit("=b");
    const core::UtcMs given = drain.clock.now().utc_ms + drain.server_ahead_ms;
    drain.pass(3'600'000);
    const std::string& body = drain.tasks[0].request.body;
    const auto at = body.find("collected_at\":\"");
    REQUIRE(at != std::string::npos);
    const auto said = core::parse_iso8601(body.substr(at + 15, 24));
    REQUIRE(said.has_value());
    CHECK(std::abs(*said - given) <= 2'000);
}

TEST_CASE(
    "T4: of a boot whose clock was wrong no time is said, of one whose clock was right its own") {
    constexpr core::UtcMs in_2099 = 4'070'908'800'000;
    struct Case {
        core::UtcMs submitted;  ///< what its clock said; none: what it was
        bool is_said;
    };
    const core::UtcMs now = Drain{}.clock.now().utc_ms;
    for (const Case& one : {Case{0, false}, Case{in_2099, false}, Case{now, true}}) {
        CAPTURE(one.submitted);
        Drain drain;
        drain.clock.set_utc(one.submitted);
        drain.submit("=a");
        drain.clock.reboot(60'000);
        drain.clock.set_utc(now + 86'400'000);
        drain.restart();
        drain.run();
        REQUIRE(drain.tasks.size() == 1);
        REQUIRE(is_post(drain.tasks[0]));
        const std::string& body = drain.tasks[0].request.body;
        CHECK((body.find("collected_at") != std::string::npos) == one.is_said);
        CHECK((body.find(core::iso8601(one.submitted)) != std::string::npos) == one.is_said);
    }
}

TEST_CASE("with a clock of 1970 the server's Date is asked for before late feedback goes out") {
    Drain drain;
    drain.server_ahead_ms = drain.clock.now().utc_ms;
    drain.clock.set_utc(0);
    drain.submit("=a");
    const core::UtcMs given = drain.server_ahead_ms;
    drain.clock.advance(3'600'000);
    drain.run();
    REQUIRE(drain.tasks.size() == 1);
    REQUIRE(is_get(drain.tasks[0]));
    CHECK_FALSE(drain.wake_at.has_value());
    drain.answer(Drain::reply(200, R"({"count": 0, "next": null, "results": []})"));
    REQUIRE(drain.tasks.size() == 1);
    REQUIRE(is_post(drain.tasks[0]));
    const std::string& body = drain.tasks[0].request.body;
    const auto at = body.find("collected_at\":\"");
    REQUIRE(at != std::string::npos);
    CHECK(std::abs(core::parse_iso8601(body.substr(at + 15, 24)).value_or(0) - given) <= 2'000);
    // Asked once only, even where the answer is of no use.
    Drain other;
    other.clock.set_utc(0);
    other.submit("=a");
    other.run();
    other.answer(Drain::html(500));
    REQUIRE(other.tasks.size() == 1);
    CHECK(is_post(other.tasks[0]));
}

TEST_CASE("a Retry-After to the question for the time binds the feedback") {
    Drain drain;
    drain.clock.set_utc(0);
    drain.submit("=a");
    drain.run();
    REQUIRE(drain.tasks.size() == 1);
    core::Evidence later = Drain::throttled("30");
    drain.answer(std::move(later));
    CHECK(drain.tasks.empty());
    CHECK(drain.hold() == HoldReason::throttled);
    REQUIRE(drain.wake_at.has_value());
    CHECK(*drain.wake_at >= drain.store().now() + 29'000);
}

TEST_CASE("the newest evidence names the hold: a key refused, then a server in trouble") {
    Drain drain;
    const std::string id = drain.submit();
    drain.run();
    drain.answer(Drain::reply(401, R"({"detail": "Invalid API key."})"));
    REQUIRE(drain.hold() == HoldReason::credential_refused);
    SUBCASE("at a record's probe") {
        drain.sleep();
        REQUIRE(drain.tasks.size() == 1);
        REQUIRE(is_post(drain.tasks[0]));
        drain.answer(Drain::html(503));
        CHECK(drain.hold() == HoldReason::outage);
        CHECK(drain.state(id) == RecordState::unknown);
    }
    SUBCASE("at a reading's probe") {
        drain.sleep();
        drain.restart();  // it dies on the way
        drain.run();
        if (drain.tasks.empty()) {
            drain.sleep();
        }
        REQUIRE(drain.tasks.size() == 1);
        REQUIRE(is_get(drain.tasks[0]));
        drain.answer(Drain::html(503));
        CHECK(drain.hold() == HoldReason::outage);
    }
    // And back again, where it is the key once more.
    for (int i = 0; i < 20 && drain.hold() == HoldReason::outage; ++i) {
        drain.sleep();
        if (!drain.tasks.empty()) {
            drain.answer(Drain::reply(401, R"({"detail": "Invalid API key."})"));
        }
    }
    CHECK(drain.hold() == HoldReason::credential_refused);
}

TEST_CASE("a network that changed is tried at once, whatever the old one still answers") {
    Drain drain;
    drain.submit("=a");
    drain.step();
    drain.answer(Drain::failed(Failure::connect, false));
    drain.doze();
    drain.step();
    REQUIRE(drain.tasks.size() == 1);
    drain.engine().network_changed();
    drain.answer(Drain::failed(Failure::timeout, false));
    CHECK(drain.tasks.size() == 1);  // a new connect
}

TEST_CASE("where answers take their time the next batch is claimed meanwhile") {
    Drain drain;
    drain.submit_each(20);
    drain.run();
    for (int i = 0; i < 3; ++i) {
        drain.steps();
    }
    CHECK(drain.tasks.size() == 2);              // both connections are busy ...
    CHECK(drain.store().status().claimed == 4);  // ... and what comes next is claimed
    const std::uint64_t commits = drain.store().commits();
    drain.clock.advance(50);
    drain.deliver_at_once();
    drain.step();
    CHECK(drain.tasks.size() == 2);  // sent without a commit between
    CHECK(drain.store().commits() == commits);
}

TEST_CASE("many small feedbacks are claimed and settled many at a time") {
    Policy policy = Drain::usual();
    policy.connections = 8;
    Drain drain{policy};
    drain.submit_each(400);
    drain.run();
    const std::uint64_t before = drain.store().commits();
    for (int i = 0; i < 3'000 && drain.store().status().delivered < 400; ++i) {
        if (drain.tasks.empty()) {
            drain.sleep();
        } else {
            drain.deliver_at_once();
            if (i % 8 == 7) {
                drain.clock.advance(1);
            }
            drain.step();
        }
    }
    CHECK(drain.store().status().delivered == 400);
    MESSAGE("commits a record: " << static_cast<double>(drain.store().commits() - before) / 400);
    CHECK(drain.store().commits() - before <= 80);  // 0.2 a record
}

TEST_CASE("prompt answers are settled together, and one that hangs delays the others by 20 ms") {
    Policy policy = Drain::usual();
    policy.connections = 8;
    Drain drain{policy};
    drain.submit_each(100);
    drain.run();
    const auto answer_at_once = [&drain] {
        drain.deliver_at_once();
        drain.step();
    };
    while (drain.store().status().delivered < 48) {  // until it has seen that they are prompt
        drain.tasks.empty() ? drain.sleep() : answer_at_once();
    }
    const std::uint64_t commits = drain.store().commits();
    while (drain.tasks.size() > 1) {
        answer_at_once();
    }
    CHECK(drain.store().commits() == commits);  // the last of the batch is still awaited
    REQUIRE(drain.wake_at.has_value());
    CHECK(*drain.wake_at - drain.store().now() <= 20);
    drain.sleep();
    CHECK(drain.store().commits() == commits + 1);
    CHECK(drain.tasks.size() == 8);  // with the one that hangs
}

TEST_CASE("what this process submits while nothing may be sent costs no transaction of the drain") {
    Drain drain;
    drain.submit("=a");
    drain.steps();
    drain.answer(Drain::failed(core::Failure::connect, false));
    REQUIRE(drain.hold() == HoldReason::link_down);
    drain.submit_here("=b");
    // Another process is in the middle of a commit: a transaction would fail.
    os::LockFile other{drain.store().path().string() + "-lock"};
    REQUIRE(other.lock(os::LockFile::Range::commit, os::LockFile::Mode::exclusive,
                       std::chrono::milliseconds{0}));
    drain.events.clear();
    drain.step();
    CHECK(drain.events.empty());
    other.unlock(os::LockFile::Range::commit);
    drain.engine().full_speed(true);
    drain.run();
    CHECK(drain.tasks.size() == 2);
}

TEST_CASE(
    "F11: three failures of the server in a row are an outage: one probe at a time, no cost") {
    Policy policy = Drain::usual();
    policy.connections = 4;
    Drain drain{policy};
    drain.submit_each(40);
    drain.run();
    REQUIRE(drain.tasks.size() == 4);
    while (!drain.tasks.empty()) {
        drain.answer(Drain::html(500));
    }
    CHECK(drain.hold() == HoldReason::outage);
    CHECK(drain.store().status().unknown <= 6);
    CHECK(drain.store().status().claimed == 0);
    const std::int64_t began = drain.clock.now().boot_ms;
    while (drain.clock.now().boot_ms - began < 3'600'000) {
        drain.sleep();
        CHECK(drain.tasks.size() <= 1);
        if (!drain.tasks.empty()) {
            drain.answer(Drain::html(500));
        }
    }
    CHECK(drain.hold() == HoldReason::outage);
    CHECK(drain.store().status().dead == 0);
    CHECK(drain.store().status().unknown <= 30);
}

TEST_CASE("a record at which the server fails while others are delivered is given up in the end") {
    Drain drain;
    const std::string poison = drain.submit("=c");
    int sent = 0;
    drain.run();
    for (int round = 0; round < 2'000 && drain.state(poison) != RecordState::dead; ++round) {
        if (drain.tasks.empty()) {
            drain.sleep();
            continue;
        }
        if (is_get(drain.tasks[0])) {
            drain.answer(drain.listed({}));
        } else if (drain.tasks[0].request.idempotency_key == poison) {
            ++sent;
            drain.answer(Drain::html(500));
            drain.submit("=other" + std::to_string(sent));
            drain.run();
        } else if (is_connect(drain.tasks[0])) {
            drain.connected();
        } else {
            drain.answer(drain.created());
        }
    }
    CHECK(drain.state(poison) == RecordState::dead);
    CHECK(sent == 8);
}

TEST_CASE("answers to tasks that are not known are ignored") {
    Drain drain;
    drain.engine().finished(12'345, drain.created());
    drain.submit();
    drain.run();
    const Task task = drain.take();
    core::Evidence evidence = drain.created();
    evidence.began = evidence.ended = drain.clock.now();
    drain.engine().finished(task.id, evidence);
    drain.engine().finished(task.id, evidence);
    drain.step();
    CHECK(drain.store().status().delivered == 1);
}

TEST_CASE("an id that another record owns is delivered, and an alarm") {
    Drain drain;
    drain.submit("=a");
    drain.run();
    drain.answer(Drain::reply(201, R"({"id": 5})"));
    drain.submit("=b");
    drain.run();
    drain.answer(Drain::reply(201, R"({"id": 5})"));
    CHECK(drain.store().status().delivered == 2);
    CHECK(std::ranges::any_of(drain.events, [](const Event& event) {
        return std::holds_alternative<event::Alarm>(event);
    }));
}

TEST_CASE("flushes that follow closely, as those of one drain, overcome a backoff once") {
    Drain drain;
    drain.submit("=a");
    drain.run();
    drain.answer(Drain::reply(404, R"({"detail": "Not found."})"));
    int posts = 0;
    const auto flush = [&] {
        drain.engine().full_speed(true);
        for (int i = 0; i < 10; ++i) {
            drain.run();
            if (drain.tasks.empty()) {
                break;
            }
            posts += is_post(drain.tasks[0]) ? 1 : 0;
            drain.answer(Drain::reply(404, R"({"detail": "Not found."})"));
        }
        drain.engine().full_speed(false);
        drain.run();
    };
    for (int i = 0; i < 80; ++i) {
        flush();
        drain.clock.advance(50);
    }
    CHECK(posts >= 1);
    CHECK(posts < 10);  // the first at once, then by its backoff, which grows
    const int before = posts;
    drain.clock.advance(30'000);
    flush();
    CHECK(posts == before + 1);
}

TEST_CASE("after a flush a retry keeps its backoff and the flush does not spin") {
    Drain drain;
    drain.submit("=a");
    drain.run();
    drain.answer(Drain::reply(404, R"({"detail": "Not found."})"));
    drain.engine().full_speed(true);
    int posts = 0;
    for (int i = 0; i < 50; ++i) {
        drain.run();
        if (drain.tasks.empty()) {
            break;
        }
        posts += is_post(drain.tasks[0]) ? 1 : 0;
        drain.answer(Drain::reply(404, R"({"detail": "Not found."})"));
    }
    CHECK(posts == 1);
    CHECK(drain.engine().settled());
}

}  // namespace
}  // namespace agentsight::delivery
