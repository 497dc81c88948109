#include "outbox/reader.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <thread>

#include "core/throw_error.hpp"
#include "os/no_fork.hpp"
#include "os/process.hpp"
#include "outbox/connect.hpp"
#include "outbox/errors.hpp"
#include "outbox/listing.hpp"
#include "outbox/rows.hpp"
#include "outbox/salvage.hpp"
#include "outbox/verify.hpp"

namespace agentsight::outbox {

namespace {

/// Several reads of one state of the file.
class Snapshot {
  public:
    explicit Snapshot(sqlite::Database& database) : database_(database) {
        database_.execute("BEGIN");
    }
    ~Snapshot() { database_.roll_back(); }
    Snapshot(const Snapshot&) = delete;
    Snapshot& operator=(const Snapshot&) = delete;

  private:
    sqlite::Database& database_;
};

/// How far back the history is searched for a row that must be visible on the server.
constexpr int control_rows = 2048;
/// Of one conversation: with the largest metadata 64 MiB.
constexpr int unknowns_at_once = 256;

bool is_broken(const Error& error) {
    return error.code() == errc::io_error || error.code() == errc::damaged ||
           error.code() == errc::foreign_file;
}

core::UtcMs to_utc(core::OutboxMs due, core::OutboxMs now, core::UtcMs utc_now) {
    return utc_now + (due - now);
}

/// A person's first, then the one that ends last; none by itself is last of all.
std::optional<Hold> foremost(const Ledger& ledger, const std::vector<HoldRow>& holds,
                             core::OutboxMs now, core::UtcMs utc_now) {
    if (ledger.control.person_hold) {
        return Hold{HoldReason::person, ledger.control.person_hold_since, std::nullopt, 0, {}};
    }
    const auto end = [](const HoldRow& hold) {
        return hold.until.value_or(std::numeric_limits<core::OutboxMs>::max());
    };
    const auto last =
        std::max_element(holds.begin(), holds.end(),
                         [&](const HoldRow& a, const HoldRow& b) { return end(a) < end(b); });
    if (last == holds.end()) {
        return std::nullopt;
    }
    Hold hold{last->reason, last->since, std::nullopt, last->status, last->detail};
    if (last->until) {
        hold.until = to_utc(*last->until, now, utc_now);
    }
    return hold;
}

std::optional<core::UtcMs> oldest_open(sqlite::Database& database, const Ledger& ledger) {
    sqlite::Rows rows = database.query(
        "SELECT submitted_utc FROM record WHERE key >= ? AND lane <= 6 ORDER BY key LIMIT 1",
        ledger.low_key);
    return rows.next() ? std::optional{rows.integer(0)} : std::nullopt;
}

}  // namespace

Reader::Reader(const StoreOptions& options, const Files& files, const core::Clock& clock)
    : options_(options), files_(files), clock_(clock) {}

void Reader::connect() {
    if (closed_) {
        core::throw_error(errc::closed, "the outbox has been closed");
    }
    if (salvage_is_pending(files_)) {
        database_.close();  // not all is in the fresh file yet
        throw_cannot("read", files_.database, errc::damaged,
                     "it was damaged and is not yet salvaged; run "
                     "`agentsight-outbox salvage`");
    }
    // Another process may have moved a damaged file aside, or a cleaner removed it.
    const Identities now = identities(files_);
    if (database_.is_open() && now == identities_) {
        return;
    }
    database_.close();
    if (!now.database) {
        throw_cannot("read", files_.database, errc::no_such_file, "it does not exist");
    }
    database_ = connect_reader(options_, files_);
    identities_ = identities(files_);  // it may have made companions
}

void Reader::fail(const char* doing) {
    const auto exception = std::current_exception();
    const Error error = to_error(exception, doing, files_.database);
    if (is_broken(error)) {
        database_.close();  // a fresh look next time
    }
    throw error;
}

template <class Work>
auto Reader::read(const char* doing, Work work) {
    const os::NoFork no_fork;  // before the mutex, as who resets this has it already
    const std::lock_guard lock{mutex_};
    try {
        connect();
        return work(database_);
    } catch (...) {
        fail(doing);
    }
}

void Reader::open(Axis& axis) {
    read("open", [&](sqlite::Database& database) { axis.follow(read_ledger(database)); });
}

void Reader::close() noexcept {
    const os::NoFork no_fork;
    const std::lock_guard lock{mutex_};
    closed_ = true;
    database_.close();
}

void Reader::reset() noexcept {
    const std::lock_guard lock{mutex_};
    database_.close();
}

Status Reader::status(const Axis& axis) {
    Status status = read("read the status of", [&](sqlite::Database& database) {
        const Snapshot snapshot{database};
        const Ledger ledger = read_ledger(database);
        const core::Moment moment = clock_.now();
        Status now;
        now.schema = static_cast<int>(database.integer("PRAGMA user_version"));
        now.accepted = static_cast<std::uint64_t>(read_last(database, ledger).key);
        now.waiting = now.accepted - ledger.not_waiting();
        now.claimed = ledger.claimed;
        now.unknown = ledger.unknown + ledger.left;
        now.left_to_person = ledger.left;
        now.dead = ledger.dead;
        now.delivered = ledger.delivered;
        now.discarded = ledger.discarded;
        now.dropped = ledger.dropped;
        now.possible_duplicates = ledger.possible_duplicates;
        now.waiting_for_other_credential = ledger.other_api_key + ledger.other_jwt;
        if (now.waiting + now.claimed + now.unknown > 0) {
            now.oldest_submitted_at = oldest_open(database, ledger);
        }
        now.last_delivered_at = ledger.last_delivered;
        now.hold = foremost(ledger, read_holds(database), axis.at(moment), moment.utc_ms);
        return now;
    });
    status.path = files_.database;
    status.bytes = os::file_size(files_.database) + os::file_size(files_.wal);
    status.drainer = drainer();
    return status;
}

std::optional<Drainer> Reader::drainer() {
    try {
        if (!os::identity(files_.lock)) {
            return std::nullopt;  // to ask must not make the file
        }
        const os::LockFile lock{files_.lock};
        if (!lock.held_by_other(os::LockFile::Range::drain)) {
            return std::nullopt;
        }
        const std::string note = lock.read_note();
        std::int64_t pid = 0;
        std::from_chars(note.data(), note.data() + note.size(), pid);
        return Drainer{pid, os::is_stopped(pid).value_or(false)};
    } catch (const std::exception&) {
        return std::nullopt;  // another user's lock file: not known
    }
}

bool Reader::drainer_lives() {
    return drainer().has_value();
}

std::vector<Record> Reader::list(const Filter& filter, std::size_t limit, const Axis& axis) {
    Listing listing{filter, limit};
    while (!listing.done()) {
        // One page a transaction: the WAL is never pinned for long.
        read("list", [&](sqlite::Database& database) {
            const Snapshot snapshot{database};
            listing.read_page(database, axis.at(clock_.now()), clock_.now().utc_ms);
        });
    }
    return listing.take();
}

std::uint64_t Reader::count(const Filter& filter, const Axis& axis) {
    if (!filter.conversation && !filter.conversation_id && !filter.since && filter.after.empty()) {
        const Status now = status(axis);
        if (!filter.state) {
            return read("count", [](sqlite::Database& database) {
                return static_cast<std::uint64_t>(database.integer("SELECT count(*) FROM record"));
            });
        }
        switch (*filter.state) {
            case RecordState::waiting:
                return now.waiting;
            case RecordState::claimed:
                return now.claimed;
            case RecordState::unknown:
                return now.unknown;
            case RecordState::dead:
                return now.dead;
            case RecordState::delivered:
            case RecordState::discarded:
                break;  // kept rows only: as list shows them
        }
    }
    Listing listing{filter, std::numeric_limits<std::size_t>::max(), Listing::Only::count};
    while (!listing.done()) {
        read("count", [&](sqlite::Database& database) {
            const Snapshot snapshot{database};
            listing.read_page(database, axis.at(clock_.now()), clock_.now().utc_ms);
        });
    }
    return listing.counted();
}

namespace {

std::int64_t find_or_throw(sqlite::Database& database, const core::Uuid& id, const Files& files) {
    const LastRow last = read_last(database, read_ledger(database));
    const auto key = find_key(database, id, last.key);
    if (!key) {
        core::throw_error(errc::not_found,
                          "no record " + id.text() + " in " + quoted(files.database));
    }
    return *key;
}

}  // namespace

Record Reader::get(const core::Uuid& id, const Axis& axis) {
    return read("read a record of", [&](sqlite::Database& database) {
        const Snapshot snapshot{database};
        const std::int64_t key = find_or_throw(database, id, files_);
        const core::Moment moment = clock_.now();
        return read_record(database, key, axis.at(moment), moment.utc_ms);
    });
}

RecordState Reader::state_of(const core::Uuid& id) {
    return read("read a record of", [&](sqlite::Database& database) {
        const Snapshot snapshot{database};
        const std::int64_t key = find_or_throw(database, id, files_);
        sqlite::Rows rows = database.query("SELECT lane FROM record WHERE key = ?", key);
        rows.next();
        return public_state(static_cast<Lane>(rows.integer(0)));
    });
}

namespace {

std::vector<ClaimedRecord> whole(sqlite::Database& database,
                                 const std::vector<std::int64_t>& keys) {
    std::vector<ClaimedRecord> records;
    records.reserve(keys.size());
    for (const std::int64_t key : keys) {
        if (auto record = read_claimed(database, key)) {
            records.push_back(std::move(*record));
        }
    }
    return records;
}

std::vector<std::int64_t> keys_of(sqlite::Rows rows) {
    std::vector<std::int64_t> keys;
    while (rows.next()) {
        keys.push_back(rows.integer(0));
    }
    return keys;
}

}  // namespace

std::vector<ClaimedRecord> Reader::due_unknowns(std::size_t limit, core::OutboxMs until) {
    return read("read unknown records of", [&](sqlite::Database& database) {
        const Snapshot snapshot{database};
        return whole(database,
                     keys_of(database.query("SELECT key FROM record INDEXED BY work WHERE lane = 5"
                                            " AND lane BETWEEN 3 AND 5 AND due <= ? ORDER BY due"
                                            " LIMIT ?",
                                            until, limit)));
    });
}

std::vector<ClaimedRecord> Reader::unknowns_of(const core::ConversationKey& conversation) {
    return read("read unknown records of", [&](sqlite::Database& database) {
        const Snapshot snapshot{database};
        return whole(database,
                     keys_of(database.query(
                         "SELECT key FROM (SELECT key, turn FROM record INDEXED BY open"
                         " WHERE conversation = ? AND lane = 5 AND"
                         " (lane = 1 OR lane = 3 OR lane = 4 OR lane = 5) ORDER BY due LIMIT ?)"
                         " ORDER BY turn",
                         conversation.value, unknowns_at_once)));
    });
}

std::vector<std::string> Reader::owned(const std::string& origin,
                                       std::span<const std::string> ids) {
    return read("read delivered records of", [&](sqlite::Database& database) {
        const Snapshot snapshot{database};
        std::vector<std::string> found;
        for (const std::string& id : ids) {
            if (database
                    .query("SELECT 1 FROM owned WHERE server_id = ? AND origin ="
                           " (SELECT number FROM origin WHERE text = ?)",
                           id, origin)
                    .next()) {
                found.push_back(id);
            }
        }
        return found;
    });
}

std::optional<std::string> Reader::known_row(const core::ConversationKey& conversation,
                                             const std::string& origin, core::UtcMs since) {
    return read("read delivered records of", [&](sqlite::Database& database) {
        const Snapshot snapshot{database};
        sqlite::Rows rows = database.query(
            "SELECT server_id FROM (SELECT server_id, conversation, server_time, origin"
            " FROM record INDEXED BY history WHERE lane = 8 AND lane IN (8, 9)"
            " ORDER BY turn DESC LIMIT ?) WHERE conversation = ? AND server_time >= ?"
            " AND origin = (SELECT number FROM origin WHERE text = ?) AND server_id IS NOT NULL"
            " LIMIT 1",
            control_rows, conversation.value, since, origin);
        return rows.next() ? std::optional{rows.text(0)} : std::nullopt;
    });
}

namespace {

/// What others may write while SQLite checks the whole file, which is one read and keeps the WAL
/// from being used again: some seconds of a busy application, and no more of a disk.
constexpr std::uint64_t most_growth = std::uint64_t{8} << 20;

/// Interrupts a read that is in the way for too long.
class GrowthWatch {
  public:
    GrowthWatch(sqlite::Database& database, const std::filesystem::path& wal)
        : database_(database), wal_(wal), most_(os::file_size(wal) + most_growth) {
        const os::SignalsBlocked for_the_thread;
        thread_ = std::thread([this] { run(); });
    }
    ~GrowthWatch() {
        {
            const std::lock_guard lock{mutex_};
            stopping_ = true;
        }
        stop_.notify_all();
        thread_.join();
    }
    GrowthWatch(const GrowthWatch&) = delete;
    GrowthWatch& operator=(const GrowthWatch&) = delete;

  private:
    void run() {
        constexpr std::chrono::milliseconds every{10};
        std::unique_lock lock{mutex_};
        while (!stop_.wait_for(lock, every, [this] { return stopping_; })) {
            if (os::file_size(wal_) > most_) {
                database_.interrupt();
            }
        }
    }

    sqlite::Database& database_;
    const std::filesystem::path& wal_;
    const std::uint64_t most_;
    std::mutex mutex_;
    std::condition_variable stop_;
    bool stopping_ = false;
    std::thread thread_;
};

/// Short reads one after the other keep the WAL from beginning anew too, as one is almost always
/// under way: where it grows, nobody reads for a moment.
class GrowthPause {
  public:
    explicit GrowthPause(const std::filesystem::path& wal) : wal_(wal), size_(os::file_size(wal)) {}

    void between_reads() {
        constexpr std::uint64_t some = std::uint64_t{1} << 20;
        constexpr std::chrono::milliseconds moment{20};
        if (os::file_size(wal_) > size_ + some) {
            std::this_thread::sleep_for(moment);
            size_ = os::file_size(wal_);
        }
    }

  private:
    const std::filesystem::path& wal_;
    std::uint64_t size_;
};

}  // namespace

VerifyReport Reader::verify() {
    Verification verification;
    VerifyReport report;
    read("verify", [&](sqlite::Database& database) {
        const GrowthWatch watch{database, files_.wal};
        report.file_checked = verification.check_file(database);
    });
    GrowthPause pause{files_.wal};
    while (!verification.done()) {
        pause.between_reads();
        read("verify", [&](sqlite::Database& database) {
            const Snapshot snapshot{database};
            verification.step(database);
        });
    }
    report.problems = verification.take();
    return report;
}

}  // namespace agentsight::outbox
