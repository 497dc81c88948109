#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "agentsight/detail/metadata.hpp"
#include "agentsight/error.hpp"
#include "agentsight/export.hpp"
#include "agentsight/feedback.hpp"
#include "agentsight/options.hpp"
#include "agentsight/status.hpp"

namespace agentsight {

/// The caller's own name for a record, a UUID as text: submitting twice with the
/// same id and content stores one record (the second receipt says stored == false).
struct RecordId {
    std::string_view value;
};

/// Takes feedback, keeps it, delivers it. Any thread may call any member; only one
/// process of those that open the same outbox delivers, all may submit. After fork(2)
/// a child's calls fail with errc::forked: it makes a manager of its own.
class AGENTSIGHT_API ConversationManager {
  public:
    /// Opens or creates the outbox and starts the worker's thread; does not touch the
    /// network. Throws Error (invalid_option, or why the file cannot be used).
    explicit ConversationManager(Options options = {});

    /// close(Options::close_deadline).
    ~ConversationManager();

    ConversationManager(const ConversationManager&) = delete;
    ConversationManager& operator=(const ConversationManager&) = delete;

    /// Validates, commits, returns. On return the record is on stable storage
    /// (Options::durability) and will be delivered once, however long that takes.
    /// Never waits for the network; waits at most for the commit in progress and its
    /// own. Throws Error; after io_error or busy, submit again with Error::id.
    ///
    /// `comment`: at most 5000 Unicode code points; empty is omitted. `metadata`: a
    /// JSON object or null, at most 100 levels deep.
    Receipt submit_feedback(const ConversationRef& conversation, const SentimentRef& sentiment,
                            const CommentRef& comment = {},
                            const nlohmann::json& metadata = nullptr) {
        return submit_json({conversation, sentiment, comment.text(), {}, {}}, metadata, nullptr);
    }

    /// The same without exceptions: on failure fills `ec`; the receipt then holds the
    /// record's id where one was made, else nothing.
    Receipt submit_feedback(const ConversationRef& conversation, const SentimentRef& sentiment,
                            const CommentRef& comment, const nlohmann::json& metadata,
                            std::error_code& ec) {
        return submit_json({conversation, sentiment, comment.text(), {}, {}}, metadata, &ec);
    }
    Receipt submit_feedback(const ConversationRef& conversation, const SentimentRef& sentiment,
                            const CommentRef& comment, std::error_code& ec) {
        return submit({conversation, sentiment, comment.text(), {}, {}}, {}, &ec);
    }
    Receipt submit_feedback(const ConversationRef& conversation, const SentimentRef& sentiment,
                            std::error_code& ec) {
        return submit({conversation, sentiment, std::nullopt, {}, {}}, {}, &ec);
    }

    /// With an id of the caller's: safe to repeat until it succeeds. The same id with
    /// other content is errc::id_conflict.
    Receipt submit_feedback(RecordId id, const ConversationRef& conversation,
                            const SentimentRef& sentiment, const CommentRef& comment = {},
                            const nlohmann::json& metadata = nullptr) {
        return submit_json({conversation, sentiment, comment.text(), {}, checked(id)}, metadata,
                           nullptr);
    }
    Receipt submit_feedback(RecordId id, const ConversationRef& conversation,
                            const SentimentRef& sentiment, const CommentRef& comment,
                            const nlohmann::json& metadata, std::error_code& ec) {
        return submit_json({conversation, sentiment, comment.text(), {}, checked(id)}, metadata,
                           &ec);
    }
    Receipt submit_feedback(RecordId id, const ConversationRef& conversation,
                            const SentimentRef& sentiment, std::optional<std::string_view> comment,
                            std::error_code& ec) {
        return submit({conversation, sentiment, comment, {}, checked(id)}, {}, &ec);
    }
    Receipt submit_feedback(RecordId id, const ConversationRef& conversation,
                            const SentimentRef& sentiment, std::error_code& ec) {
        return submit({conversation, sentiment, std::nullopt, {}, checked(id)}, {}, &ec);
    }

    /// The same with metadata as JSON text, which is also refused when it is not JSON,
    /// names a member twice, or holds an integer outside -2^63 ... 2^64-1.
    Receipt submit_feedback(const Feedback& feedback) { return submit(feedback, {}, nullptr); }
    Receipt submit_feedback(const Feedback& feedback, std::error_code& ec) {
        return submit(feedback, {}, &ec);
    }

    /// Runs exactly once, also at close. `receipt` is empty on failure but for its id.
    using SubmitCallback = std::function<void(std::error_code, const Receipt&)>;

    /// For threads that must not wait for a disk: validates and copies here, commits on
    /// the worker's thread, then runs `callback` (may be empty; there, or through
    /// Options::dispatch). Until then the record is in memory only. What is refused at once (a
    /// broken rule, errc::busy when 1,024 are queued, errc::closed) calls back before this returns.
    void async_submit_feedback(const ConversationRef& conversation, const SentimentRef& sentiment,
                               const CommentRef& comment, const nlohmann::json& metadata,
                               SubmitCallback callback) {
        std::string text;
        const std::error_code problem = detail::metadata_text(metadata, text);
        async_submit({conversation, sentiment, comment.text(), text, {}}, problem,
                     std::move(callback));
    }
    void async_submit_feedback(const ConversationRef& conversation, const SentimentRef& sentiment,
                               const CommentRef& comment, SubmitCallback callback) {
        async_submit({conversation, sentiment, comment.text(), {}, {}}, {}, std::move(callback));
    }
    void async_submit_feedback(const ConversationRef& conversation, const SentimentRef& sentiment,
                               SubmitCallback callback) {
        async_submit({conversation, sentiment, std::nullopt, {}, {}}, {}, std::move(callback));
    }
    void async_submit_feedback(const Feedback& feedback, SubmitCallback callback) {
        async_submit(feedback, {}, std::move(callback));
    }

    /// Sends what is due now, at full speed, and waits until everything due is settled:
    /// true. False at the deadline, or at once where only a person or a new credential can
    /// go on, and inside a callback, where the worker cannot wait for itself. Not due is what
    /// another kind of credential must send, and what is unknown, between two looks: see wait().
    bool flush(std::chrono::milliseconds deadline);

    /// Waits until the record is settled (delivered, dead, discarded), or the deadline;
    /// returns the state it then has; at once inside a callback. Throws errc::not_found.
    RecordState wait(std::string_view id, std::chrono::milliseconds deadline);
    RecordState wait(std::string_view id, std::chrono::milliseconds deadline, std::error_code& ec);

    /// The outbox now. One short read transaction.
    Status stats() const;

    /// Stops and restarts this manager's sending; not durable. Submits go on.
    void pause();
    void resume();

    /// Replaces the credential and, where holds were about it, sends again at once.
    /// Throws errc::invalid_option for a value with CR, LF or NUL.
    void set_credential(Credential credential);

    /// Tells the worker that the network may have come back: probes at once.
    void network_changed();

    /// Stops sending, gives unsent claims back, runs what is queued, joins the worker:
    /// returns at the latest 200 ms after the deadline (a disk sync in progress excepted).
    /// What was in flight is unknown and will be reconciled. Idempotent. Inside a callback it
    /// only asks for the end, which comes after the callback.
    void close(std::chrono::milliseconds deadline);

  private:
    class AGENTSIGHT_HIDDEN Impl;

    Receipt submit_json(Feedback feedback, const nlohmann::json& metadata, std::error_code* ec) {
        std::string text;
        const std::error_code problem = detail::metadata_text(metadata, text);
        feedback.metadata_json = text;
        return submit(feedback, problem, ec);
    }
    /// An empty id given on purpose must fail, not be replaced by the library's.
    static std::string_view checked(RecordId id) {
        return id.value.empty() ? std::string_view{"-"} : id.value;
    }
    Receipt submit(const Feedback& feedback, std::error_code metadata_problem, std::error_code* ec);
    void async_submit(const Feedback& feedback, std::error_code metadata_problem,
                      SubmitCallback callback);

    std::unique_ptr<Impl> impl_;
};

/// The process-wide manager, configured from the environment, made at the first call.
/// Never destroyed; closed at exit. A forked child gets one of its own. Throws like the
/// constructor, and tries again at the next call.
AGENTSIGHT_API ConversationManager& conversation_manager();

}  // namespace agentsight
