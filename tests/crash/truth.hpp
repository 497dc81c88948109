#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agentsight/status.hpp"
#include "core/uuid.hpp"
#include "outbox/record.hpp"
#include "outbox/store.hpp"

namespace agentsight::test {

/// Where a record may be found.
enum class Place { absent, waiting, claimed, unknown, left, dead, delivered, discarded, dropped };

/// A set of places.
class Places {
  public:
    Places() = default;
    Places(Place place) : bits_{bit(place)} {}
    bool has(Place place) const { return (bits_ & bit(place)) != 0; }
    bool is_only(Place place) const { return bits_ == bit(place); }
    void add(Place place) { bits_ |= bit(place); }

  private:
    static unsigned bit(Place place) { return 1u << static_cast<unsigned>(place); }
    unsigned bits_ = 0;
};

/// One record as the caller of the store knows it.
struct Known {
    outbox::Submission submission;
    std::uint64_t order = 0;     ///< in the order submitted
    Place seen = Place::absent;  ///< what the store shows to this process
    Places allowed;              ///< what may be found after a stop
};

/// All that was acknowledged, and what a call under way may have done: what the store is
/// judged by. A value: copied at every cut.
class Truth {
  public:
    using Records = std::map<core::Uuid, Known>;

    const Records& records() const { return records_; }
    Known& at(const core::Uuid& id) { return records_.at(id); }
    std::vector<core::Uuid> ids_in(Place place) const;
    /// The waiting record that `drop_oldest` takes next.
    std::optional<core::Uuid> oldest_waiting() const;
    std::size_t open_count() const;
    /// The greatest id the library has made.
    core::Uuid last_own_id() const;

    // --- a call begins -------------------------------------------------------------------
    void may_become(const core::Uuid& id, Place place);
    /// A submit with the caller's id, or without: then whoever finds it names it.
    void may_appear(const outbox::Submission& submission);
    /// Any waiting record may be claimed, at most so many.
    void may_claim(std::size_t count);

    /// A purge: settled records may be gone.
    void may_lose_history() { history_may_go_ = true; }

    /// Submits of several threads: their commits come in any order.
    void in_any_order() { in_order_ = false; }

    // --- and ends ------------------------------------------------------------------------
    void appeared(const core::Uuid& id, const outbox::Submission& submission);
    void became(const core::Uuid& id, Place place);
    /// One of several submits under way has returned.
    void settled(const outbox::Submission& submission);
    /// The call has returned: what the process sees is what a stop must leave. Every commit
    /// syncs all before it.
    void acknowledged();
    /// This one was acknowledged although nothing was committed: it must be durable.
    void acknowledged(const core::Uuid& id);

    /// Where the store is looked at.
    enum class Seen {
        after_power_cut,  ///< what is there is durable
        after_kill,       ///< what is there may be in the page cache alone
        after_failure,    ///< of a call: what it would have done may still appear after a stop
    };
    /// What is wrong in the store; empty: nothing. Takes over what is seen.
    std::string compare(outbox::Store& store, std::uint64_t keep_delivered, Seen seen);

    /// Forgets, but for their number, the records whose rows are gone.
    void forget_gone(outbox::Store& store);

    /// What the call under way would submit.
    const std::vector<outbox::Submission>& in_flight() const { return in_flight_; }

  private:
    std::string compare_record(const Record& record, std::vector<bool>& found_in_flight);
    std::string compare_missing(const Known& known) const;
    std::string compare_status(const Status& status) const;

    Records records_;
    std::vector<outbox::Submission> in_flight_;
    std::size_t claims_in_flight_ = 0;
    std::uint64_t next_order_ = 1;
    bool in_order_ = true;
    bool history_may_go_ = false;
    core::Uuid last_before_;  ///< the last id of the library's at the last comparison
    std::uint64_t forgotten_delivered_ = 0;
    std::uint64_t forgotten_discarded_ = 0;
};

bool same_content(const Record& record, const core::Feedback& feedback);

}  // namespace agentsight::test
