#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "simulation.hpp"

namespace agentsight::sim {
namespace {

/// In memory where there is such a folder: what is tested here is not the disk.
const bool in_memory = [] {
    if (std::getenv("TMPDIR") == nullptr && std::filesystem::is_directory("/dev/shm")) {
        ::setenv("TMPDIR", "/dev/shm", 1);
    }
    return true;
}();

/// A world without faults, for a scenario to be given one of its own.
Scenario calm(std::uint64_t seed) {
    Scenario scenario{seed};
    scenario.phases.clear();
    scenario.lose_before = scenario.lose_after = scenario.answer_504 = scenario.apply_late = 0;
    scenario.cut_reply = scenario.not_written = scenario.not_processed = scenario.moody = 0;
    scenario.deaths = scenario.reboots = scenario.controls = 0;
    scenario.clock_jumps = scenario.refuses_reading = scenario.has_poison = false;
    scenario.missing_conversation = scenario.two_processes = scenario.full_speed = false;
    scenario.list_route = true;
    scenario.device_skew = 0;
    scenario.round_trip = 50;
    return scenario;
}

void check(const Scenario& scenario) {
    const Result result = simulate(scenario);
    CAPTURE(scenario.describe());
    for (const std::string& problem : result.problems) {
        FAIL_CHECK(problem);
    }
}

TEST_CASE("an hour of virtual time takes milliseconds") {
    Scenario scenario = calm(1);
    scenario.records = 20;
    scenario.submits_until = 3'600'000;
    scenario.faults_until = 3'600'000;
    scenario.phases.push_back({Phase::Kind::link_down, 0, 1'800'000});
    const auto began = std::chrono::steady_clock::now();
    const Result result = simulate(scenario);
    const auto took = std::chrono::steady_clock::now() - began;
    CHECK(result.ok());
    CHECK(result.steps < 1'000);  // each some ten microseconds: time that passes costs none
    CHECK(result.delivered == 20);
    CHECK(result.posts == 20);
    CHECK(result.gets == 0);
    MESSAGE("one hour in " << std::chrono::duration_cast<std::chrono::milliseconds>(took).count()
                           << " ms");
}

TEST_CASE("a calm day needs one request a feedback, and nothing else") {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        const Scenario scenario = calm(seed);
        const Result result = simulate(scenario);
        CAPTURE(scenario.describe());
        CHECK(result.ok());
        CHECK(result.posts == static_cast<std::uint64_t>(scenario.records));
        CHECK(result.gets == 0);
    }
}

TEST_CASE("the same seed does the same") {
    for (const std::uint64_t seed : {3U, 5U, 11U}) {
        const Result one = simulate(Scenario{seed});
        const Result two = simulate(Scenario{seed});
        CHECK(one.finished_at == two.finished_at);
        CHECK(one.steps == two.steps);
        CHECK(one.posts == two.posts);
        CHECK(one.gets == two.gets);
    }
}

TEST_CASE("every reply lost after storing: exactly one row each") {
    Scenario scenario = calm(2);
    scenario.records = 20;
    scenario.conversations = 1;
    scenario.different_comments = 1;  // twenty identical feedbacks
    scenario.lose_after = 1'000;
    scenario.faults_until = 3'600'000;
    scenario.submits_until = 1'000;
    check(scenario);
}

TEST_CASE("a route that is removed while the outbox drains, either of them") {
    for (const Phase::Kind kind : {Phase::Kind::old_route_gone, Phase::Kind::new_route_gone}) {
        Scenario scenario = calm(4);
        scenario.records = 40;
        scenario.submits_until = 60'000;
        scenario.faults_until = 40'000'000;
        scenario.phases.push_back({kind, 30'000, 40'000'000});
        const Result result = simulate(scenario);
        CAPTURE(scenario.describe());
        CHECK(result.ok());
        CHECK(result.delivered == 40);
    }
}

TEST_CASE("wall clocks at 1970 and 2099, jumping, and reboots: nothing is stranded") {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Scenario scenario = calm(seed);
        scenario.lose_after = 100;
        scenario.apply_late = 50;
        scenario.clock_jumps = true;
        scenario.deaths = 4;
        scenario.device_skew = (seed % 2 == 0 ? -56LL : 73LL) * 365 * 86'400'000;
        scenario.phases.push_back({Phase::Kind::link_down, 10'000, 400'000});
        check(scenario);
    }
}

TEST_CASE("some hundred random worlds: nothing lost, nothing doubled, in order, in time") {
    for (std::uint64_t seed = 1; seed <= 150; ++seed) {
        check(Scenario{seed});
    }
}

TEST_CASE("worlds that were wrong once") {
    for (const std::uint64_t seed : {
             99U,         // a question for the time was throttled
             5'928U,      // the same
             44'045U,     // four poisons in turn
             118'303U,    // a row came late for a record left to a person
             156'015U,    // reads that failed, and then a refused key: not a key that may not read
             183'918U,    // the same with an unpaid account
             226'338U,    // one the server fails at, alone: sent every three minutes for ever
             294'367U,    // the row of one left to a person was taken for its equal's
             318'283U,    // a proxy's answers counted for what the server's meant
             4'617U,      // an answer to an earlier probe ended a throttle whose time had not come
             222'546U,    // a throttle that was over stayed what the outbox was held for
             910'986U,    // a reading went on beside the probe
             7'300'380U,  // the judge: by two names it is not known whose a row is
         }) {
        Scenario scenario{seed};
        check(scenario);
        scenario.longest_dial = 0;  // as it was then
        scenario.kind_changes = 0;
        scenario.spaced_ids = false;
        check(scenario);
    }
}

TEST_CASE("each deliberate defect is caught for what it does") {
    using delivery::Mutant;
    struct Row {
        Mutant mutant;
        std::string_view problem;  ///< how it begins
    };
    for (const auto& [mutant, problem] : {
             Row{Mutant::resend_without_reading, "doubled: "},
             Row{Mutant::match_known_ids, "lost: "},
             Row{Mutant::claim_after_send, "doubled: "},
             Row{Mutant::one_look_at_once, "doubled: "},
             Row{Mutant::never_withdraw, "Retry-After undercut "},
         }) {
        bool caught = false;
        for (std::uint64_t seed = 1; seed <= 2'000 && !caught; ++seed) {
            Scenario scenario{seed};
            scenario.policy.mutant = mutant;
            const Result result = simulate(scenario);
            caught = std::ranges::any_of(
                result.problems, [&](const std::string& one) { return one.starts_with(problem); });
        }
        CAPTURE(problem);
        CHECK(caught);
    }
}

}  // namespace
}  // namespace agentsight::sim
