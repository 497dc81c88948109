#pragma once

#include <vector>

#include "agentsight/outbox.hpp"
#include "core/feedback.hpp"
#include "outbox/record.hpp"

namespace agentsight {

/// Validated, as the store takes it. Throws Error where a rule is broken.
outbox::Submission prepared(const ImportedFeedback& given, const core::ValidationLimits& limits);

class FeedbackBatch::Impl {
  public:
    explicit Impl(const Options& options) : limits{options.max_metadata_bytes} {}

    core::ValidationLimits limits;
    std::vector<outbox::Submission> submissions;
};

}  // namespace agentsight
