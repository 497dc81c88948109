#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include "raw.hpp"
#include "support.hpp"
#include "support/child_process.hpp"

using namespace agentsight;
using namespace agentsight::test;
using outbox::Settlement;

namespace {

std::vector<std::string> comments(const std::vector<outbox::ClaimedRecord>& records) {
    std::vector<std::string> all;
    for (const outbox::ClaimedRecord& record : records) {
        all.push_back(record.feedback.comment);
    }
    return all;
}

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("one conversation is sent one record at a time, in the order submitted") {
    Outboxed box;
    for (const char* comment : {"1", "2", "3"}) {
        box.submit("c1", comment);
    }
    box.submit("c2", "other");
    box.become_drainer();
    auto claimed = box.claim(10);
    CHECK(comments(claimed) == Words{"1", "other"});
    CHECK(box.claim(10).empty());
    box.deliver(claimed[0].key);
    claimed = box.claim(10);
    CHECK(comments(claimed) == Words{"2"});
    box.retry(claimed[0].key, 5'000);
    CHECK(box.claim(10).empty());  // its backoff delays the third
    box.clock.advance(5'000);
    claimed = box.claim(10);
    CHECK(comments(claimed) == Words{"2"});
    box.deliver(claimed[0].key);
    CHECK(comments(box.claim(10)) == Words{"3"});
}

TEST_CASE("settle and claim are one commit") {
    Outboxed box;
    box.submit("c1", "1");
    box.submit("c1", "2");
    box.become_drainer();
    const auto first = box.claim(1);
    const std::uint64_t before = box->commits();
    Settlement settlement;
    settlement.key = first.at(0).key;
    settlement.to = Settlement::To::delivered;
    settlement.server_id = "1";
    settlement.origin = origin;
    CHECK(comments(box.settle(settlement, 1).claimed) == Words{"2"});
    CHECK(box->commits() == before + 1);
}

TEST_CASE("a step that finds nothing to do commits nothing") {
    Outboxed box;
    box.become_drainer();
    const std::uint64_t before = box->commits();
    box.claim(10);
    box.clock.advance(100'000);
    const auto reply = box->drain(box.request(10));
    CHECK_FALSE(reply.more);
    CHECK_FALSE(reply.next_due);
    CHECK(box->commits() == before);
}

TEST_CASE("dead and left records delay none, unknown ones do") {
    Outboxed box;
    for (const char* comment : {"1", "2", "3", "4"}) {
        box.submit("c1", comment);
    }
    box.become_drainer();
    auto claimed = box.claim(10);
    box.settle_to(claimed.at(0).key, Settlement::To::unknown);
    CHECK(box.claim(10).empty());
    box.settle_to(claimed[0].key, Settlement::To::left);
    claimed = box.claim(10);
    CHECK(comments(claimed) == Words{"2"});
    box.settle_to(claimed[0].key, Settlement::To::dead);
    CHECK(comments(box.claim(10)) == Words{"3"});
}

TEST_CASE("a requeued record goes last, and delays none that were before it") {
    Outboxed box;
    for (const char* comment : {"1", "2", "3"}) {
        box.submit("c1", comment);
    }
    box.become_drainer();
    auto claimed = box.claim(10);
    const std::string first = claimed.at(0).id.text();
    box.settle_to(claimed[0].key, Settlement::To::dead);
    SUBCASE("while another of its conversation is claimed") {
        claimed = box.claim(10);
        REQUIRE(comments(claimed) == Words{"2"});
        box->requeue(first, false);
        box.deliver(claimed[0].key);
    }
    SUBCASE("while the next one waits") {
        box->requeue(first, false);
        claimed = box.claim(10);
        REQUIRE(comments(claimed) == Words{"2"});
        box.deliver(claimed[0].key);
    }
    claimed = box.claim(10);
    CHECK(comments(claimed) == Words{"3"});
    box.deliver(claimed[0].key);
    claimed = box.claim(10);
    CHECK(comments(claimed) == Words{"1"});
    CHECK(claimed[0].attempts == 0);
    box.submit("c1", "4");
    CHECK(box.claim(10).empty());
    box.deliver(claimed[0].key);
    CHECK(comments(box.claim(10)) == Words{"4"});
    CHECK(box->verify().empty());
}

TEST_CASE("a record requeued before any drainer looked at later ones still goes last") {
    Outboxed box;
    box.submit("c1", "1");
    box.become_drainer();
    const auto claimed = box.claim(10);
    box.settle_to(claimed.at(0).key, Settlement::To::dead);
    box.submit("c1", "2");
    box->requeue(claimed[0].id.text(), false);
    const auto next = box.claim(10);
    CHECK(comments(next) == Words{"2"});
    box.deliver(next[0].key);
    CHECK(comments(box.claim(10)) == Words{"1"});
}

TEST_CASE("records of another kind of credential wait, delay none, and go once theirs is back") {
    Outboxed box;
    box.submit(submission("c1", "api", Credential::Kind::api_key));
    box.submit(submission("c1", "jwt", Credential::Kind::jwt));
    box.submit(submission("c1", "none", Credential::Kind::none));
    box.kind = Credential::Kind::jwt;
    box.become_drainer();
    auto claimed = box.claim(10);
    CHECK(comments(claimed) == Words{"jwt"});
    box.deliver(claimed[0].key);
    const auto reply = box->drain(box.request(10));
    CHECK(comments(reply.claimed) == Words{"none"});
    CHECK(reply.other_kind == 1);
    CHECK(box->status().waiting_for_other_credential == 1);
    CHECK(box->status().waiting == 1);
    box.deliver(reply.claimed[0].key);
    CHECK(box.claim(10).empty());
    box.kind = Credential::Kind::api_key;
    CHECK(comments(box.claim(10)) == Words{"api"});
    CHECK(box->status().waiting_for_other_credential == 0);
}

TEST_CASE("F14: due retries and fresh records take turns") {
    Outboxed box;
    for (int i = 0; i < 20; ++i) {
        box.submit("old" + std::to_string(i), "old");
    }
    box.become_drainer();
    for (const auto& record : box.claim(20)) {
        box.retry(record.key);
    }
    for (int i = 0; i < 20; ++i) {
        box.submit("new" + std::to_string(i), "new");
    }
    const Words words = comments(box.claim(8));
    CHECK(std::count(words.begin(), words.end(), "new") == 4);
}

TEST_CASE("F10: one blocked conversation delays no other, and each step is bounded") {
    Outboxed box;
    std::vector<outbox::Submission> blocked;
    for (int i = 0; i < 3'000; ++i) {
        blocked.push_back(submission("blocked", std::to_string(i)));
    }
    blocked.push_back(submission("free", "free"));
    box->submit_many(blocked);
    box.become_drainer();
    const auto first = box.claim(1);
    REQUIRE(comments(first) == Words{"0"});
    int steps = 0;
    outbox::DrainReply reply;
    do {
        REQUIRE(++steps < 20);
        reply = box->drain(box.request(4));
    } while (reply.claimed.empty() && reply.more);
    CHECK(comments(reply.claimed) == Words{"free"});
    CHECK(steps >= 3'000 / 512);
    box.deliver(first[0].key);
    CHECK(comments(box.claim(4)) == Words{"1"});
    CHECK(box->verify().empty());
}

TEST_CASE("a person's hold stops claims, not settling, and release ends it") {
    Outboxed box;
    box.submit("c1", "1");
    box.submit("c2", "2");
    box.become_drainer();
    const auto claimed = box.claim(1);
    box->hold();
    auto reply = box.deliver(claimed.at(0).key);
    CHECK(reply.control.person_hold);
    CHECK(reply.control.person_hold_since == box.clock.now().utc_ms);
    reply = box->drain(box.request(1));
    CHECK(reply.claimed.empty());
    CHECK(reply.more);  // it waits all the same
    const Status status = box->status();
    REQUIRE(status.hold);
    CHECK(status.hold->reason == HoldReason::person);
    box.reopen();
    box.become_drainer();
    CHECK(box.claim(1).empty());
    box->release();
    reply = box->drain(box.request(1));
    CHECK(reply.claimed.size() == 1);
    CHECK(reply.control.releases == 1);
    CHECK_FALSE(box->status().hold);
}

TEST_CASE("what was left for a credential of its kind stands before what is fresh") {
    using Kind = Credential::Kind;
    Outboxed box;
    const auto submit = [&](const char* in, const char* comment, Kind kind) {
        outbox::Submission given = submission(in, comment);
        given.kind = kind;
        box.submit(given);
    };
    const auto claim = [&](std::size_t count, Kind kind) {
        outbox::DrainRequest request = box.request(count);
        request.kind = kind;
        return comments(box->drain(std::move(request)).claimed);
    };
    box.become_drainer();
    submit("c1", "key 1", Kind::api_key);
    submit("c2", "key 2", Kind::api_key);
    CHECK(claim(1, Kind::jwt).empty());
    submit("c", "jwt 1", Kind::jwt);
    submit("c3", "key 3", Kind::api_key);
    submit("c", "jwt 2", Kind::jwt);
    CHECK(claim(1, Kind::api_key) == Words{"key 1"});
    CHECK(claim(2, Kind::api_key).size() == 2);  // on the way "jwt 1" is left
    const Words next = claim(1, Kind::jwt);
    REQUIRE(next.size() == 1);
    CHECK(next[0] == "jwt 1");
}

TEST_CASE("of very many unknown records of one conversation those due first are read") {
    Outboxed box;
    std::vector<outbox::Submission> many;
    for (int i = 0; i < 300; ++i) {
        many.push_back(submission("c1", std::to_string(i)));
    }
    box->submit_many(many);
    box.become_drainer();
    REQUIRE(box.claim(1).size() == 1);
    box.store.reset();
    std::fstream{box.options.path, std::ios::in | std::ios::out | std::ios::binary} << "garbage";
    box.open();  // and salvaged: any of them may have been sent
    box.become_drainer();
    const auto first = box->unknowns_of(conversation("c1"));
    REQUIRE(first.size() == 256);
    outbox::DrainRequest later = box.request(0);
    for (std::size_t i = 0; i < 200; ++i) {
        Settlement& settlement = later.settlements.emplace_back();
        settlement.key = first[i].key;
        settlement.to = Settlement::To::unknown;
        settlement.due = box->now() + 60'000;
    }
    box->drain(std::move(later));
    const Words next = comments(box->unknowns_of(conversation("c1")));
    REQUIRE(next.size() == 256);
    for (int i = 200; i < 300; ++i) {
        CHECK(std::ranges::count(next, std::to_string(i)) == 1);
    }
}

TEST_CASE("P18: S7, F1: what a killed drainer had claimed is unknown to the next one") {
    Outboxed box;
    const std::string id = box.submit("c1", "sent?");
    auto child = ChildProcess::run([&](ParentLink& parent) {
        Outboxed other{[&] {
            outbox::StoreOptions same;
            same.path = box.options.path;
            return same;
        }()};
        other.become_drainer();
        const bool claimed = other.claim(1).size() == 1;
        parent.tell(claimed ? 'c' : 'n');
        parent.await();
        return 0;
    });
    REQUIRE(child.await() == 'c');
    CHECK(box->status().claimed == 1);
    REQUIRE(box->status().drainer);
    CHECK(box->status().drainer->pid == child.pid());
    CHECK_FALSE(box->status().drainer->stopped);
    CHECK_FALSE(box->try_become_drainer());
    CHECK(code_of([&] { box->discard(id, true); }) == errc::refused_state);
    child.stop();
    CHECK(box->status().drainer->stopped);
    box.submit("c1", "later");  // submits go on
    child.kill();
    CHECK_FALSE(box->status().drainer);
    box.clock.advance(10);
    box.become_drainer();
    const Status status = box->status();
    CHECK(status.claimed == 0);
    CHECK(status.unknown == 1);
    const auto unknown = box->due_unknowns(10);
    REQUIRE(unknown.size() == 1);
    CHECK(unknown[0].feedback.comment == "sent?");
    CHECK(unknown[0].origin == origin);
    CHECK(unknown[0].attempt_began.utc_ms == TestClock::start_utc_ms);
    CHECK_FALSE(unknown[0].attempt_ended);
    CHECK(unknown[0].looks == 0);
    CHECK(box->unknowns_of(conversation("c1")).size() == 1);
    CHECK(box.claim(10).empty());  // the later one waits for the look
}

TEST_CASE("P9: a drainer that lost its lock can only prove deliveries") {
    Outboxed first;
    first.submit("c1", "1");
    first.submit("c2", "2");
    first.submit("c3", "3");
    first.become_drainer();
    const auto claimed = first.claim(2);
    REQUIRE(claimed.size() == 2);
    outbox::StoreOptions same;
    same.path = first.options.path;
    Outboxed second{same};
    CHECK_FALSE(second->try_become_drainer());
    first->stop_being_drainer();  // as if its lock file had been replaced
    second.become_drainer();
    CHECK(second->status().unknown == 2);
    first.settle_to(claimed[0].key, Settlement::To::waiting);
    CHECK(first->status().unknown == 2);
    CHECK(first.claim(5).empty());
    first.deliver(claimed[1].key);
    CHECK(first->status().delivered == 1);
    CHECK(first->status().unknown == 1);
    CHECK(second->verify().empty());
}

TEST_CASE("a lock file replaced by a cleaner is noticed by the one that drains") {
    Outboxed box;
    CHECK_FALSE(box->is_drainer());
    box.become_drainer();
    CHECK(box->is_drainer());
    std::filesystem::remove(box.options.path.string() + "-lock");
    CHECK(box->is_drainer());  // it has the new file's lock now
    auto child = ChildProcess::run([&](ParentLink& parent) {
        std::filesystem::remove(box.options.path.string() + "-lock");
        outbox::StoreOptions same;
        same.path = box.options.path;
        Outboxed other{same};
        parent.tell(other->try_become_drainer() ? 'y' : 'n');
        parent.await();
        return 0;
    });
    REQUIRE(child.await() == 'y');
    CHECK_FALSE(box->is_drainer());
    child.kill();
}

TEST_CASE("what the drainer remembers comes back as it was") {
    Outboxed box;
    box.become_drainer();
    outbox::DrainState state;
    state.route = 1;
    state.server_date = 1'705'000'000'000;
    state.trusted_time = 1'706'000'000'000;
    state.refusals_in_row = 3;
    state.holds = {{HoldReason::link_down, 5, 1'000'000, 2, 0, "no way"},
                   {HoldReason::throttled, 6, 2'000'000, 1, 429, "wait"}};
    auto request = box.request(0);
    request.save = state;
    box->drain(request);
    box.reopen();
    REQUIRE(box->try_become_drainer());
    CHECK(box->begin_draining() == state);
    const Status status = box->status();
    REQUIRE(status.hold);
    CHECK(status.hold->reason == HoldReason::throttled);
    CHECK(status.hold->status == 429);
    CHECK(status.hold->until == box.clock.now().utc_ms + (2'000'000 - box->now()));
    state.holds.push_back({HoldReason::credential_refused, 7, std::nullopt, 0, 401, "no"});
    request.save = state;
    box->drain(request);
    CHECK(box->status().hold->reason == HoldReason::credential_refused);
}

TEST_CASE("a server id is owned once; a second owner is told") {
    Outboxed box;
    box.submit("c1", "1");
    box.submit("c2", "2");
    box.become_drainer();
    const auto claimed = box.claim(2);
    CHECK(box.deliver(claimed[0].key, "42").duplicate_server_ids.empty());
    CHECK(box.deliver(claimed[0].key, "42").duplicate_server_ids.empty());  // told twice
    CHECK(box.deliver(claimed[1].key, "42").duplicate_server_ids ==
          std::vector<std::int64_t>{claimed[1].key});
    CHECK(box->status().delivered == 2);
    const std::vector<std::string> ids{"41", "42", "43"};
    CHECK(box->owned(origin, ids) == Words{"42"});
    CHECK(box->owned("https://elsewhere", ids).empty());
    CHECK(box->known_row(conversation("c1"), origin, 0) == "42");
    CHECK_FALSE(box->known_row(conversation("c1"), origin, box.clock.now().utc_ms + 1));
    CHECK_FALSE(box->known_row(conversation("c3"), origin, 0));
    CHECK_FALSE(box->known_row(conversation("c1"), "https://elsewhere", 0));
}

TEST_CASE("owned server ids stay as far back as a claim's window reaches, however long it sleeps") {
    Outboxed box;
    box.become_drainer();
    const core::UtcMs began = box.clock.now().utc_ms;
    const auto drain = [&](std::size_t claim, std::vector<Settlement> settlements) {
        outbox::DrainRequest request = box.request(claim);
        request.server_date = box.clock.now().utc_ms;
        request.settlements = std::move(settlements);
        return box->drain(std::move(request)).claimed;
    };
    const auto delivered = [&](std::int64_t key, const std::string& server_id, core::UtcMs at) {
        Settlement settlement;
        settlement.key = key;
        settlement.to = Settlement::To::delivered;
        settlement.server_id = server_id;
        settlement.server_time = at;
        settlement.origin = origin;
        return settlement;
    };
    const auto owns = [&](const std::string& id) {
        return !box->owned(origin, std::vector<std::string>{id}).empty();
    };
    for (const char* name : {"long before", "just before", "sleeps"}) {
        box.submit(name, name);
    }
    const auto claimed = drain(3, {});
    drain(0, {delivered(claimed.at(0).key, "1", began - 3'600'000),
              delivered(claimed.at(1).key, "2", began + 1'000)});
    box.clock.advance(3 * 86'400'000);  // in the middle of an exchange
    for (int i = 0; i < 3; ++i) {
        box.submit("later" + std::to_string(i), "x");
        drain(0, {delivered(drain(1, {}).at(0).key, "later" + std::to_string(i),
                            box.clock.now().utc_ms)});
    }
    CHECK_FALSE(owns("1"));
    CHECK(owns("2"));
    box->drain(box.request(0));
    drain(0, {delivered(claimed.at(2).key, "3", box.clock.now().utc_ms)});
    box.submit("last", "x");
    drain(0, {delivered(drain(1, {}).at(0).key, "last", box.clock.now().utc_ms)});
    CHECK_FALSE(owns("2"));
}

TEST_CASE("owned server ids go after a day, and not while anything is unknown") {
    Outboxed box;
    box.become_drainer();
    const auto deliver_one = [&](const std::string& server_id) {
        box.submit("c" + server_id, "x");
        const auto claimed = box.claim(1);
        box.deliver(claimed.at(0).key, server_id);
    };
    const auto owns = [&](const std::string& id) {
        return !box->owned(origin, std::vector<std::string>{id}).empty();
    };
    deliver_one("1");
    box.submit("unknown", "?");
    const auto unknown = box.claim(1);
    box.settle_to(unknown.at(0).key, Settlement::To::unknown);
    box.clock.advance(25 * 3'600'000);
    deliver_one("2");
    deliver_one("3");
    CHECK(owns("1"));
    box.settle_to(unknown[0].key, Settlement::To::dead);
    deliver_one("4");
    deliver_one("5");
    CHECK_FALSE(owns("1"));
    CHECK(owns("2"));
}

TEST_CASE("delivered history is bounded, the newest deliveries are kept") {
    outbox::StoreOptions options;
    options.keep_delivered = 5;
    Outboxed box{options};
    const std::string slow = box.submit("slow", "slow");
    box.become_drainer();
    const auto held = box.claim(1);
    std::vector<std::string> ids;
    for (int i = 0; i < 20; ++i) {
        auto made = submission("c" + std::to_string(i), "x");
        char id[37];
        std::snprintf(id, sizeof id, "5f1c8a10-0000-4000-8000-%012d", i);
        ids.push_back(box.submit(with_id(made, id)));
        const auto claimed = box.claim(1);
        box.deliver(claimed.at(0).key);
    }
    box.deliver(held.at(0).key);
    const Status status = box->status();
    CHECK(status.delivered == 21);
    CHECK(status.accepted == 21);
    CHECK(box->list({}, 100).size() == 5);
    CHECK(box->get(slow).state == RecordState::delivered);
    CHECK(box->get(ids.back()).state == RecordState::delivered);
    RawDatabase raw{box.options.path};
    CHECK(raw.integer("SELECT count(*) FROM caller_id") == 4);
    CHECK(box->verify().empty());
}

TEST_CASE("the history of attempts is bounded, and a first-try delivery writes none") {
    Outboxed box;
    const std::string id = box.submit("c1", "x");
    box.become_drainer();
    auto claimed = box.claim(1);
    for (int i = 1; i <= 30; ++i) {
        Settlement settlement;
        settlement.key = claimed.at(0).key;
        settlement.to = Settlement::To::waiting;
        settlement.counts_attempt = true;
        settlement.last_status = 500 + i;
        settlement.last_error = "error " + std::to_string(i);
        settlement.refusals = i;
        settlement.note = outbox::AttemptNote{i, i + 1, "unknown", 500 + i, "words"};
        claimed = box.settle(settlement, 1).claimed;
        REQUIRE(claimed.size() == 1);
        CHECK(claimed[0].attempts == i);
        CHECK(claimed[0].refusals == i);
        CHECK(claimed[0].last_status == 500 + i);
    }
    const Record record = box->get(id);
    REQUIRE(record.history.size() == 20);
    CHECK(record.history.front().began == 11);
    CHECK(record.history.back().status == 530);
    CHECK(record.last_error == "error 30");
    CHECK(record.attempts == 30);
}

TEST_CASE("T1, T2: a due time survives reboots and jumps of the wall clock") {
    Outboxed box;
    const std::string id = box.submit("c1", "x");
    box.become_drainer();
    auto claimed = box.claim(1);
    box.retry(claimed.at(0).key, 60'000);
    SUBCASE("the wall clock back ten years") {
        box.clock.jump_utc(-315'360'000'000);
    }
    SUBCASE("the wall clock forward ten years") {
        box.clock.jump_utc(315'360'000'000);
    }
    SUBCASE("a reboot, off for a week") {
        box.clock.reboot(7 * 86'400'000);
        box.reopen();
        box.become_drainer();
    }
    SUBCASE("a reboot while it stays open") {
        box.clock.reboot(1'000);
    }
    CHECK(box.claim(1).empty());
    CHECK(box->drain(box.request(1)).next_due.value_or(0) - box->now() <= 60'000);
    CHECK(*box->get(id).due_at <= box.clock.now().utc_ms + 60'000);
    box.clock.advance(59'000);
    CHECK(box.claim(1).empty());
    box.clock.advance(1'000);
    CHECK(box.claim(1).size() == 1);
}

TEST_CASE("stored backoff can be ignored, and the earliest due time ahead is told") {
    Outboxed box;
    box.submit("c1", "1");
    box.submit("c2", "2");
    box.become_drainer();
    const auto claimed = box.claim(2);
    box.retry(claimed.at(0).key, 9'000);
    box.settle_to(claimed.at(1).key, Settlement::To::unknown);
    auto request = box.request(5);
    CHECK(box->drain(request).next_due == box->now() + 9'000);
    request.ignore_due = true;
    CHECK(box->drain(request).claimed.size() == 1);
}

TEST_CASE("unknown records are resolved by a person, either way") {
    Outboxed box;
    const std::string a = box.submit("c1", "a");
    const std::string b = box.submit("c2", "b");
    const std::string c = box.submit("c3", "c");
    box.become_drainer();
    for (const auto& record : box.claim(3)) {
        box.settle_to(record.key, Settlement::To::left);
    }
    CHECK(box->get(a).left_to_person);
    CHECK(code_of([&] { box->requeue(a, false); }) == errc::refused_state);
    CHECK(code_of([&] { box->discard(a, false); }) == errc::refused_state);
    box->resolve_delivered(a, "99");
    CHECK(box->get(a).state == RecordState::delivered);
    CHECK(box->get(a).server_id == "99");
    CHECK(box->owned(origin, std::vector<std::string>{"99"}).size() == 1);
    box->resolve_resend(b);
    CHECK(box->get(b).state == RecordState::waiting);
    CHECK(box->status().possible_duplicates == 1);
    box->discard(c, true);
    CHECK(box->get(c).state == RecordState::discarded);
    CHECK(code_of([&] { box->resolve_resend(a); }) == errc::refused_state);
    CHECK(code_of([&] { box->resolve_delivered("5f1c8a10-0000-4000-8000-0000000000aa", {}); }) ==
          errc::not_found);
}
