#pragma once

#include <optional>
#include <vector>

#include "core/random.hpp"
#include "core/time.hpp"
#include "delivery/backoff.hpp"
#include "outbox/record.hpp"

namespace agentsight::delivery {

/// What a hold's cause was, for people.
struct HoldCause {
    HoldReason reason = HoldReason::link_down;
    int status = 0;
    std::string detail;
};

/// The drainer's own holds: why nothing is sent, and when to probe. Several may stand at
/// once; nothing but one probe at a time passes while any does. Pure.
class HoldTable {
  public:
    /// `backoff` is the records' own; what only a person or time can mend is probed from
    /// 60 s up to once an hour, whatever it says.
    explicit HoldTable(Backoff backoff) : backoff_(backoff) {}

    void restore(std::vector<outbox::HoldRow> rows) { rows_ = std::move(rows); }
    const std::vector<outbox::HoldRow>& rows() const { return rows_; }

    bool any() const { return !rows_.empty(); }
    bool has(HoldReason reason) const { return find(reason) != nullptr; }
    const outbox::HoldRow* find(HoldReason reason) const;

    /// Begins the hold: true. Where it stands already: false; once its time has come (a
    /// probe failed) it is prolonged by the next step of the backoff, before that (answers
    /// of what was in flight) nothing changes.
    bool enter(const HoldCause& cause, const core::Moment& moment, core::OutboxMs now,
               core::Random& random);

    struct Throttle {
        core::OutboxMs told;   ///< the server said so; now, where it did not say
        core::OutboxMs until;  ///< never before `told`
    };
    /// As enter(), with a time: neither is ever made earlier by this.
    bool enter_throttle(const HoldCause& cause, Throttle times, const core::Moment& moment);
    /// Until when the server said that nothing is to be sent; binds whatever ends holds.
    std::optional<core::OutboxMs> told() const;

    /// A hold that no time ends.
    bool enter_for_good(const HoldCause& cause, const core::Moment& moment);

    /// Ends it; false where it did not stand.
    bool leave(HoldReason reason);

    /// Makes a hold due now, so that the next step probes. A throttle is never hurried.
    void probe_at_once(HoldReason reason, core::OutboxMs now);
    void probe_all_at_once(core::OutboxMs now);

    /// Makes a throttle due as soon as the server said.
    void hurry_throttle();
    /// No hold ends later than this: for rows read back from a file.
    void limit(core::OutboxMs latest);
    /// A probe failed in a way that says nothing new: each hold whose time has come is
    /// prolonged by the next step of its backoff.
    void prolong_due(core::OutboxMs now, core::Random& random);

    /// When a probe may go: the latest of all. None: nothing but a person ends one of them.
    /// Only to be asked where any() is true.
    std::optional<core::OutboxMs> until() const;
    /// The one that people are shown: the one that ends last.
    std::optional<HoldReason> shown() const;

    /// The backoff goes on where it stood if the hold comes back: set when a probe got
    /// through but nothing has been delivered yet.
    void remember_step(HoldReason reason, int step);
    void forget_steps() { steps_.clear(); }

  private:
    outbox::HoldRow* row_of(HoldReason reason);
    void prolong(outbox::HoldRow& row, core::OutboxMs now, core::Random& random) const;
    std::int64_t wait(HoldReason reason, int step, core::Random& random) const;

    struct Step {
        HoldReason reason;
        int step;
    };

    Backoff backoff_;
    std::vector<outbox::HoldRow> rows_;
    std::vector<Step> steps_;  ///< at most one a reason
};

/// Whether only a person or another credential ends it, though it is probed rarely.
bool needs_person(HoldReason reason);

}  // namespace agentsight::delivery
