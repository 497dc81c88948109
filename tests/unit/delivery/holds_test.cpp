#include "delivery/holds.hpp"

#include <doctest/doctest.h>

#include "delivery/pacing.hpp"
#include "support/test_random.hpp"

namespace agentsight::delivery {
namespace {

constexpr Backoff backoff{.base_ms = 1'000, .cap_ms = 300'000};
const core::Moment moment{.utc_ms = 1'705'315'200'000, .boot_ms = 1'000, .boot_id = 1};

HoldCause cause(HoldReason reason) {
    return {.reason = reason, .status = 0, .detail = "why"};
}

TEST_CASE("a backoff doubles up to its cap and never overflows") {
    CHECK(backoff_ceiling(backoff, 0) == 1'000);
    CHECK(backoff_ceiling(backoff, 3) == 8'000);
    CHECK(backoff_ceiling(backoff, 9) == 300'000);
    CHECK(backoff_ceiling(backoff, 1'000'000) == 300'000);
    CHECK(backoff_ceiling({.base_ms = 0, .cap_ms = 0}, 5) == 1);
    CHECK(backoff_ceiling({.base_ms = INT64_MAX / 2, .cap_ms = INT64_MAX}, 1) > 0);
}

TEST_CASE("full jitter keeps its floor and its ceiling, and uses the room between") {
    test::TestRandom random{test::test_seed()};
    CAPTURE(random.seed());
    std::int64_t least = INT64_MAX;
    std::int64_t most = 0;
    for (int draw = 0; draw < 10'000; ++draw) {
        const std::int64_t wait = full_jitter(backoff, 6, random);
        least = std::min(least, wait);
        most = std::max(most, wait);
    }
    CHECK(least >= backoff_floor_ms);
    CHECK(least < 2'000);
    CHECK(most <= 64'000);
    CHECK(most > 60'000);
}

TEST_CASE("answers of what was in flight do not prolong a hold; a failed probe does") {
    test::TestRandom random;
    HoldTable holds{backoff};
    CHECK(holds.enter(cause(HoldReason::link_down), moment, 0, random));
    const auto first = *holds.until();
    CHECK_FALSE(holds.enter(cause(HoldReason::link_down), moment, first - 1, random));
    CHECK(*holds.until() == first);
    CHECK(holds.find(HoldReason::link_down)->step == 0);
    CHECK_FALSE(holds.enter(cause(HoldReason::link_down), moment, first, random));
    CHECK(*holds.until() > first);
    CHECK(holds.find(HoldReason::link_down)->step == 1);
}

TEST_CASE("what only a person can mend is probed between 30 s and an hour apart") {
    test::TestRandom random{test::test_seed()};
    CAPTURE(random.seed());
    for (const HoldReason reason :
         {HoldReason::credential_refused, HoldReason::account_unpaid, HoldReason::proxy,
          HoldReason::route_lost, HoldReason::endpoint, HoldReason::refusals}) {
        HoldTable holds{backoff};
        core::OutboxMs now = 0;
        for (int probe = 0; probe < 50; ++probe) {
            holds.enter(cause(reason), moment, now, random);
            const core::OutboxMs until = *holds.until();
            CHECK(until - now >= 30'000);
            CHECK(until - now <= 3'600'000);
            if (probe > 10) {
                CHECK(until - now >= 1'800'000);
            }
            now = until;
        }
    }
}

TEST_CASE("of several holds the last to end counts, and one without end is for good") {
    test::TestRandom random;
    HoldTable holds{backoff};
    holds.enter(cause(HoldReason::link_down), moment, 0, random);
    holds.enter_throttle(cause(HoldReason::throttled), {.told = 500'000, .until = 500'000}, moment);
    CHECK(*holds.until() == 500'000);
    CHECK(holds.shown() == HoldReason::throttled);
    holds.enter_for_good(cause(HoldReason::no_credential), moment);
    CHECK_FALSE(holds.until().has_value());
    CHECK(holds.shown() == HoldReason::no_credential);
    CHECK(holds.leave(HoldReason::no_credential));
    CHECK_FALSE(holds.leave(HoldReason::no_credential));
    CHECK(*holds.until() == 500'000);
}

TEST_CASE("a throttle is never hurried, all others are") {
    test::TestRandom random;
    HoldTable holds{backoff};
    holds.enter(cause(HoldReason::endpoint), moment, 0, random);
    holds.enter_throttle(cause(HoldReason::throttled), {.told = 40'000, .until = 40'000}, moment);
    holds.enter_throttle(cause(HoldReason::throttled), {.told = 10'000, .until = 10'000}, moment);
    holds.probe_all_at_once(5);
    CHECK(*holds.until() == 40'000);
    CHECK(*holds.find(HoldReason::endpoint)->until == 5);
}

TEST_CASE("a link that lets us connect and no more goes on backing off") {
    test::TestRandom random;
    HoldTable holds{backoff};
    int step = 0;
    for (int round = 0; round < 12; ++round) {
        holds.enter(cause(HoldReason::link_down), moment, round, random);
        step = holds.find(HoldReason::link_down)->step;
        holds.remember_step(HoldReason::link_down, step);
        holds.leave(HoldReason::link_down);
    }
    CHECK(step == 11);
    holds.forget_steps();
    holds.enter(cause(HoldReason::link_down), moment, 0, random);
    CHECK(holds.find(HoldReason::link_down)->step == 0);
}

TEST_CASE("without a hold that ended by itself nothing is paced") {
    Pacer pacer{4};
    CHECK_FALSE(pacer.on(0));
    CHECK(pacer.next(1'000) == 1'000);
    CHECK_FALSE(pacer.splayed_until(0).has_value());
}

TEST_CASE("after a link came back the backlog waits up to a minute, then goes five a second") {
    test::TestRandom random{test::test_seed()};
    CAPTURE(random.seed());
    Pacer pacer{1};
    pacer.hold_ended(false, 0, random);
    CHECK(pacer.splayed_until(0).value_or(0) < Pacer::splay_ms);
    core::OutboxMs now = Pacer::splay_ms;
    CHECK_FALSE(pacer.splayed_until(now).has_value());
    int sent = 0;
    const core::OutboxMs end = now + 60'000;
    while (now < end) {
        now = std::max(now, pacer.next(now));
        pacer.sent(now, random);
        ++sent;
    }
    CHECK(sent >= 290);
    CHECK(sent <= 305);
}

TEST_CASE("while the server throttles, one record each two seconds") {
    test::TestRandom random{test::test_seed()};
    CAPTURE(random.seed());
    Pacer pacer{8};
    pacer.hold_ended(true, 0, random);
    core::OutboxMs now = 60'000;
    int sent = 0;
    while (now < 360'000) {
        now = std::max(now, pacer.next(now));
        pacer.sent(now, random);
        ++sent;
    }
    CHECK(sent >= 125);
    CHECK(sent <= 175);
    pacer.off();
    CHECK(pacer.next(now) == now);
}

TEST_CASE("a server that has too much after a link came back is spared for the rest of 8 minutes") {
    test::TestRandom random{5};
    Pacer pacer{4};
    CHECK(pacer.herd_ms(1'000) == 0);
    pacer.hold_ended(true, 1'000, random);  // one device that was told to wait is no herd
    CHECK(pacer.herd_ms(2'000) == 0);
    pacer.hold_ended(false, 10'000, random);
    CHECK(pacer.herd_ms(10'000) == Pacer::herd_window_ms);
    pacer.hold_ended(true, 70'000, random);  // told to wait meanwhile: the same herd
    CHECK(pacer.herd_ms(70'000) == Pacer::herd_window_ms - 60'000);
    CHECK(pacer.herd_ms(10'000 + Pacer::herd_window_ms) == 0);
    pacer.hold_ended(false, 1'000'000, random);
    pacer.off();
    CHECK(pacer.herd_ms(1'000'000) == 0);
}

TEST_CASE("a link that flaps does not begin the splay again and again") {
    test::TestRandom random;
    Pacer pacer{4};
    pacer.hold_ended(false, 0, random);
    const auto until = pacer.splayed_until(0);
    pacer.hold_ended(false, 1, random);
    CHECK(pacer.splayed_until(1) == until);
}

}  // namespace
}  // namespace agentsight::delivery
