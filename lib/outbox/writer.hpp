#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "agentsight/error.hpp"
#include "agentsight/events.hpp"
#include "core/random.hpp"
#include "core/time.hpp"
#include "os/lock_file.hpp"
#include "os/no_fork.hpp"
#include "outbox/files.hpp"
#include "outbox/job.hpp"
#include "outbox/store.hpp"
#include "outbox/tables.hpp"
#include "sqlite/database.hpp"

namespace agentsight::outbox {

/// Commits batches of jobs through the one writing connection. Only the commit queue's
/// leader calls it. Every commit and every checkpoint runs under the lock between
/// processes, whatever SQLite's version: that is what makes its WAL safe to reset.
class Writer {
  public:
    /// `close_readers` ends this store's other connections: while one is open, SQLite goes on
    /// with the shared memory that somebody removed.
    Writer(const StoreOptions& options, const Files& files, const core::Clock& clock,
           core::Random& random, Axis& axis, std::function<void()> close_readers);

    /// Who else may have the outbox open.
    enum class Company {
        possible,
        none_yet,  ///< nobody had: what an unclean stop left is checked
        none,      ///< nor can anybody open it meanwhile: an older schema is migrated
    };
    /// Makes the first connection. Throws Error.
    void open(Company company);

    /// Commits all that can be committed; a job's `error` says why not. Jobs whose deadline
    /// is still ahead although the lock was not free are returned, to be tried again. Runs
    /// `before_telling` once the commit is on disk, where it made work.
    std::vector<Job*> commit(std::span<Job* const> jobs,
                             const std::function<void()>& before_telling);
    /// Checkpoints where the WAL has grown past its bound. After the jobs were told.
    void after_telling() noexcept;

    /// Something looked damaged: checks it all, and salvages where it is. Throws Error.
    void examine();

    /// Moves the WAL into the database, empties it, gives free pages back. Throws Error.
    void tidy();
    /// Gives back a few free pages in one commit; true where there are more. Throws Error.
    bool give_back_space();
    /// Moves the WAL into the database and empties it; false where a reader is in the way.
    /// Throws Error.
    bool empty_log();

    /// Checks everything and moves the file aside where anything contradicts itself, or
    /// `even_if_sound`; what opening it has moved aside counts. Throws Error.
    Salvage salvage_on_demand(bool even_if_sound);
    /// `last`: no other process has the outbox open; then nothing is left in the WAL.
    void close(bool last) noexcept;

    std::uint64_t commits() const noexcept { return commits_.load(std::memory_order_acquire); }
    std::vector<Event> take_events();
    const Tables& tables() const { return tables_; }

  private:
    bool lock(std::chrono::steady_clock::time_point deadline);
    void unlock() noexcept;
    std::chrono::milliseconds time_left() const;
    Error held(std::string_view doing_what) const;
    static std::vector<Job*> put_off(std::span<Job* const> jobs, const Error& error);
    void ensure_open();
    void reopen();
    void connect();
    void connect_or_salvage();
    void move_aside_and_rescue();
    void under_lock(std::string_view doing, const std::function<void()>& work);
    bool vacuum_step();
    void restore_ballast();
    bool check_finds_damage(const char* check);
    void settle_log();
    void transact(std::span<Job* const> jobs);
    bool commit_together(std::span<Job* const> jobs);
    bool commit_alone(Job& job);
    bool may_try_again(const sqlite::Failure& failure, const Job& job, int tries);
    bool move_log();
    bool make_room(const Job& job);
    bool still_tight();
    void close_what_may_go() noexcept;
    void close_before_fork() noexcept;
    void recover(const sqlite::Failure& failure) noexcept;
    Error error_of(const sqlite::Failure& failure, const Job& job);
    bool quota_reached(std::size_t bytes);
    void watch_files();
    void watch_log();
    void leave_replaced_files();
    void keep_log(const Identities& now);
    void bring_over(sqlite::Database& old);

    const StoreOptions& options_;
    const Files& files_;
    const core::Clock& clock_;
    core::Random& random_;
    Axis& axis_;
    std::function<void()> close_readers_;
    os::LockFile lock_file_;
    sqlite::Database database_;
    os::BeforeFork before_fork_{[this] { close_before_fork(); }};
    Tables tables_;
    Identities identities_;
    /// Of waiting for others' locks, SQLite's too.
    std::chrono::steady_clock::time_point deadline_;
    std::optional<os::NoFork> locked_;  ///< with the lock: all that SQLite does here is under it
    bool log_is_settled_ = false;
    bool suspect_ = false;          ///< SQLite called the file malformed while it was open
    int checkpoint_at_ = 0;         ///< frames
    bool log_is_told_ = false;      ///< that it has grown
    bool reserve_is_open_ = false;  ///< of this connection, beyond the quota
    bool release_ballast_ = false;
    bool ballast_back_ = false;
    std::chrono::steady_clock::time_point next_ballast_try_;
    std::atomic<std::uint64_t> commits_{0};
    std::vector<Event> events_;
    std::optional<Salvage> salvaged_;  ///< what this writer moved aside last
};

}  // namespace agentsight::outbox
