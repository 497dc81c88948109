#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agentsight/error.hpp"
#include "agentsight/export.hpp"
#include "agentsight/feedback.hpp"
#include "agentsight/options.hpp"
#include "agentsight/status.hpp"

namespace agentsight {

/// One try to send, as the history keeps it (bounded; the newest are kept).
struct Attempt {
    UtcMilliseconds began;
    UtcMilliseconds ended;
    std::string outcome;        ///< the class, for instance "unknown", "throttled"
    std::optional<int> status;  ///< none without a response
    std::string detail;         ///< the server's words or the failure, bounded, printable
};

/// One record as `list` and `show` see it.
struct Record {
    std::string id;
    RecordState state = RecordState::waiting;
    std::string conversation_id;     ///< the business id; empty where `conversation` is set
    std::uint64_t conversation = 0;  ///< the database id; 0 where `conversation_id` is set
    Sentiment sentiment = Sentiment::neutral;
    std::string comment;        ///< empty: none
    std::string metadata_json;  ///< JSON object as text; empty: none
    Credential::Kind credential_kind = Credential::Kind::none;
    UtcMilliseconds submitted_at = 0;
    std::optional<UtcMilliseconds> due_at;
    std::optional<UtcMilliseconds> delivered_at;
    int attempts = 0;
    std::string server_id;  ///< empty: none known
    std::optional<int> last_status;
    std::string last_error;        ///< empty: none
    bool left_to_person = false;   ///< unknown, and only `resolve` decides it
    std::vector<Attempt> history;  ///< filled by get()
};

/// Which records. Unset members do not restrict.
struct Filter {
    std::optional<RecordState> state;
    std::optional<std::string> conversation_id;
    std::optional<std::uint64_t> conversation;
    std::optional<UtcMilliseconds> since;  ///< submitted at or after
    std::string after;                     ///< a record's id: only those behind it in the order
    bool newest_first = false;             ///< the order turned round, for `after` too
};

/// A feedback from elsewhere, another outbox's export for instance, with what is known of it
/// beyond its content. A view, as Feedback is.
struct ImportedFeedback {
    Feedback feedback;
    std::optional<UtcMilliseconds> submitted_at = std::nullopt;  ///< none: now
    Credential::Kind credential_kind = Credential::Kind::none;   ///< it was submitted under
    /// Claimed or unknown where it comes from: kept as `unknown` and left to a person, as only
    /// that outbox could have reconciled it.
    bool may_have_arrived = false;
    /// A dead letter where it comes from, and so here: not sent unless someone requeues it.
    bool is_dead = false;
    int attempts = 0;  ///< counted where it comes from; negative ones count as none
    /// The last failure there, as Record has it. Of the words the first 300 bytes are kept,
    /// without what they repeat of the feedback.
    std::optional<int> last_status = std::nullopt;
    std::string_view last_error = {};
    /// The attempts there, oldest first, as Record has them; the newest 20 are kept.
    std::span<const Attempt> history = {};
};

/// Feedbacks for Outbox::submit_many, each validated and copied when it is added: on any
/// thread, so that one batch can be filled while another is committed. One thread at a time.
class AGENTSIGHT_API FeedbackBatch {
  public:
    FeedbackBatch();
    /// Of the options, those that limit a feedback (Options::max_metadata_bytes).
    explicit FeedbackBatch(const Options& options);
    ~FeedbackBatch();
    FeedbackBatch(FeedbackBatch&&) noexcept;
    FeedbackBatch& operator=(FeedbackBatch&&) noexcept;

    /// Throws Error where the feedback breaks a rule, and has added nothing then.
    void add(const ImportedFeedback& feedback);
    std::size_t size() const noexcept;

  private:
    friend class Outbox;
    class Impl;
    std::unique_ptr<Impl> impl_;
};

/// What became of one of submit_many's feedbacks.
struct SubmitOutcome {
    Receipt receipt;
    std::error_code error;  ///< none: durable
    std::string message;    ///< for people, where `error`; nothing of the feedback's text
};

enum class OutboxMode {
    read_only,   ///< never writes, never blocks a submit
    read_write,  ///< the file must exist
    create,      ///< as read_write, made where missing (missing folders too)
};

/// What Outbox::compact did: sizes of the database and its WAL, in bytes.
struct Compacted {
    std::uint64_t bytes_before = 0;
    std::uint64_t bytes_after = 0;
};

/// What Outbox::verify_report found.
struct VerifyReport {
    std::vector<std::string> problems;  ///< a sentence each, never with a record's text
    /// False: SQLite's own check of the file's pages was given up; all else was done.
    bool file_checked = true;
};

/// What Outbox::salvage did.
struct Salvage {
    std::uint64_t rescued = 0;  ///< records in the fresh outbox
    /// Known to have been accepted, and not readable any more: at least so many, as what stood at
    /// the end of a file that was cut off leaves no trace.
    std::uint64_t lost = 0;
    std::filesystem::path moved_to;  ///< the damaged file, whole; empty: sound, left as it was
};

/// Inspects and operates an outbox, also while an application has it open; sends
/// nothing. One thread at a time. Every member throws Error. What changes records is
/// durable on return and wakes the drainer.
class AGENTSIGHT_API Outbox {
  public:
    /// Of the events, Options::observer sees event::Salvaged and event::Dropped, on the
    /// thread that called: the mode `create` moves a damaged file aside by itself.
    explicit Outbox(const std::filesystem::path& path, OutboxMode mode = OutboxMode::read_only,
                    const Options& options = {});
    ~Outbox();
    Outbox(Outbox&&) noexcept;
    Outbox& operator=(Outbox&&) noexcept;

    /// Where the default options put the outbox of `application` (Options::outbox_path).
    static std::filesystem::path default_path(const std::string& application = {});

    Status status() const;
    Status counts() const { return status(); }

    /// At most `limit` records, oldest first unless the filter turns it round; page on with
    /// Filter::after. Short read transactions: never pins the WAL.
    std::vector<Record> list(const Filter& filter, std::size_t limit) const;

    /// Calls `visit` with every record of the filter, in pages; stops when it says false.
    void for_each(const Filter& filter, const std::function<bool(const Record&)>& visit) const;

    /// One record with its history. Throws errc::not_found.
    Record get(std::string_view id) const;

    /// How many records the filter has. Exact; reads an index, or the records.
    std::uint64_t count(const Filter& filter) const;

    /// Commits one feedback exactly as ConversationManager does; the record is of the
    /// kind `none`, sent under whatever credential the drainer has.
    Receipt submit(const Feedback& feedback);

    /// Throws what submit() would of a feedback that breaks a rule; touches no file.
    static void validate(const Feedback& feedback, const Options& options = {});

    /// Commits many as submit() does each, in commits of at most 256, which is many times
    /// faster; other submits go between two commits. An outcome for each, in order: one's
    /// failure is not another's. After a crash some of them may be there; those with ids can
    /// be submitted again.
    std::vector<SubmitOutcome> submit_many(const FeedbackBatch& feedbacks);

    /// dead -> waiting, behind everything else; unknown -> waiting only with `force`
    /// (a possible duplicate). Else errc::refused_state.
    void requeue(std::string_view id, bool force = false);

    /// Erases the text and counts the record as discarded. An unknown record only with
    /// `force`; a claimed one never while a drainer lives. Else errc::refused_state.
    void discard(std::string_view id, bool force = false);

    /// A person settles an unknown record: it did arrive, or it is to be sent again.
    void resolve_delivered(std::string_view id, std::string_view server_id = {});
    void resolve_resend(std::string_view id);

    /// What contradicts itself, a sentence each, never with a record's text: SQLite's own
    /// check of the file, the ledger against a recount, the order of conversations. Empty:
    /// all is well. Reads every record, in short read transactions. SQLite's check is one long
    /// read: given up, and all else done, where others write more than 8 MiB meanwhile.
    std::vector<std::string> verify() const;
    /// The same, and whether SQLite's check came to its end.
    VerifyReport verify_report() const;

    /// Removes the history of records delivered, or discarded, before `before`, and with it
    /// their text from the database and its WAL; files that a salvage moved aside keep
    /// theirs. In small commits: submits go on between them. Returns how many. The counts
    /// of `status` stay; an id of the caller's that was removed is free again. Throws
    /// errc::busy where another program kept an old state of the file in use for
    /// Options::busy_timeout: the records are gone, their text may not be; purge again.
    std::uint64_t purge(UtcMilliseconds before);

    /// Gives the space that nothing uses back to the file system, in small commits: submits
    /// go on between them. Needs no space of its own but a little of the WAL's.
    Compacted compact();

    /// Moves the file of a damaged outbox aside, whole, and rescues what is readable of it
    /// into a fresh one, as `unknown` where it may have been sent. Works also while an
    /// application has the outbox open; it goes on with the fresh one. A file in which
    /// nothing contradicts itself stays as it is, unless `even_if_sound`. Throws
    /// errc::no_such_file, errc::foreign_file or errc::newer_schema, nothing changed.
    static Salvage salvage(const std::filesystem::path& path, const Options& options = {},
                           bool even_if_sound = false);

    /// Stops sending, durably, until release(), which ends every hold and its backoff, but for a
    /// `Retry-After` that still runs and a credential that is missing.
    void hold();
    void release();

  private:
    class AGENTSIGHT_HIDDEN Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace agentsight
