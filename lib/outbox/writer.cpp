#include "outbox/writer.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "outbox/connect.hpp"
#include "outbox/errors.hpp"
#include "outbox/salvage.hpp"
#include "outbox/schema.hpp"
#include "outbox/verify.hpp"

namespace agentsight::outbox {

namespace {

using std::chrono::steady_clock;

/// What settling needs on a full disk: all that the log holds may be new pages of the database, and
/// a log that cannot be moved there cannot be written from its beginning either. Twice 96 KiB
/// more are for a batch that has just begun a log, and for what settling itself adds.
constexpr std::uint64_t ballast_bytes =
    std::uint64_t{checkpoint_frames} * page_size + 2 * 96 * 1024;
/// Pages that settling may use beyond the quota.
constexpr std::int64_t reserved_pages = 256;
/// A commit of unknown outcome is looked up and tried again this often, then reported.
constexpr int max_tries = 3;
constexpr std::chrono::seconds ballast_pause{1};
/// A check reads it all: this much in about 0.2 s.
constexpr std::uint64_t largest_checked_file = std::uint64_t{64} << 20;

/// Of the log: sixteen times its bound.
constexpr int alarming_frames = 16 * checkpoint_frames;

/// Free pages given back a commit: a submitter waits for one.
constexpr std::int64_t pages_a_step = 64;

constexpr std::string_view doing = "write to";

bool storage_is_at_fault(const sqlite::Failure& failure) {
    switch (failure.trouble()) {
        case sqlite::Trouble::full:
        case sqlite::Trouble::constraint:
        case sqlite::Trouble::interrupted:
        case sqlite::Trouble::other:
            return false;  // perhaps only for this job
        default:
            return true;
    }
}

auto most_urgent(std::span<Job* const> jobs) {
    return std::min_element(jobs.begin(), jobs.end(),
                            [](Job* a, Job* b) { return a->deadline < b->deadline; });
}

}  // namespace

Writer::Writer(const StoreOptions& options, const Files& files, const core::Clock& clock,
               core::Random& random, Axis& axis, std::function<void()> close_readers)
    : options_(options),
      files_(files),
      clock_(clock),
      random_(random),
      axis_(axis),
      close_readers_(std::move(close_readers)),
      lock_file_(files.lock),
      tables_(database_, {.max_records = options.max_records,
                          .when_full = options.when_full,
                          .keep_delivered = options.keep_delivered,
                          .newest_schema = newest(options.schema)}) {}

bool Writer::lock(steady_clock::time_point deadline) {
    deadline_ = deadline;
    if (!locked_ &&
        lock_file_.lock(os::LockFile::Range::commit, os::LockFile::Mode::exclusive, time_left())) {
        locked_.emplace();
    }
    return locked_.has_value();
}

std::chrono::milliseconds Writer::time_left() const {
    return std::max(
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - steady_clock::now()),
        std::chrono::milliseconds{0});
}

Error Writer::held(std::string_view doing_what) const {
    return Error{errc::busy, "cannot " + std::string{doing_what} + " " + quoted(files_.database) +
                                 ": another process holds its lock; try again"};
}

void Writer::unlock() noexcept {
    if (locked_) {
        locked_.reset();
        lock_file_.unlock(os::LockFile::Range::commit);
    }
}

void Writer::open(Company company) {
    if (!lock(steady_clock::now() + options_.busy_timeout)) {
        throw held("open");
    }
    try {
        const std::uint64_t wal = os::file_size(files_.wal);
        reopen();
        // After an unclean stop, as far as it takes no noticeable time.
        if (company != Company::possible && wal > 0 &&
            os::file_size(files_.database) <= largest_checked_file &&
            check_finds_damage("PRAGMA quick_check(1)")) {
            suspect_ = true;
            reopen();
        }
        if (company == Company::none) {
            migrate(database_, options_.schema);
        }
        sqlite::Transaction transaction{database_};
        tables_.begin(clock_.now());
        axis_.follow(tables_.ledger());
    } catch (...) {
        const Error error = to_error(std::current_exception(), "open", files_.database);
        close(false);
        throw error;
    }
    if (!os::identity(files_.ballast)) {
        os::allocate_file(files_.ballast, ballast_bytes);
    }
    unlock();
}

void Writer::reopen() {
    database_.close();
    tables_.forget();
    if (options_.mode == OutboxMode::create) {
        connect_or_salvage();
    } else if (salvage_is_pending(files_)) {
        throw_cannot("use", files_.database, errc::damaged,
                     "it was damaged and is not yet salvaged; run "
                     "`agentsight-outbox salvage`");
    } else {
        connect();
    }
    identities_ = identities(files_);
    checkpoint_at_ = checkpoint_frames;
}

void Writer::connect() {
    database_ = connect_writer(options_, files_, random_, time_left());
    settle_log();
}

/// What a log shows when it is opened may be in the page cache alone (its process died before
/// the sync, or the sync failed), and the padding of its last sector may be missing. Before
/// anybody is told of it, or anything written behind it, it goes into the database, and on the
/// disk the log is emptied: one that ends earlier there would be played back over the newer
/// pages after a power cut.
void Writer::settle_log() {
    log_is_settled_ = false;
    try {
        if (database_.checkpoint(sqlite::Database::Checkpoint::truncate)) {
            os::sync_file(files_.wal);
            log_is_settled_ = true;
        }
    } catch (const sqlite::Failure& failure) {
        // No space to move it; the next commit will sync it where it is.
        if (failure.trouble() != sqlite::Trouble::full) {
            throw;
        }
    }
}

void Writer::connect_or_salvage() {
    if (!salvage_is_pending(files_)) {
        try {
            connect();
            // A read that failed may look like damage; a second look tells.
            if (!std::exchange(suspect_, false) || find_contradictions(database_).empty()) {
                return;
            }
        } catch (...) {
            const Error error = to_error(std::current_exception(), "open", files_.database);
            if (error.code() != errc::damaged) {
                throw;
            }
        }
    }
    move_aside_and_rescue();
    deadline_ = std::max(deadline_, steady_clock::now() + options_.busy_timeout);  // it took long
    connect();
}

void Writer::move_aside_and_rescue() {
    database_.close();
    tables_.forget();
    const Salvaged salvaged = salvage(options_, files_, clock_, random_);
    events_.push_back(event::Salvaged{salvaged.rescued, salvaged.moved_to.string()});
    if (salvaged.lost > 0) {
        events_.push_back(event::Alarm{std::to_string(salvaged.lost) +
                                       " records of the damaged outbox could not be read"});
    }
    salvaged_ = Salvage{salvaged.rescued, salvaged.lost, salvaged.moved_to};
}

bool Writer::check_finds_damage(const char* check) {
    try {
        return database_.text(check) != "ok";
    } catch (const sqlite::Failure& failure) {
        if (failure.trouble() != sqlite::Trouble::damaged) {
            throw;
        }
        return true;
    }
}

void Writer::ensure_open() {
    if (!lock(deadline_)) {
        throw sqlite::Failure::io("its lock was removed in the middle, and another process has it");
    }
    if (database_.is_open() && identities(files_) != identities_) {
        leave_replaced_files();
    }
    if (!database_.is_open()) {
        reopen();
    } else if (!log_is_settled_) {
        settle_log();  // a reader or a full disk kept it from being emptied
    }
}

std::vector<Job*> Writer::commit(std::span<Job* const> jobs,
                                 const std::function<void()>& before_telling) {
    std::vector<Job*> later;
    std::span<Job* const> rest = jobs;  // of unknown outcome
    try {
        if (!lock((*most_urgent(jobs))->deadline)) {
            throw held(doing);
        }
        ensure_open();
        if (!commit_together(jobs)) {
            std::exception_ptr at_fault;  // what keeps all from being stored
            for (; !rest.empty(); rest = rest.subspan(1)) {
                Job& job = *rest.front();
                deadline_ = (*most_urgent(rest))->deadline;
                if (at_fault) {
                    job.error = at_fault;
                } else if (!commit_alone(job)) {
                    at_fault = job.error;
                }
            }
        }
    } catch (...) {
        const Error error = to_error(std::current_exception(), doing, files_.database);
        later = put_off(rest, error);
    }
    for (Job* job : jobs) {
        if (!job->error) {
            job->committed();
        }
    }
    const bool work = std::any_of(jobs.begin(), jobs.end(),
                                  [](Job* job) { return job->makes_work && !job->error; });
    if (work && before_telling) {
        try {
            before_telling();
        } catch (...) {
            // They are stored, and each will be told so; another process hears of them later.
        }
    }
    return later;
}

/// Each has the error now; where it is that of a lock that was not free, those who have time left
/// may try again, all but the one whose time it was.
std::vector<Job*> Writer::put_off(std::span<Job* const> jobs, const Error& error) {
    std::vector<Job*> later;
    const auto now = steady_clock::now();
    const auto first = most_urgent(jobs);
    for (auto job = jobs.begin(); job != jobs.end(); ++job) {
        (*job)->error = std::make_exception_ptr(error);
        if (error.code() == errc::busy && job != first && (*job)->deadline > now) {
            later.push_back(*job);
        }
    }
    return later;
}

bool Writer::commit_together(std::span<Job* const> jobs) {
    if (jobs.size() == 1) {
        return false;
    }
    try {
        transact(jobs);
        return true;
    } catch (const sqlite::Failure& failure) {
        recover(failure);
        if (failure.trouble() == sqlite::Trouble::busy) {
            throw;
        }
    } catch (...) {
        tables_.forget();
    }
    return false;
}

bool Writer::commit_alone(Job& job) {
    for (int tries = 1;; ++tries) {
        try {
            if (tries > 1 || !database_.is_open()) {
                ensure_open();
            }
            transact(std::array{&job});
            return true;
        } catch (const sqlite::Failure& failure) {
            recover(failure);
            if (failure.trouble() == sqlite::Trouble::busy) {
                throw;
            }
            if (may_try_again(failure, job, tries)) {
                continue;
            }
            job.error = std::make_exception_ptr(error_of(failure, job));
            return !storage_is_at_fault(failure);
        } catch (...) {
            tables_.forget();
            job.error =
                std::make_exception_ptr(to_error(std::current_exception(), doing, files_.database));
            return true;
        }
    }
}

bool Writer::may_try_again(const sqlite::Failure& failure, const Job& job, int tries) {
    if (tries >= max_tries) {
        return false;
    }
    switch (failure.trouble()) {
        case sqlite::Trouble::full:
            return make_room(job);
        case sqlite::Trouble::damaged:
            return options_.mode == OutboxMode::create && !std::exchange(suspect_, true);
        case sqlite::Trouble::io:
            return true;  // reopened by now: the job finds what the failed commit left
        default:
            return false;
    }
}

/// The log into the database: then the next commit writes the log from its beginning, and needs
/// no space for it.
bool Writer::move_log() {
    try {
        return database_.wal_frames() > 0 &&
               database_.checkpoint(sqlite::Database::Checkpoint::passive);
    } catch (const sqlite::Failure& failure) {
        recover(failure);
        return false;
    }
}

/// A full disk must not keep us from writing "delivered"; only submits are refused.
bool Writer::make_room(const Job& job) {
    if (job.kind() == Job::Kind::submit || !database_.is_open()) {
        return false;
    }
    if (quota_reached(0)) {
        const std::int64_t with_reserve = quota_pages(options_) + reserved_pages;
        if (database_.integer("PRAGMA max_page_count") < with_reserve) {
            database_.integer("PRAGMA max_page_count=" + std::to_string(with_reserve));
            reserve_is_open_ = true;
            return true;
        }
    }
    release_ballast_ = true;
    const bool released = os::remove_file(files_.ballast);
    return move_log() || released;
}

/// While the ballast is out, submits must not eat the space it left for settling.
bool Writer::still_tight() {
    const auto now = steady_clock::now();
    if (now < next_ballast_try_) {
        return true;
    }
    next_ballast_try_ = now + ballast_pause;
    ballast_back_ = os::allocate_file(files_.ballast, ballast_bytes);
    return !ballast_back_;
}

void Writer::transact(std::span<Job* const> jobs) {
    database_.wait_at_most(time_left());
    sqlite::Transaction transaction{database_};
    tables_.begin(clock_.now());
    const bool submits = std::any_of(jobs.begin(), jobs.end(),
                                     [](Job* job) { return job->kind() == Job::Kind::submit; });
    if (submits && std::exchange(reserve_is_open_, false)) {
        database_.integer("PRAGMA max_page_count=" + std::to_string(quota_pages(options_)));
    }
    if (tables_.ledger().tight && submits && still_tight()) {
        throw sqlite::Failure::full("the disk is full");
    }
    for (Job* job : jobs) {
        job->error = nullptr;
        job->apply(tables_);
    }
    if (release_ballast_) {
        tables_.ledger().tight = true;
    } else if (ballast_back_) {
        tables_.ledger().tight = false;
    }
    if (!log_is_settled_) {
        tables_.write_anyway();  // an answer about what is there must not be given before a sync
    }
    if (!tables_.finish()) {
        return;
    }
    transaction.commit();
    tables_.committed();
    log_is_settled_ = true;
    release_ballast_ = false;
    ballast_back_ = false;
    axis_.follow(tables_.ledger());
    commits_.fetch_add(1, std::memory_order_acq_rel);
    watch_files();
}

void Writer::recover(const sqlite::Failure& failure) noexcept {
    tables_.forget();
    const bool doubtful = failure.trouble() == sqlite::Trouble::io ||
                          failure.trouble() == sqlite::Trouble::damaged ||
                          failure.trouble() == sqlite::Trouble::cannot_open;
    // A connection that could not even roll back believes in a transaction that is not there.
    if (database_.in_transaction()) {
        database_.close();
    } else if (doubtful) {
        close_what_may_go();
    }
}

/// It is opened again with the next try, or the next job. Of files that are gone the connection
/// alone still has what was acknowledged: it stays.
void Writer::close_what_may_go() noexcept {
    if (identities(files_) == identities_) {
        database_.close();
    }
}

/// A child would take this connection's locks, and its shared memory, for its own. One to a
/// database that is gone stays: the child can open none to that, and it alone has what is there.
void Writer::close_before_fork() noexcept {
    if (identities(files_).database == identities_.database) {
        database_.close();
    }
}

bool Writer::quota_reached(std::size_t bytes) {
    if (!database_.is_open()) {
        return false;
    }
    return database_.pages_left() * page_size < static_cast<std::int64_t>(bytes) + 32 * page_size;
}

Error Writer::error_of(const sqlite::Failure& failure, const Job& job) {
    try {
        if (failure.trouble() == sqlite::Trouble::full && quota_reached(job.bytes())) {
            return Error{errc::outbox_full, "cannot write to " + quoted(files_.database) +
                                                ": it has reached max_bytes; let it drain, or "
                                                "raise the limit"};
        }
    } catch (const sqlite::Failure&) {
        // Then it is the disk, as the failure says.
    }
    return to_error(failure, doing, files_.database);
}

/// Another program's close may have dropped SQLite's locks, a cleaner may have unlinked the
/// files: what was just committed would then be gone with this process. Without its lock file
/// another process may have checkpointed meanwhile, which SQLite does not survive: what is there
/// is looked up again, under the lock that others know.
void Writer::watch_files() {
    if (identities(files_) != identities_) {
        leave_replaced_files();
        throw sqlite::Failure::io("the file was replaced or removed");
    }
    if (!lock_file_.is_at_its_path()) {
        database_.close();
        unlock();
        throw sqlite::Failure::io("its lock file was replaced or removed");
    }
}

/// The old handle still reads all that was ever acknowledged; it goes where the path leads now.
void Writer::leave_replaced_files() {
    const Identities now = identities(files_);
    tables_.forget();
    close_readers_();
    if (now.database == identities_.database) {
        keep_log(now);
        database_.close();
        events_.push_back(event::Alarm{
            "the outbox's -wal or -shm was replaced or removed while it was open; opened again"});
        return;
    }
    const Identities left = identities_;
    sqlite::Database old = std::move(database_);
    try {
        bring_over(old);
    } catch (...) {
        // It holds what was acknowledged, and nothing else does: the next commit tries again,
        // before it writes anything.
        database_ = std::move(old);
        identities_ = left;
        throw;
    }
}

/// The database is where it was. A log that somebody unlinked is moved into it; where another
/// process has begun a new one meanwhile, what only the old one holds is kept beside it.
void Writer::keep_log(const Identities& now) {
    if (now.wal == identities_.wal) {
        return;  // the next connection reads it
    }
    if (os::file_size(files_.wal) == 0 &&
        database_.checkpoint(sqlite::Database::Checkpoint::passive)) {
        return;
    }
    const auto aside = name_aside(files_, clock_.now().utc_ms);
    os::create_private_file(aside);
    database_.copy_to(aside, options_.vfs);
    events_.push_back(
        event::Alarm{"the outbox's -wal was replaced while it was open; all that "
                     "was in it is kept in " +
                     quoted(aside)});
}

/// Nothing stands there: it is made again, whole. Another file does: one that goes on with what
/// we had (its salt is ours: salvaged, or made again by another process) has all of it; beside
/// one made anew it is kept.
void Writer::bring_over(sqlite::Database& old) {
    if (!os::identity(files_.database) && !salvage_is_pending(files_)) {
        os::remove_file(files_.wal);
        os::remove_file(files_.shm);
        os::create_private_file(files_.database);
        try {
            old.copy_to(files_.database, options_.vfs);
        } catch (...) {
            os::remove_file(files_.database);
            throw;
        }
        events_.push_back(
            event::Alarm{"the outbox was removed while it was open; it was made again, whole"});
        return;
    }
    const Salt salt = read_ledger(old).salt;
    reopen();
    if (read_ledger(database_).salt == salt) {
        return;
    }
    const auto aside = name_aside(files_, clock_.now().utc_ms);
    os::create_private_file(aside);
    old.copy_to(aside, options_.vfs);
    events_.push_back(
        event::Alarm{"the outbox was replaced by another while it was open; the "
                     "one before is kept in " +
                     quoted(aside)});
}

void Writer::after_telling() noexcept {
    if (!locked_) {
        return;
    }
    try {
        watch_log();
        if (database_.is_open() && database_.wal_frames() >= checkpoint_at_ &&
            lock_file_.is_at_its_path()) {
            const bool whole = database_.checkpoint(sqlite::Database::Checkpoint::passive);
            // A reader holds it back: not again at every commit.
            checkpoint_at_ = whole ? checkpoint_frames : database_.wal_frames() + checkpoint_frames;
        }
    } catch (const sqlite::Failure& failure) {
        recover(failure);
    } catch (const std::bad_alloc&) {
        // Then it is said after the next commit.
    }
    unlock();
}

/// A read without end, in whatever program, keeps the log from beginning anew: once each time it
/// grows far beyond its bound, somebody is told.
void Writer::watch_log() {
    if (database_.wal_frames() < checkpoint_frames) {
        checkpoint_at_ = checkpoint_frames;
        log_is_told_ = false;
    } else if (database_.wal_frames() >= alarming_frames && !log_is_told_) {
        events_.push_back(event::Alarm{"the outbox's -wal has grown beyond " +
                                       std::to_string(alarming_frames * page_size >> 20) +
                                       " MiB: a program keeps an old state of it in use; it "
                                       "shrinks once that ends"});
        log_is_told_ = true;
    }
}

void Writer::under_lock(std::string_view doing_what, const std::function<void()>& work) {
    if (!lock(steady_clock::now() + options_.busy_timeout)) {
        throw held(doing_what);
    }
    database_.wait_at_most(time_left());
    try {
        work();
        unlock();
    } catch (const sqlite::Failure& failure) {
        recover(failure);
        unlock();
        throw to_error(failure, doing_what, files_.database);
    } catch (...) {
        unlock();
        rethrow_as_error(doing_what, files_.database);
    }
}

void Writer::examine() {
    under_lock("check", [this] {
        if (database_.is_open() && identities(files_) != identities_) {
            leave_replaced_files();
        }
        suspect_ = true;
        reopen();
    });
}

Salvage Writer::salvage_on_demand(bool even_if_sound) {
    under_lock("salvage", [&] {
        ensure_open();
        if (salvaged_ || (!even_if_sound && find_contradictions(database_).empty())) {
            return;
        }
        move_aside_and_rescue();
        reopen();
    });
    return salvaged_.value_or(Salvage{});
}

/// True where there is more to give back.
bool Writer::vacuum_step() {
    const std::int64_t free = database_.integer("PRAGMA freelist_count");
    if (free == 0) {
        return false;
    }
    database_.script("PRAGMA incremental_vacuum(" + std::to_string(pages_a_step) + ")");
    tables_.forget();
    // It may leave the last few: pages at the file's end that cannot move.
    const std::int64_t left = database_.integer("PRAGMA freelist_count");
    return left > 0 && left < free;
}

void Writer::restore_ballast() {
    if (!os::identity(files_.ballast)) {
        os::allocate_file(files_.ballast, ballast_bytes);
    }
}

void Writer::tidy() {
    if (!lock(steady_clock::now() + options_.busy_timeout)) {
        return;  // others work: then it is not idle
    }
    under_lock("tidy", [this] {
        ensure_open();
        vacuum_step();
        database_.checkpoint(sqlite::Database::Checkpoint::truncate);
        restore_ballast();
    });
}

bool Writer::give_back_space() {
    bool more = false;
    under_lock("compact", [&] {
        ensure_open();
        more = vacuum_step();
        if (database_.wal_frames() >= checkpoint_frames) {
            database_.checkpoint(sqlite::Database::Checkpoint::passive);
        }
    });
    return more;
}

bool Writer::empty_log() {
    bool empty = false;
    under_lock("write to", [&] {
        ensure_open();
        empty = database_.checkpoint(sqlite::Database::Checkpoint::truncate);
    });
    return empty;
}

void Writer::close(bool last) noexcept {
    try {
        // What is in the WAL stays there for the next open unless the lock is free now; what is
        // in files that are gone is rescued now or never.
        const bool replaced = database_.is_open() && identities(files_) != identities_;
        const auto patience = replaced ? options_.busy_timeout : std::chrono::milliseconds{0};
        if (database_.is_open() && lock(steady_clock::now() + patience)) {
            if (replaced) {
                leave_replaced_files();
                ensure_open();
            }
            database_.checkpoint(last ? sqlite::Database::Checkpoint::truncate
                                      : sqlite::Database::Checkpoint::passive);
        }
    } catch (...) {
        // It is in the WAL, durable: a checkpoint is a convenience.
    }
    if (locked_) {
        database_.close();
        unlock();
    } else {
        const os::NoFork no_fork;
        database_.close();
    }
}

std::vector<Event> Writer::take_events() {
    return std::exchange(events_, {});
}

}  // namespace agentsight::outbox
