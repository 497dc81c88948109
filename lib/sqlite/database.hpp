#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>

#include "sqlite/failure.hpp"
#include "sqlite/statement.hpp"

namespace agentsight::sqlite {

struct OpenOptions {
    bool read_only = false;
    /// Promises that nobody writes the file: no locks, no -wal, no -shm. Read-only.
    bool immutable = false;
    const char* vfs = nullptr;
    std::chrono::milliseconds busy_timeout{5'000};
};

/// One connection with its prepared statements. One thread at a time. Opened with psow=0,
/// NOFOLLOW, extended codes, DEFENSIVE, untrusted schema, no mmap, cell checks, no
/// checkpoint of SQLite's own (neither automatic nor at close): whoever holds the commit
/// lock checkpoints. Never creates the file. Throws Failure.
class Database {
  public:
    Database() = default;
    Database(const std::filesystem::path& path, const OpenOptions& options);
    ~Database();
    Database(Database&& other) noexcept;
    Database& operator=(Database&& other) noexcept;

    bool is_open() const noexcept { return handle_ != nullptr; }
    void close() noexcept;

    /// Runs one statement to its end. `sql` is a literal: its address is the cache's key.
    template <class... Values>
    void execute(const char* sql, const Values&... values) {
        Rows rows = use(sql);
        rows.bind(values...);
        while (rows.next()) {
        }
    }

    /// Bound values are referred to until the rows go.
    template <class... Values>
    Rows query(const char* sql, const Values&... values) {
        Rows rows = use(sql);
        rows.bind(values...);
        return rows;
    }

    /// How long each statement of this connection may wait for another's lock, from now on.
    void wait_at_most(std::chrono::milliseconds time) noexcept;

    /// Pages that can be had before it is full: free ones, and those it may grow by.
    std::int64_t pages_left();

    /// Several statements, not cached.
    void script(const char* sql);
    void script(const std::string& sql) { script(sql.c_str()); }
    /// First column of the first row of a statement that is not cached; 0 and "" for none.
    std::int64_t integer(const char* sql);
    std::int64_t integer(const std::string& sql) { return integer(sql.c_str()); }
    std::string text(const char* sql);

    bool in_transaction() const noexcept;
    /// Ends the transaction, where there is one. Where even that fails (it takes memory), the
    /// connection is closed, which ends it too: no Rows may be in use.
    void roll_back() noexcept;
    /// Ends the statement that runs, in a Failure (interrupted). The one member that another
    /// thread may call, while the connection stays open.
    void interrupt() noexcept;
    /// Rows changed by the last statement.
    std::int64_t changes() const noexcept;
    /// Differs from an earlier value where anyone changed the file since; own commits count.
    /// Meaningful inside a transaction.
    std::uint32_t data_version() const noexcept;

    /// The -wal file stays when the last connection closes, and its frames are counted from
    /// now on: after the last pragma about it.
    void keep_wal();
    /// Frames in the WAL after this connection's last commit.
    int wal_frames() const noexcept { return counters_ ? counters_->wal_frames : 0; }

    /// Copies all that this connection sees, page by page and synced, into a file that is there
    /// and empty.
    void copy_to(const std::filesystem::path& path, const char* vfs);

    enum class Checkpoint { passive, truncate };
    /// True where everything in the WAL was moved, and with `truncate` the WAL is empty now.
    /// Busy readers are no failure, and not waited for.
    bool checkpoint(Checkpoint mode);

  private:
    struct Counters {
        int wal_frames = 0;
    };
    Rows use(const char* sql);
    sqlite3_stmt* prepare(const char* sql, bool persistent);
    void configure(const OpenOptions& options);
    [[noreturn]] void fail(int code) const;
    static int on_wal(void* counters, sqlite3*, const char*, int frames);

    sqlite3* handle_ = nullptr;
    std::unordered_map<const char*, sqlite3_stmt*> statements_;
    std::unique_ptr<Counters> counters_;
    std::chrono::milliseconds busy_timeout_{0};
};

/// BEGIN IMMEDIATE; rolled back unless committed. After a failed commit the outcome may be
/// unknown; see Failure::trouble.
class Transaction {
  public:
    explicit Transaction(Database& database);
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    void commit();

  private:
    Database& database_;
    bool open_ = true;
};

}  // namespace agentsight::sqlite
