#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agentsight/options.hpp"
#include "delivery/engine.hpp"
#include "support/test_random.hpp"

namespace agentsight::sim {

/// Virtual milliseconds since the simulation began: the true time of the world.
using Time = std::int64_t;

/// Something is wrong with the world from `from` until `to`.
struct Phase {
    enum class Kind {
        link_down,       ///< no connection; what is in flight breaks
        portal,          ///< every answer is a hotel's page: 200, 302 or 511
        proxy_auth,      ///< 407 to everything
        outage_before,   ///< 5xx, nothing stored
        outage_after,    ///< 504, stored
        hang,            ///< no answer at all; half of it stored
        throttle,        ///< 429 with Retry-After
        key_invalid,     ///< 401
        unpaid,          ///< the other 401
        old_route_gone,  ///< /api/conversation-feedbacks/ is a 404 in HTML
        new_route_gone,  ///< so is /api/feedbacks/
        stale_list,      ///< reads show rows of a while ago
        reads_fail,      ///< 500 to every GET
        restart,         ///< connections break at once, new ones succeed
    };
    Kind kind = Kind::link_down;
    Time from = 0;
    Time to = 0;
};

/// Everything one run does, drawn from one seed.
struct Scenario {
    explicit Scenario(std::uint64_t seed);

    bool active(Phase::Kind kind, Time at) const;
    std::string describe() const;

    std::uint64_t seed;
    int records = 0;
    int conversations = 1;
    int different_comments = 1;
    Time submits_until = 0;
    Time faults_until = 0;  ///< afterwards the world is well
    std::vector<Phase> phases;

    // Per request, in a thousand.
    int lose_before = 0;    ///< the request never arrives
    int lose_after = 0;     ///< stored, the reply is lost
    int answer_504 = 0;     ///< stored, a gateway says 504
    int apply_late = 0;     ///< the gateway gives up, the row comes up to 90 s later
    int cut_reply = 0;      ///< stored, the reply breaks in the middle
    int not_written = 0;    ///< the connection was dead before the first byte
    int not_processed = 0;  ///< 408, 421 or 425
    int moody = 0;          ///< 429 and 503 with Retry-After in all its forms, or without
    Time round_trip = 20;
    Time list_lag = 0;       ///< of a stale list
    Time database_skew = 0;  ///< created_at against Date
    Time late_by = 90'000;

    int deaths = 0;              ///< of the process
    bool on_crash_disk = false;  ///< which loses what was not synced, in the middle of anything
    int reboots = 0;             ///< of those, with the machine
    Time device_skew = 0;        ///< the device's wall clock against the truth
    bool clock_jumps = false;
    bool full_speed = false;

    bool list_route = true;        ///< the newer read API exists
    bool refuses_reading = false;  ///< the key may not read: a documented cause of doubles
    bool has_poison = false;       ///< some feedback is refused, one by a firewall
    bool missing_conversation = false;
    int controls = 0;            ///< what people and the system tell the library meanwhile
    bool two_processes = false;  ///< both submit, one drains, the other takes over
    Time longest_dial = 0;       ///< of a request that has to make its connection first
    bool spaced_ids = false;     ///< some ids have white space around them, which says nothing
    int kind_changes = 0;        ///< the credential becomes one of the other kind, and back

    delivery::Policy policy;
};

}  // namespace agentsight::sim
