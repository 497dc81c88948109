#include "sqlite/database.hpp"

#include <sqlite3.h>

#include <array>
#include <utility>

namespace agentsight::sqlite {

namespace {

std::string uri(const std::filesystem::path& path, bool immutable) {
    static constexpr char digits[] = "0123456789ABCDEF";
    std::string text = "file:";
    for (const char character : path.string()) {
        if (character == '%' || character == '?' || character == '#') {
            const auto byte = static_cast<unsigned char>(character);
            text += '%';
            text += digits[byte >> 4];
            text += digits[byte & 15];
        } else {
            text += character;
        }
    }
    // Cheap flash tears whole sectors: never rely on power-safe overwrite.
    text += "?psow=0";
    if (immutable) {
        text += "&immutable=1";
    }
    return text;
}

struct Finalizer {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
};
using OwnedStatement = std::unique_ptr<sqlite3_stmt, Finalizer>;

}  // namespace

Database::Database(const std::filesystem::path& path, const OpenOptions& options)
    : counters_(std::make_unique<Counters>()) {
    const int access = options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    const int flags = access | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
                      SQLITE_OPEN_EXRESCODE;
    // A failed open still returns a handle: it is owned before anything can throw.
    const int code =
        sqlite3_open_v2(uri(path, options.immutable).c_str(), &handle_, flags, options.vfs);
    try {
        if (handle_ == nullptr) {
            throw Failure(SQLITE_NOMEM, 0, "out of memory opening the database");
        }
        if (code != SQLITE_OK) {
            fail(code);
        }
        configure(options);
    } catch (...) {
        close();
        throw;
    }
}

Database::~Database() {
    close();
}

Database::Database(Database&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)),
      statements_(std::move(other.statements_)),
      counters_(std::move(other.counters_)),
      busy_timeout_(other.busy_timeout_) {
    other.statements_.clear();
}

Database& Database::operator=(Database&& other) noexcept {
    if (this != &other) {
        close();
        handle_ = std::exchange(other.handle_, nullptr);
        statements_ = std::move(other.statements_);
        counters_ = std::move(other.counters_);
        busy_timeout_ = other.busy_timeout_;
        other.statements_.clear();
    }
    return *this;
}

void Database::configure(const OpenOptions& options) {
    wait_at_most(options.busy_timeout);
    constexpr std::array switches{
        std::pair{SQLITE_DBCONFIG_DEFENSIVE, 1},
        std::pair{SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        std::pair{SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        std::pair{SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
        std::pair{SQLITE_DBCONFIG_ENABLE_VIEW, 0},
        // Only the holder of the commit lock checkpoints.
        std::pair{SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1},
    };
    for (const auto& [name, value] : switches) {
        if (const int code = sqlite3_db_config(handle_, name, value, nullptr); code != SQLITE_OK) {
            fail(code);
        }
    }
    sqlite3_limit(handle_, SQLITE_LIMIT_ATTACHED, 0);
    try {
        script(
            "PRAGMA mmap_size=0;"
            "PRAGMA temp_store=MEMORY;"
            "PRAGMA cache_size=-2048;"
            "PRAGMA cell_size_check=ON;");
    } catch (const Failure& failure) {
        if (failure.trouble() == Trouble::other) {
            // They are sound, so the file is not: its header names a format that there is not.
            throw_damaged(failure.what());
        }
        throw;
    }
}

void Database::wait_at_most(std::chrono::milliseconds time) noexcept {
    busy_timeout_ = time;
    if (handle_ != nullptr) {
        sqlite3_busy_timeout(handle_, static_cast<int>(time.count()));
    }
}

int Database::on_wal(void* counters, sqlite3*, const char*, int frames) {
    static_cast<Counters*>(counters)->wal_frames = frames;
    return SQLITE_OK;
}

void Database::close() noexcept {
    for (const auto& [sql, statement] : statements_) {
        sqlite3_finalize(statement);
    }
    statements_.clear();
    if (handle_ != nullptr) {
        sqlite3_close(std::exchange(handle_, nullptr));
    }
}

void Database::fail(int code) const {
    throw Failure(code, sqlite3_system_errno(handle_), sqlite3_errmsg(handle_));
}

sqlite3_stmt* Database::prepare(const char* sql, bool persistent) {
    sqlite3_stmt* statement = nullptr;
    const int code = sqlite3_prepare_v3(
        handle_, sql, -1, persistent ? SQLITE_PREPARE_PERSISTENT : 0, &statement, nullptr);
    if (code != SQLITE_OK) {
        fail(code);
    }
    return statement;
}

Rows Database::use(const char* sql) {
    sqlite3_stmt*& statement = statements_[sql];
    if (statement == nullptr) {
        statement = prepare(sql, true);
    }
    return Rows{handle_, statement};
}

void Database::script(const char* sql) {
    if (const int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr); code != SQLITE_OK) {
        fail(code);
    }
}

std::int64_t Database::integer(const char* sql) {
    const OwnedStatement statement{prepare(sql, false)};
    Rows rows{handle_, statement.get()};
    return rows.next() ? rows.integer(0) : 0;
}

std::string Database::text(const char* sql) {
    const OwnedStatement statement{prepare(sql, false)};
    Rows rows{handle_, statement.get()};
    return rows.next() ? rows.text(0) : std::string{};
}

std::int64_t Database::pages_left() {
    return integer("PRAGMA max_page_count") - integer("PRAGMA page_count") +
           integer("PRAGMA freelist_count");
}

bool Database::in_transaction() const noexcept {
    return handle_ != nullptr && sqlite3_get_autocommit(handle_) == 0;
}

void Database::roll_back() noexcept {
    if (!in_transaction()) {
        return;
    }
    try {
        execute("ROLLBACK");
    } catch (...) {
        close();
    }
}

void Database::interrupt() noexcept {
    sqlite3_interrupt(handle_);
}

std::int64_t Database::changes() const noexcept {
    return sqlite3_changes64(handle_);
}

std::uint32_t Database::data_version() const noexcept {
    unsigned int version = 0;
    sqlite3_file_control(handle_, "main", SQLITE_FCNTL_DATA_VERSION, &version);
    return version;
}

void Database::keep_wal() {
    // Not before the profile: "PRAGMA wal_autocheckpoint" takes any hook away.
    sqlite3_wal_hook(handle_, &Database::on_wal, counters_.get());
    int on = 1;
    if (const int code = sqlite3_file_control(handle_, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
        code != SQLITE_OK) {
        fail(code);
    }
}

void Database::copy_to(const std::filesystem::path& path, const char* vfs) {
    const Database target{path, {.vfs = vfs}};
    sqlite3_backup* backup = sqlite3_backup_init(target.handle_, "main", handle_, "main");
    if (backup == nullptr) {
        target.fail(sqlite3_extended_errcode(target.handle_));
    }
    sqlite3_backup_step(backup, -1);
    if (const int code = sqlite3_backup_finish(backup); code != SQLITE_OK) {
        target.fail(code);
    }
}

bool Database::checkpoint(Checkpoint mode) {
    int frames = 0;
    int moved = 0;
    // TRUNCATE would wait for readers with the lock held that everybody's commits need.
    sqlite3_busy_timeout(handle_, 0);
    const int code = sqlite3_wal_checkpoint_v2(
        handle_, "main",
        mode == Checkpoint::passive ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_TRUNCATE,
        &frames, &moved);
    sqlite3_busy_timeout(handle_, static_cast<int>(busy_timeout_.count()));
    if ((code & 0xff) == SQLITE_BUSY) {
        return false;
    }
    if (code != SQLITE_OK) {
        fail(code);
    }
    return frames == moved;
}

Transaction::Transaction(Database& database) : database_(database) {
    database_.execute("BEGIN IMMEDIATE");
}

Transaction::~Transaction() {
    // After a full disk, an I/O error or out of memory SQLite may have rolled back by itself.
    if (open_) {
        database_.roll_back();
    }
}

void Transaction::commit() {
    database_.execute("COMMIT");
    open_ = false;
}

}  // namespace agentsight::sqlite
