#include "feedback_batch.hpp"

#include <algorithm>

#include "core/masking.hpp"
#include "core/text.hpp"
#include "core/throw_error.hpp"
#include "core/uuid.hpp"

namespace agentsight {

outbox::Submission prepared(const ImportedFeedback& given, const core::ValidationLimits& limits) {
    const auto refuse = [&](std::error_code problem) {
        core::throw_error(static_cast<errc>(problem.value()),
                          core::validation_message(problem, limits));
    };
    const Feedback& feedback = given.feedback;
    outbox::Submission submission;
    if (!feedback.id.empty()) {
        submission.id = core::Uuid::parse(feedback.id);
        if (!submission.id) {
            refuse(errc::record_id_invalid);
        }
    }
    submission.kind = given.credential_kind;
    submission.submitted = given.submitted_at;
    submission.may_have_arrived = given.may_have_arrived;
    submission.is_dead = given.is_dead;
    submission.attempts = std::max(given.attempts, 0);
    submission.last_status = given.last_status;
    const core::FeedbackInput input{
        feedback.conversation, feedback.sentiment, feedback.comment, feedback.metadata_json, {}};
    if (const auto problem = core::validate(input, limits, submission.feedback)) {
        refuse(problem);
    }
    const auto words = [&](std::string_view said) {
        return said.empty() ? std::string{}
                            : core::printable(core::masked(said, submission.feedback));
    };
    submission.last_error = words(given.last_error);
    const std::size_t kept = std::min(given.history.size(), outbox::max_attempts_kept);
    for (const Attempt& attempt : given.history.last(kept)) {
        submission.history.push_back({attempt.began, attempt.ended, words(attempt.outcome),
                                      attempt.status, words(attempt.detail)});
    }
    return submission;
}

FeedbackBatch::FeedbackBatch() : FeedbackBatch(Options{}) {}
FeedbackBatch::FeedbackBatch(const Options& options) : impl_(std::make_unique<Impl>(options)) {}
FeedbackBatch::~FeedbackBatch() = default;
FeedbackBatch::FeedbackBatch(FeedbackBatch&&) noexcept = default;
FeedbackBatch& FeedbackBatch::operator=(FeedbackBatch&&) noexcept = default;

void FeedbackBatch::add(const ImportedFeedback& feedback) {
    impl_->submissions.push_back(prepared(feedback, impl_->limits));
}

std::size_t FeedbackBatch::size() const noexcept {
    return impl_->submissions.size();
}

}  // namespace agentsight
