#include "outbox/store.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "core/throw_error.hpp"
#include "os/lock_file.hpp"
#include "os/no_fork.hpp"
#include "os/process.hpp"
#include "outbox/commit_queue.hpp"
#include "outbox/connect.hpp"
#include "outbox/drain.hpp"
#include "outbox/errors.hpp"
#include "outbox/files.hpp"
#include "outbox/people.hpp"
#include "outbox/purge.hpp"
#include "outbox/reader.hpp"
#include "outbox/salvage.hpp"
#include "outbox/submit.hpp"
#include "outbox/writer.hpp"

namespace agentsight::outbox {

namespace {

/// Settlements a commit: their size sets a submitter's worst wait.
constexpr std::size_t settlements_a_commit = 32;

/// Of a record that should be there: what is no UUID names none.
core::Uuid parse_id(std::string_view id) {
    const auto parsed = core::Uuid::parse(id);
    if (!parsed) {
        core::throw_error(errc::not_found, "no such record: an id is a UUID of 36 characters");
    }
    return *parsed;
}

void note_failure(SubmitResult& result, const Error& error) {
    result.error = error.code();
    result.message = error.what();
    result.stored = false;
}

}  // namespace

RecordState public_state(Lane lane) {
    switch (lane) {
        case Lane::fresh:
        case Lane::parked:
        case Lane::other_kind:
        case Lane::retry:
            return RecordState::waiting;
        case Lane::claimed:
            return RecordState::claimed;
        case Lane::unknown:
        case Lane::left:
            return RecordState::unknown;
        case Lane::dead:
            return RecordState::dead;
        case Lane::delivered:
            return RecordState::delivered;
        case Lane::discarded:
            return RecordState::discarded;
    }
    return RecordState::unknown;
}

class Store::Impl {
  public:
    Impl(StoreOptions given, const core::Clock& clock, core::Random& random)
        : options(std::move(given)),
          clock(clock),
          random(random),
          files(prepare_files(options)),
          fork_generation(os::fork_generation()),
          reader(options, files, clock) {
        const bool is_newest = [&] {
            const os::NoFork no_fork;
            return refuse_foreign(options, files);
        }();
        if (options.mode == OutboxMode::read_only) {
            reader.open(axis);
            return;
        }
        if (options.mode == OutboxMode::read_write && os::file_size(files.database) == 0 &&
            os::file_size(files.wal) == 0 && !salvage_is_pending(files)) {
            throw_cannot("use", files.database, errc::no_such_file,
                         "nothing was ever submitted to it");
        }
        open_for_writing(is_newest);
    }

    bool is_alone() {
        return presence.lock(os::LockFile::Range::presence, os::LockFile::Mode::exclusive,
                             std::chrono::milliseconds{0});
    }

    /// While one makes the schema or migrates it, nobody else comes in; where others are in, an
    /// older schema stays.
    void open_for_writing(bool is_newest) {
        auto company = Writer::Company::possible;
        try {
            writer.emplace(options, files, clock, random, axis, [this] { reader.reset(); });
            drain_lock = os::LockFile{files.lock};
            presence = os::LockFile{files.lock};
            if (is_alone()) {
                company = is_newest ? Writer::Company::none_yet : Writer::Company::none;
            }
            if (company != Writer::Company::none) {
                be_present();
            }
            writer->open(company);
            if (company == Writer::Company::none) {
                be_present();
            }
        } catch (...) {
            rethrow_as_error("open", files.database);
        }
        queue.emplace(*writer, options.on_work, options.on_event);
        queue->report();
    }

    void be_present() {
        if (!presence.lock(os::LockFile::Range::presence, os::LockFile::Mode::shared,
                           options.busy_timeout)) {
            throw_cannot("open", files.database, errc::busy,
                         "another process is making or migrating it; try again");
        }
    }

    void enter() const {
        if (os::fork_generation() != fork_generation) {
            core::throw_error(errc::forked,
                              "this outbox was opened before fork(); the child must open its own");
        }
    }

    CommitQueue& writing() {
        enter();
        if (!queue) {
            throw_cannot("change", files.database, errc::read_only,
                         "it was opened to be read only");
        }
        return *queue;
    }

    /// Another process salvages: whether it has come to its end within the busy timeout.
    bool salvage_ends() const {
        constexpr std::chrono::milliseconds pause{5};
        if (!salvage_is_pending(files)) {
            return false;
        }
        const auto deadline = std::chrono::steady_clock::now() + options.busy_timeout;
        while (salvage_is_pending(files)) {
            if (std::chrono::steady_clock::now() >= deadline) {
                return false;
            }
            std::this_thread::sleep_for(pause);
        }
        return true;
    }

    /// Reads; what a read finds damaged, or gone, is salvaged or made again, where the
    /// application asked for an outbox that goes on whatever happens.
    template <class Work>
    auto read(Work work) {
        enter();
        try {
            return work(reader);
        } catch (const Error& error) {
            if (!is_worth_another_try(error)) {
                throw;
            }
        }
        mend();
        return work(reader);
    }

    bool is_worth_another_try(const Error& failed_read) const {
        const bool broken =
            failed_read.code() == errc::damaged || failed_read.code() == errc::no_such_file;
        return broken && (options.mode == OutboxMode::create || salvage_ends());
    }

    void mend() {
        if (options.mode == OutboxMode::create) {
            queue->run_alone([this] { writer->examine(); });
        }
    }

    void run(Job& job) {
        CommitQueue& commits = writing();
        job.deadline = std::chrono::steady_clock::now() + options.busy_timeout;
        commits.run(job);
        if (job.dropped > 0 && !job.error && options.on_event) {
            options.on_event(event::Dropped{job.dropped});
        }
        if (job.error) {
            std::rethrow_exception(job.error);
        }
    }

    void submit(std::span<const Submission> submissions, std::vector<SubmitResult>& results) {
        SubmitJob job{submissions, random, options.on_submitted};
        std::optional<Error> error;
        try {
            run(job);
        } catch (const Error& failed) {
            error = failed;
        } catch (...) {
            error = to_error(std::current_exception(), "write to", files.database);
        }
        const bool alone = submissions.size() == 1;
        for (std::size_t i = 0; i < submissions.size(); ++i) {
            SubmitResult& result = job.results()[i];
            // One record's failure is not another's: each again by itself, where the storage
            // as such works.
            if (error && !alone && error->code() == errc::disk_full) {
                submit(submissions.subspan(i, 1), results);
                continue;
            }
            if (error) {
                note_failure(result, *error);
            }
            results.push_back(std::move(result));
        }
    }

    /// Fenced although nobody else drains: the file was salvaged meanwhile, and knows no epoch
    /// of ours. What it shows as claimed is ours, and unknown.
    bool begin_again(const DrainJob& job) {
        if (!job.fenced || !is_drainer()) {
            return false;
        }
        BeginJob begin;
        run(begin);
        epoch = begin.epoch;
        return true;
    }

    /// False where a reader is in the way until the end of the busy timeout. Nobody waits
    /// for it meanwhile.
    bool empty_log() {
        constexpr std::chrono::milliseconds pause{5};
        const auto deadline = std::chrono::steady_clock::now() + options.busy_timeout;
        CommitQueue& commits = writing();
        for (;;) {
            bool empty = false;
            commits.run_alone([&] { empty = writer->empty_log(); });

            if (empty || std::chrono::steady_clock::now() >= deadline) {
                return empty;
            }
            std::this_thread::sleep_for(pause);
        }
    }

    bool take_drain_lock() {
        const std::lock_guard lock{drain_mutex};
        try {
            drains = drain_lock.lock(os::LockFile::Range::drain, os::LockFile::Mode::exclusive,
                                     std::chrono::milliseconds{0});
            if (drains) {
                drain_lock.write_note(std::to_string(os::process_id()));
            }
        } catch (...) {
            rethrow_as_error("lock", files.lock);
        }
        return drains;
    }

    bool is_drainer() {
        {
            const std::lock_guard lock{drain_mutex};
            if (!drains) {
                return false;
            }
        }
        return take_drain_lock();  // the same lock again, on the file that others find
    }

    DrainReply drain(const DrainRequest& request) {
        const std::span<const Settlement> all{request.settlements};
        std::vector<std::int64_t> duplicates;
        std::size_t done = 0;
        bool began_again = false;
        for (;;) {
            const std::size_t size = std::min(settlements_a_commit, all.size() - done);
            const bool last = done + size == all.size();
            DrainJob job{request, all.subspan(done, size), last, epoch, memory};
            run(job);
            duplicates.insert(duplicates.end(), job.reply.duplicate_server_ids.begin(),
                              job.reply.duplicate_server_ids.end());
            if (!began_again && begin_again(job)) {
                began_again = true;
                continue;
            }
            done += size;
            if (last) {
                job.reply.duplicate_server_ids = std::move(duplicates);
                job.reply.began_again = began_again;
                return std::move(job.reply);
            }
        }
    }

    const StoreOptions options;
    const core::Clock& clock;
    core::Random& random;
    const Files files;
    const std::uint64_t fork_generation;
    Axis axis;
    std::optional<Writer> writer;
    std::optional<CommitQueue> queue;
    Reader reader;

    std::mutex drain_mutex;  ///< of the three below
    os::LockFile drain_lock;
    bool drains = false;
    os::LockFile presence;

    std::int64_t epoch = 0;  ///< the drainer's thread only
    DrainMemory memory;
    std::atomic<bool> closed{false};
};

Store::Store(StoreOptions options, const core::Clock& clock, core::Random& random)
    : impl_(std::make_unique<Impl>(std::move(options), clock, random)) {}

Store::~Store() {
    if (os::fork_generation() != impl_->fork_generation) {
        // A child must neither close SQLite's files nor take a lock some thread held when it
        // was made: everything stays as it is.
        static_cast<void>(impl_.release());
        return;
    }
    close();
}

void Store::close() noexcept {
    if (os::fork_generation() != impl_->fork_generation || impl_->closed.exchange(true)) {
        return;
    }
    if (impl_->queue) {
        impl_->queue->close();
    }
    impl_->reader.close();
    if (impl_->writer) {
        bool last = false;
        try {
            last = impl_->is_alone();
        } catch (...) {
            // Then the next open finds the WAL as it is.
        }
        impl_->writer->close(last);
        impl_->presence.unlock(os::LockFile::Range::presence);
    }
    stop_being_drainer();
}

SubmitResult Store::submit(const Submission& submission) {
    std::vector<SubmitResult> results = submit_many({&submission, 1});
    return std::move(results.front());
}

std::vector<SubmitResult> Store::submit_many(std::span<const Submission> submissions,
                                             std::size_t a_commit) {
    std::vector<SubmitResult> results;
    results.reserve(submissions.size());
    for (std::size_t done = 0; done < submissions.size(); done += a_commit) {
        impl_->submit(submissions.subspan(done, std::min(a_commit, submissions.size() - done)),
                      results);
    }
    return results;
}

bool Store::try_become_drainer() {
    impl_->writing();
    return impl_->take_drain_lock();
}

bool Store::is_drainer() {
    impl_->enter();
    return impl_->is_drainer();
}

void Store::stop_being_drainer() noexcept {
    if (os::fork_generation() != impl_->fork_generation) {
        return;
    }
    const std::lock_guard lock{impl_->drain_mutex};
    if (std::exchange(impl_->drains, false)) {
        impl_->drain_lock.unlock(os::LockFile::Range::drain);
    }
}

DrainState Store::begin_draining() {
    BeginJob job;
    impl_->run(job);
    impl_->epoch = job.epoch;
    impl_->memory.tentative.clear();  // they are unknown now
    return std::move(job.state);
}

DrainReply Store::drain(DrainRequest request) {
    return impl_->drain(request);
}

std::vector<ClaimedRecord> Store::due_unknowns(std::size_t limit, bool ignore_due) {
    const core::OutboxMs until = ignore_due ? std::numeric_limits<core::OutboxMs>::max() : now();
    return impl_->read([&](Reader& reader) { return reader.due_unknowns(limit, until); });
}

std::vector<ClaimedRecord> Store::unknowns_of(const core::ConversationKey& conversation) {
    return impl_->read([&](Reader& reader) { return reader.unknowns_of(conversation); });
}

std::vector<std::string> Store::owned(const std::string& origin, std::span<const std::string> ids) {
    return impl_->read([&](Reader& reader) { return reader.owned(origin, ids); });
}

std::optional<std::string> Store::known_row(const core::ConversationKey& conversation,
                                            const std::string& origin, core::UtcMs since) {
    return impl_->read(
        [&](Reader& reader) { return reader.known_row(conversation, origin, since); });
}

Status Store::status() {
    return impl_->read([&](Reader& reader) { return reader.status(impl_->axis); });
}

std::vector<Record> Store::list(const Filter& filter, std::size_t limit) {
    return impl_->read([&](Reader& reader) { return reader.list(filter, limit, impl_->axis); });
}

Record Store::get(std::string_view id) {
    return impl_->read([&](Reader& reader) { return reader.get(parse_id(id), impl_->axis); });
}

RecordState Store::state_of(std::string_view id) {
    return impl_->read([&](Reader& reader) { return reader.state_of(parse_id(id)); });
}

std::uint64_t Store::count(const Filter& filter) {
    return impl_->read([&](Reader& reader) { return reader.count(filter, impl_->axis); });
}

VerifyReport Store::verify_report() {
    return impl_->read([&](Reader& reader) { return reader.verify(); });
}

void Store::requeue(std::string_view id, bool force) {
    RequeueJob job{parse_id(id), impl_->files.database.string(), force};
    impl_->run(job);
}

void Store::discard(std::string_view id, bool force) {
    const core::Uuid parsed = parse_id(id);
    impl_->writing();
    DiscardJob job{parsed, impl_->files.database.string(), force, impl_->reader.drainer_lives()};
    impl_->run(job);
}

void Store::resolve_delivered(std::string_view id, std::string_view server_id) {
    ResolveJob job{parse_id(id), impl_->files.database.string(), true, std::string{server_id}};
    impl_->run(job);
}

void Store::resolve_resend(std::string_view id) {
    ResolveJob job{parse_id(id), impl_->files.database.string(), false, {}};
    impl_->run(job);
}

void Store::hold() {
    HoldJob job{true};
    impl_->run(job);
}

void Store::release() {
    HoldJob job{false};
    impl_->run(job);
}

core::OutboxMs Store::now() const {
    return impl_->axis.at(impl_->clock.now());
}

core::Moment Store::moment() const {
    return impl_->clock.now();
}

const std::filesystem::path& Store::path() const {
    return impl_->files.database;
}

std::uint64_t Store::commits() const noexcept {
    return impl_->writer ? impl_->writer->commits() : 0;
}

void Store::tidy() {
    impl_->writing().run_alone([this] { impl_->writer->tidy(); });
}

std::uint64_t Store::purge(core::UtcMs before) {
    impl_->writing();
    std::uint64_t removed = 0;
    PurgePosition position;
    while (!position.done) {
        PurgeJob job{before, position};
        impl_->run(job);
        removed += job.removed;
        position = job.reached;
    }
    if (!impl_->empty_log()) {
        core::throw_error(errc::busy,
                          "the records were purged from " + quoted(path()) +
                              ", but another program keeps an old state of it in use, and "
                              "so their text; end that, then purge again");
    }
    return removed;
}

Compacted Store::compact() {
    const auto bytes = [this] {
        return os::file_size(impl_->files.database) + os::file_size(impl_->files.wal);
    };
    CommitQueue& commits = impl_->writing();
    Compacted done{.bytes_before = bytes(), .bytes_after = 0};
    bool more = true;
    while (more) {  // each step makes the file smaller, or is the last
        commits.run_alone([&] { more = impl_->writer->give_back_space(); });
    }
    static_cast<void>(impl_->empty_log());  // a convenience: the next idle moment does it too
    done.bytes_after = bytes();
    return done;
}

Salvage Store::salvage(bool even_if_sound) {
    Salvage done;
    impl_->writing().run_alone([&] { done = impl_->writer->salvage_on_demand(even_if_sound); });
    if (done.rescued > 0 && impl_->options.on_work) {
        impl_->options.on_work();
    }
    return done;
}

void require_something_to_salvage(const std::filesystem::path& path) {
    const Files files{path};
    std::error_code hidden;
    const bool is_there = std::filesystem::exists(path, hidden);
    if (hidden) {
        throw to_error(std::make_exception_ptr(std::system_error{hidden}), "salvage", path);
    }
    if (!is_there && !salvage_is_pending(files)) {
        throw_cannot("salvage", path, errc::no_such_file, "it does not exist; check the path");
    }
}

}  // namespace agentsight::outbox
