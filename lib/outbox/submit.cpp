#include "outbox/submit.hpp"

#include <algorithm>

#include "outbox/schema.hpp"

namespace agentsight::outbox {

namespace {

std::size_t text_bytes(std::span<const Submission> submissions) {
    std::size_t bytes = 0;
    for (const Submission& submission : submissions) {
        bytes += submission.feedback.conversation.value.size() +
                 submission.feedback.comment.size() + submission.feedback.metadata.size();
    }
    return bytes;
}

std::optional<std::int64_t> oldest_waiting(Tables& tables) {
    sqlite::Rows rows = tables.database().query(
        "SELECT key FROM record WHERE key >= ? AND lane <= 3 ORDER BY key LIMIT 1",
        tables.ledger().low_key);
    return rows.next() ? std::optional{rows.integer(0)} : std::nullopt;
}

/// Of one that comes from elsewhere, not before it was submitted there: see first_key_since().
core::UtcMs time_for_id(const Tables& tables, const Submission& submission) {
    return std::max(tables.moment().utc_ms, submission.submitted.value_or(0));
}

void drop(Tables& tables, std::int64_t key) {
    RowState row = existing_row(tables.database(), key);
    // Through a lane that counts nothing: its conversation gets its next head.
    tables.move(row, Lane::discarded);
    --tables.ledger().discarded;
    --tables.ledger().kept_discarded;
    ++tables.ledger().dropped;
    tables.remove(row);
}

/// Beyond the text: the rest of the row, and the pages of a tree that grows by one.
constexpr std::int64_t pages_beside_text = 8;

std::int64_t pages_for(std::size_t text_bytes) {
    return static_cast<std::int64_t>(text_bytes) / page_size + pages_beside_text;
}

}  // namespace

SubmitJob::SubmitJob(std::span<const Submission> submissions, core::Random& random,
                     const OnSubmitted& on_submitted)
    : Job(Kind::submit, submissions.size(), text_bytes(submissions)),
      submissions_(submissions),
      random_(random),
      on_submitted_(on_submitted),
      results_(submissions.size()) {
    for (std::size_t i = 0; i < submissions.size(); ++i) {
        if (submissions[i].id) {
            results_[i].id = *submissions[i].id;
            results_[i].has_id = true;
        }
    }
}

void SubmitJob::apply(Tables& tables) {
    makes_work = false;
    dropped = 0;
    core::DrawnAhead ahead{random_};
    core::Random& random = submissions_.size() == 1 ? random_ : ahead;
    for (std::size_t i = 0; i < submissions_.size(); ++i) {
        apply_one(tables, random, submissions_[i], results_[i]);
    }
    ran_before_ = true;
}

void SubmitJob::committed() noexcept {
    if (!on_submitted_) {
        return;
    }
    for (const SubmitResult& result : results_) {
        if (result.stored) {
            on_submitted_(result.id);
        }
    }
}

void SubmitJob::apply_one(Tables& tables, core::Random& random, const Submission& submission,
                          SubmitResult& result) {
    // By a commit that failed, or whose outcome is unknown.
    const bool stored_before = ran_before_ && result.stored;
    result.error = {};
    result.message.clear();
    result.stored = false;
    const bool made_before = ran_before_ && result.has_id && !submission.id;
    if (submission.id || made_before) {
        if (const auto key = tables.find(result.id)) {
            const RowState row = existing_row(tables.database(), *key);
            if (!made_before &&
                row.fingerprint != fingerprint(submission.feedback, tables.salt())) {
                result.error = errc::id_conflict;
                result.message = "this id names a record with other content; use a new id";
            } else if (stored_before) {
                result.stored = true;  // that commit did reach the disk; nobody was told of it
                makes_work = true;
            }
            return;
        }
    }
    if (!make_room(tables, submission, result)) {
        return;
    }
    const core::Uuid id =
        made_before && result.id > tables.last_id()
            ? result.id
            : core::next_uuid_v7(tables.last_id(), time_for_id(tables, submission), random);
    const std::int64_t key = tables.insert(id, submission);
    if (submission.may_have_arrived || submission.is_dead || submission.was_attempted()) {
        RowState row = existing_row(tables.database(), key);
        row.attempts = submission.attempts;
        row.last_status = submission.last_status;
        row.last_error = submission.last_error;
        tables.move(row, submission.is_dead            ? Lane::dead
                         : submission.may_have_arrived ? Lane::left
                                                       : row.lane);
        for (const AttemptNote& note : submission.history) {
            tables.note_attempt(key, note);
        }
    }
    if (!submission.id) {
        result.id = id;
        result.has_id = true;
    }
    result.stored = true;
    makes_work = true;
}

/// Where nothing may be dropped, `max_bytes` is SQLite's to enforce: the commit finds the file
/// full.
bool SubmitJob::make_room(Tables& tables, const Submission& submission, SubmitResult& result) {
    const bool drops = tables.limits().when_full == WhenFull::drop_oldest;
    const auto drop_oldest = [&] {
        const auto key = oldest_waiting(tables);
        if (key) {
            drop(tables, *key);
            ++dropped;
        }
        return key.has_value();
    };
    if (drops) {
        // What is settled first: it was said to whoever wanted to know.
        const std::int64_t pages = pages_for(text_bytes({&submission, 1}));
        while (tables.database().pages_left() < pages &&
               (tables.remove_oldest(Lane::delivered) || tables.remove_oldest(Lane::discarded) ||
                drop_oldest())) {
        }
    }
    if (tables.open_records() < tables.limits().max_records || (drops && drop_oldest())) {
        return true;
    }
    result.error = errc::outbox_full;
    result.message = "the outbox has reached max_records; let it drain, or raise the limit";
    return false;
}

}  // namespace agentsight::outbox
