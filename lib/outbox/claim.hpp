#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "outbox/record.hpp"
#include "outbox/tables.hpp"

namespace agentsight::outbox {

/// Takes due records from several sources in turn: retries that are due, records another kind of
/// credential had to leave, and behind those, whose conversations they would overtake in, fresh
/// ones. On its way it parks fresh records behind open ones of their conversation. Bounded work a
/// transaction.
class Claimer {
  public:
    Claimer(Tables& tables, const DrainRequest& request, unsigned& rotation);

    /// What was claimed, in order: so many at most.
    std::vector<ClaimedRecord> run(std::size_t most);
    /// Stopped by a bound, or by the number wanted, with candidates left.
    bool more() { return out_of_budget_ || candidates_left(); }

  private:
    enum class Found { claimed, nothing };
    struct Fresh {
        std::int64_t key;
        Lane lane;
    };

    Found step(unsigned source);
    Found next_retry();
    bool has_left_of_kind();
    Found next_of_kind();
    Found next_fresh();
    Found next_just_submitted();
    std::vector<std::int64_t> just_submitted();
    bool is_first_fresh(const RowState& row);
    std::optional<std::int64_t> due_retry();
    bool try_claim(RowState& row);
    void refill();
    bool spend();
    bool candidates_left();
    bool is_mine(Credential::Kind kind) const;

    Tables& tables_;
    const DrainRequest& request_;
    unsigned& rotation_;
    std::vector<Fresh> fresh_;  ///< the first one last
    std::optional<std::vector<std::int64_t>> just_submitted_;
    std::vector<ClaimedRecord> claimed_;
    int budget_;
    bool out_of_budget_ = false;
};

}  // namespace agentsight::outbox
