#include "scenario.hpp"

#include <algorithm>
#include <sstream>

namespace agentsight::sim {

namespace {

constexpr Time minute = 60'000;

Time between(test::TestRandom& random, Time low, Time high) {
    return low + static_cast<Time>(random.below(static_cast<std::uint64_t>(high - low + 1)));
}

int maybe(test::TestRandom& random, int often_in_ten, int most) {
    return static_cast<int>(random.below(10)) < often_in_ten
               ? static_cast<int>(between(random, 1, most))
               : 0;
}

const char* name(Phase::Kind kind) {
    static constexpr const char* names[] = {
        "link_down",      "portal",   "proxy_auth", "outage_before", "outage_after",
        "hang",           "throttle", "key",        "unpaid",        "old_route_gone",
        "new_route_gone", "stale",    "reads",      "restart"};
    return names[static_cast<int>(kind)];
}

}  // namespace

Scenario::Scenario(std::uint64_t seed_given) : seed(seed_given) {
    // Mixed, because neighbouring states of this generator draw the same numbers, shifted.
    test::TestRandom random{test::TestRandom{seed}.next()};
    const auto one_in = [&random](std::uint64_t n) { return random.below(n) == 0; };
    records = static_cast<int>(between(random, 1, one_in(4) ? 60 : 15));
    conversations = static_cast<int>(between(random, 1, 6));
    different_comments = one_in(2) ? 1 : static_cast<int>(between(random, 1, 20));
    faults_until = between(random, minute, 40 * minute);
    submits_until = between(random, 1, faults_until);

    const int calm = static_cast<int>(random.below(3));  // 0: lossy, 1: some, 2: none
    if (calm < 2) {
        lose_before = maybe(random, 5, 100 - 40 * calm);
        lose_after = maybe(random, 5, 150 - 60 * calm);
        answer_504 = maybe(random, 4, 100);
        apply_late = maybe(random, 4, 100);
        cut_reply = maybe(random, 3, 80);
        not_written = maybe(random, 3, 80);
        not_processed = maybe(random, 2, 60);
        moody = maybe(random, 2, 60);
    }
    round_trip = one_in(3) ? between(random, 1, 3'000) : between(random, 1, 200);
    database_skew = between(random, -8'000, 8'000);

    const int phase_count = static_cast<int>(random.below(6));
    for (int i = 0; i < phase_count; ++i) {
        Phase phase;
        phase.kind = static_cast<Phase::Kind>(random.below(14));
        phase.from = between(random, 0, faults_until);
        const Time length =
            one_in(3) ? between(random, 100, 30'000) : between(random, 1'000, 20 * minute);
        phase.to = std::min(phase.from + length, faults_until);
        if (phase.kind == Phase::Kind::restart) {
            phase.to = std::min(phase.from + 200, faults_until);
        }
        phases.push_back(phase);
    }
    list_lag = between(random, 1'000, 50'000);

    deaths = one_in(2) ? static_cast<int>(between(random, 1, 6)) : 0;
    for (int i = 0; i < deaths; ++i) {
        reboots += one_in(4) ? 1 : 0;
    }
    clock_jumps = one_in(4);
    device_skew =
        one_in(4) ? between(random, -50LL * 365 * 24 * 60 * minute, 70LL * 365 * 24 * 60 * minute)
                  : between(random, -10 * minute, 10 * minute);
    full_speed = one_in(5);
    list_route = !one_in(4);
    refuses_reading = one_in(25);
    has_poison = one_in(6);
    missing_conversation = one_in(10);
    controls = one_in(3) ? static_cast<int>(between(random, 1, 12)) : 0;
    two_processes = one_in(4);

    policy.connections = static_cast<int>(between(random, 1, one_in(3) ? 8 : 4));
    policy.kind = Credential::Kind::api_key;
    policy.origin = "https://api.example";
    policy.not_found_grace_ms = 30 * minute;
    if (one_in(4)) {
        policy.backoff_cap_ms = 30'000;
    }
    // Reading refused: at most once only where a person decides.
    policy.when_unknown =
        refuses_reading && one_in(2) ? WhenUnknown::leave_to_person : WhenUnknown::resend;
    // Of one process: what another's page cache holds survives no kill of ours.
    on_crash_disk = one_in(8) && !two_processes;
    if (on_crash_disk) {
        deaths += 1;
    }
    // Drawn last, so that what was found in earlier worlds is found in them still.
    longest_dial = one_in(2) ? between(random, 50, 6'000) : 0;
    kind_changes = one_in(8) && !has_poison ? static_cast<int>(between(random, 1, 6)) : 0;
    spaced_ids = one_in(8);
}

bool Scenario::active(Phase::Kind kind, Time at) const {
    return std::ranges::any_of(phases, [&](const Phase& phase) {
        return phase.kind == kind && phase.from <= at && at < phase.to;
    });
}

std::string Scenario::describe() const {
    std::ostringstream text;
    text << "seed " << seed << ": " << records << " records, " << conversations
         << " conversations, " << policy.connections << " connections, faults "
         << faults_until / 1000 << " s, lose " << lose_before << "/" << lose_after << " 504 "
         << answer_504 << " late " << apply_late << " cut " << cut_reply << " unwritten "
         << not_written << " rtt " << round_trip << " deaths " << deaths << " reboots " << reboots
         << " skew " << device_skew / 1000 << (list_route ? "" : " old-read")
         << (refuses_reading ? " no-read" : "") << (has_poison ? " poison" : "")
         << (missing_conversation ? " missing" : "") << (two_processes ? " two" : "")
         << (on_crash_disk ? " crash-disk" : "") << " controls " << controls << " dial "
         << longest_dial << (spaced_ids ? " spaced" : "") << " kinds " << kind_changes
         << (full_speed ? " full" : "") << ";";
    for (const Phase& phase : phases) {
        text << ' ' << name(phase.kind) << '[' << phase.from / 1000 << ',' << phase.to / 1000
             << ']';
    }
    return text.str();
}

}  // namespace agentsight::sim
