#pragma once

#include <cstdint>

#include "core/time.hpp"
#include "outbox/job.hpp"

namespace agentsight::outbox {

/// Where a purge stands in the history: it goes through it once, in small commits.
struct PurgePosition {
    bool discarded = false;  ///< the delivered ones first
    std::int64_t turn = -1;  ///< looked at so far
    bool done = false;
};

/// Removes what was settled before a time, a bounded number of records a commit. The history
/// stands in the order of settling, but a wall clock may have jumped: it is read to its end.
class PurgeJob final : public Job {
  public:
    PurgeJob(core::UtcMs before, const PurgePosition& from)
        : Job(Kind::other, records_a_commit), before_(before), from_(from) {}

    void apply(Tables& tables) override;

    PurgePosition reached;
    std::uint64_t removed = 0;

  private:
    static constexpr std::size_t records_a_commit = 32;
    static constexpr int rows_a_commit = 512;

    void purge_lane(Tables& tables);

    const core::UtcMs before_;
    const PurgePosition from_;
};

}  // namespace agentsight::outbox
