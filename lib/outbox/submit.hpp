#pragma once

#include <functional>
#include <span>
#include <vector>

#include "core/random.hpp"
#include "outbox/job.hpp"
#include "outbox/record.hpp"

namespace agentsight::outbox {

/// Inserts records that are not there yet, each with its own result. Idempotent by id, also
/// over a commit whose outcome is unknown: the ids it made are looked up before it inserts
/// again.
class SubmitJob final : public Job {
  public:
    using OnSubmitted = std::function<void(const core::Uuid&)>;  ///< see StoreOptions

    SubmitJob(std::span<const Submission> submissions, core::Random& random,
              const OnSubmitted& on_submitted);

    void apply(Tables& tables) override;
    void committed() noexcept override;

    std::span<SubmitResult> results() { return results_; }

  private:
    void apply_one(Tables& tables, core::Random& random, const Submission& submission,
                   SubmitResult& result);
    bool make_room(Tables& tables, const Submission& submission, SubmitResult& result);

    std::span<const Submission> submissions_;
    core::Random& random_;
    const OnSubmitted& on_submitted_;
    std::vector<SubmitResult> results_;
    bool ran_before_ = false;
};

}  // namespace agentsight::outbox
