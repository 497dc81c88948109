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

#include "agentsight/outbox.hpp"
#include "core/random.hpp"
#include "core/time.hpp"
#include "core/uuid.hpp"
#include "outbox/record.hpp"
#include "outbox/schema_version.hpp"

namespace agentsight::outbox {

struct StoreOptions {
    std::filesystem::path path;
    OutboxMode mode = OutboxMode::create;
    std::chrono::milliseconds busy_timeout{5'000};
    Durability durability = Durability::power_cut;
    std::uint64_t max_records = 1'000'000;
    std::uint64_t max_bytes = std::uint64_t{1} << 30;
    WhenFull when_full = WhenFull::refuse;
    std::uint64_t keep_delivered = 10'000;
    bool allow_network_file_system = false;
    const char* vfs = nullptr;     ///< SQLite's own seam; null: its default
    Schema schema = our_schema();  ///< another's only in tests

    /// After every commit that makes work for the drainer, before anybody is told of it.
    std::function<void()> on_work;
    /// Each record once it is stored, before the drainer can claim it, and so with the outbox
    /// locked: it must not call the store, nor throw.
    std::function<void(const core::Uuid& id)> on_submitted;
    /// Things to tell people: salvage, dropped records. Called without locks held.
    std::function<void(const Event&)> on_event;
};

/// A file at `path`, or a salvage of it cut short. Throws Error (no_such_file): asking for a
/// salvage makes no outbox.
void require_something_to_salvage(const std::filesystem::path& path);

/// The durable queue. Any thread may call any member; all writes go through one commit
/// queue (the caller that finds it free leads and commits for all that wait), one writing
/// connection, one lock between processes that also covers checkpoints. Throws
/// agentsight::Error. After fork(2) the child's calls throw errc::forked.
///
/// After a crash at any point: every acknowledged record is there; what was claimed is
/// still `claimed` and begin_draining() makes it unknown.
class Store {
  public:
    Store(StoreOptions options, const core::Clock& clock, core::Random& random);
    ~Store();
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;

    /// Closes the file; later calls throw errc::closed. Bounded by the commit in progress.
    void close() noexcept;

    // --- submit: any thread, durable on return -------------------------------------------
    SubmitResult submit(const Submission& submission);
    /// All in one commit where they fit; results in order, each its own.
    std::vector<SubmitResult> submit_many(std::span<const Submission> submissions,
                                          std::size_t a_commit = 64);

    // --- the drainer ----------------------------------------------------------------------
    /// Takes the drain lock; false where another process has it.
    bool try_become_drainer();
    /// False also where a cleaner replaced the lock file and another process drains now.
    bool is_drainer();
    void stop_being_drainer() noexcept;
    /// First step of a new drainer: every claimed record (of a dead process) becomes
    /// unknown, due now. Returns what the last drainer remembered.
    DrainState begin_draining();
    /// Settles and claims in one transaction. At most 32 settlements a commit; more are split.
    DrainReply drain(DrainRequest request);
    /// Unknown records due by now, oldest due first; at most `limit`. Reads only.
    std::vector<ClaimedRecord> due_unknowns(std::size_t limit, bool ignore_due = false);
    /// Records of a conversation that are unknown (not left), in the order submitted: of more
    /// than 256, as a salvage may leave, those that are due first.
    std::vector<ClaimedRecord> unknowns_of(const core::ConversationKey& conversation);
    /// Which of these server ids of `origin` a record of ours owns.
    std::vector<std::string> owned(const std::string& origin, std::span<const std::string> ids);
    /// A row of ours delivered to this conversation within the window, for the positive control.
    std::optional<std::string> known_row(const core::ConversationKey& conversation,
                                         const std::string& origin, core::UtcMs since);

    // --- people, and the tool -------------------------------------------------------------
    Status status();
    std::vector<Record> list(const Filter& filter, std::size_t limit);
    Record get(std::string_view id);
    RecordState state_of(std::string_view id);
    std::uint64_t count(const Filter& filter);
    /// What contradicts itself, a sentence each: SQLite's integrity check, the ledger against
    /// a recount, the order of conversations. Reads everything; empty: all is well.
    VerifyReport verify_report();
    std::vector<std::string> verify() { return verify_report().problems; }
    void requeue(std::string_view id, bool force);
    void discard(std::string_view id, bool force);
    void resolve_delivered(std::string_view id, std::string_view server_id);
    void resolve_resend(std::string_view id);
    void hold();
    void release();

    /// Now, on the axis of due times.
    core::OutboxMs now() const;
    core::Moment moment() const;
    /// The files' common name: `path()` + "-lock", "-bell", "-alive".
    const std::filesystem::path& path() const;

    /// A settled record's state may have changed: grows with every commit of this process.
    std::uint64_t commits() const noexcept;
    /// Checkpoints with TRUNCATE and vacuums a little; for an idle drainer.
    void tidy();

    // --- space, privacy, damage: see agentsight::Outbox ------------------------------------
    std::uint64_t purge(core::UtcMs before);
    Compacted compact();
    /// Of a store of the mode `create`, which may have salvaged when it was opened.
    Salvage salvage(bool even_if_sound);

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace agentsight::outbox
