#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agentsight/events.hpp"
#include "agentsight/options.hpp"
#include "core/exchange.hpp"
#include "core/random.hpp"
#include "delivery/outcome.hpp"
#include "outbox/store.hpp"

namespace agentsight::delivery {

/// Deliberate defects, each of which the simulation must catch. Tests only.
enum class Mutant {
    none,
    resend_without_reading,  ///< an unknown outcome is taken for a failure
    match_known_ids,         ///< a row that another record owns is found again
    claim_after_send,        ///< what was claimed when the process died is taken for unsent
    one_look_at_once,        ///< not there at the first look: sent again
    never_withdraw,          ///< what waits for its connection is sent whatever is learnt
};

/// What the decisions need to know of the options. Milliseconds.
struct Policy {
    int connections = 4;
    Credential::Kind kind = Credential::Kind::none;
    std::string origin;  ///< the endpoint's, see core::Url::origin
    Dialect dialect = Dialect::automatic;
    WhenUnknown when_unknown = WhenUnknown::resend;
    bool stamp_collected_at = true;
    std::int64_t reconcile_after_ms = 120'000;
    std::int64_t not_found_grace_ms = 86'400'000;
    std::int64_t backoff_base_ms = 1'000;
    std::int64_t backoff_cap_ms = 300'000;
    Mutant mutant = Mutant::none;  ///< tests only
};

/// One thing for the shell to do; it answers with finished().
struct Task {
    enum class Kind {
        connect,  ///< make a connection ready (name, TCP, TLS); send nothing
        send,     ///< exchange `request`
    };
    std::uint64_t id = 0;
    Kind kind = Kind::send;
    core::HttpRequest request;
    std::int64_t record = 0;  ///< whose create this is: its key; 0: of none
    Sent sent;                ///< by a create
};

/// An answer that came after its engine was given up: where it proves a delivery the store gets
/// to know; all else is found out by reading. Commits to disk.
void keep_proof(outbox::Store& store, const std::string& origin, std::int64_t record,
                const Sent& sent, const core::Evidence& evidence);

/// All delivery decisions over one store: what to claim and send next, what an answer
/// means, when to look again. Sans I/O: it starts nothing, waits for nothing, knows no
/// socket; the shell executes its tasks, in production with Asio, in the simulator with
/// virtual time. Calls into the store commit to disk. One thread.
///
/// The shell's loop: step(); start its tasks; wait for a finished task, a wake-up (bell,
/// control) or `wake_at`; tell the engine; step() again.
class Engine {
  public:
    Engine(outbox::Store& store, Policy policy, core::Random& random);
    ~Engine();

    struct Step {
        std::vector<Task> start;
        /// When to step again although nothing happened; none: never (no timer is armed).
        std::optional<core::OutboxMs> wake_at;
    };

    /// This process has become the drainer / stops being it. stop() gives unsent claims
    /// back and settles what is finished; tasks in flight must have been finished() or
    /// abandoned (their records stay claimed, and so become unknown).
    void start();
    void stop();

    /// Settles what is finished, claims, decides. At most one commit of its own, but for
    /// `more` (the step is then due again at once: wake_at is now).
    Step step();

    void finished(std::uint64_t task, core::Evidence evidence);

    /// The newest time that a server proved by its certificate, and the newest that this outbox
    /// has ever been told: kept with the next commit, so that a device whose clock says 1970
    /// after each start judges certificates by it.
    void trust_time(core::UtcMs time) noexcept;
    core::UtcMs trusted_time() const noexcept;

    // Control, from the shell's thread.
    void rung() noexcept;                        ///< the bell: the store has news
    void submitted() noexcept;                   ///< this process has submitted: looks when it may
    void set_credential(Credential::Kind kind);  ///< ends holds about credentials; probes at once
    void network_changed();   ///< probes at once (splayed where it ended a hold by itself)
    void release();           ///< ends every hold and its backoff
    void pause(bool paused);  ///< this manager's; claims nothing
    /// flush and drain: stored backoff is ignored, no pacing; Retry-After binds.
    void full_speed(bool on);
    /// Somebody in another process waits: as full_speed(), for half a minute.
    void hurry();
    /// The machine slept: what is in flight is abandoned by the shell; links are unproven.
    void resumed();

    /// Nothing is claimed, due, in flight or to be settled: what flush waits for.
    bool settled() const;
    /// Nothing can be sent until a person or the passing of time ends a hold.
    std::optional<HoldReason> held() const;
    /// Holds that only a person or a new credential ends: `drain` gives up at once.
    bool needs_person() const;

    /// What observers are to be told, in order, since the last call.
    std::vector<Event> take_events();

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace agentsight::delivery
