#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "outbox/job.hpp"
#include "outbox/record.hpp"

namespace agentsight::outbox {

/// What a drainer carries from transaction to transaction; lost with it, without harm.
struct DrainMemory {
    unsigned rotation = 0;          ///< which source is asked first
    std::int64_t owned_origin = 0;  ///< where pruning of owned server ids goes on
    std::string owned_id;
    /// Claimed by a commit whose outcome nobody knows, and not yet told to the drainer. Of this
    /// epoch: told twice, a record would be sent twice.
    std::vector<std::int64_t> tentative;
};

/// First step of a new drainer: fences the one before, makes its claims unknown.
class BeginJob final : public Job {
  public:
    BeginJob() : Job(Kind::other) {}
    void apply(Tables& tables) override;

    std::int64_t epoch = 0;
    DrainState state;
};

/// Settles, then claims, in one transaction.
class DrainJob final : public Job {
  public:
    /// `epoch` is this drainer's. Only the `last` job of a request saves and claims.
    DrainJob(const DrainRequest& request, std::span<const Settlement> settlements, bool last,
             std::int64_t epoch, DrainMemory& memory);
    void apply(Tables& tables) override;
    void committed() noexcept override;

    DrainReply reply;
    bool fenced = false;  ///< another process has become the drainer

  private:
    void settle(Tables& tables, const Settlement& settlement);
    void keep_second_id(Tables& tables, const RowState& row, const Settlement& settlement);
    void deliver(Tables& tables, RowState& row, const Settlement& settlement);
    void claim(Tables& tables);
    void claim_again(Tables& tables);
    void prune(Tables& tables);
    void prune_owned(Tables& tables, int budget);

    const DrainRequest& request_;
    std::span<const Settlement> settlements_;
    bool last_;
    std::int64_t epoch_;
    DrainMemory& memory_;
};

/// Makes a record delivered, whatever it was; false where another owns that server id.
bool mark_delivered(Tables& tables, RowState& row, const std::string& server_id,
                    std::optional<core::UtcMs> server_time, const std::string& origin);

DrainState drain_state(sqlite::Database& database, const Ledger& ledger);

}  // namespace agentsight::outbox
