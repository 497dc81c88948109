#pragma once

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

/// What the outbox is measured against: short enough to be read and believed.
namespace bench {

/// Raw SQLite with the outbox's own pragmas, one prepared INSERT a transaction, no index.
class RawSqlite {
  public:
    explicit RawSqlite(const std::filesystem::path& path) {
        const std::string uri = "file:" + path.string() + "?psow=0";
        check(sqlite3_open_v2(
            uri.c_str(), &database_,
            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
            nullptr));
        execute(
            "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "PRAGMA wal_autocheckpoint=1000; PRAGMA mmap_size=0; PRAGMA cell_size_check=ON;"
            "CREATE TABLE IF NOT EXISTS record(key INTEGER PRIMARY KEY, data BLOB)");
        int persist = 1;
        sqlite3_file_control(database_, "main", SQLITE_FCNTL_PERSIST_WAL, &persist);
        begin_ = prepare("BEGIN IMMEDIATE");
        insert_ = prepare("INSERT INTO record(data) VALUES(?)");
        commit_ = prepare("COMMIT");
    }
    ~RawSqlite() {
        for (sqlite3_stmt* statement : {begin_, insert_, commit_}) {
            sqlite3_finalize(statement);
        }
        sqlite3_close(database_);
    }
    RawSqlite(const RawSqlite&) = delete;
    RawSqlite& operator=(const RawSqlite&) = delete;

    void insert(const std::string& data, int records = 1) {
        step(begin_);
        for (int i = 0; i < records; ++i) {
            sqlite3_bind_blob(insert_, 1, data.data(), static_cast<int>(data.size()),
                              SQLITE_STATIC);
            step(insert_);
        }
        step(commit_);
    }

  private:
    static void check(int code) {
        if (code != SQLITE_OK && code != SQLITE_DONE && code != SQLITE_ROW) {
            std::fprintf(stderr, "sqlite: %s\n", sqlite3_errstr(code));
            std::exit(1);
        }
    }
    void execute(const char* sql) {
        check(sqlite3_exec(database_, sql, nullptr, nullptr, nullptr));
    }
    sqlite3_stmt* prepare(const char* sql) {
        sqlite3_stmt* statement = nullptr;
        check(sqlite3_prepare_v2(database_, sql, -1, &statement, nullptr));
        return statement;
    }
    static void step(sqlite3_stmt* statement) {
        check(sqlite3_step(statement));
        sqlite3_reset(statement);
    }
    sqlite3* database_ = nullptr;
    sqlite3_stmt* begin_ = nullptr;
    sqlite3_stmt* insert_ = nullptr;
    sqlite3_stmt* commit_ = nullptr;
};

/// A bare, preallocated file under the same kind of group commit: the first caller writes and
/// syncs for all that came meanwhile.
class BareFile {
  public:
    explicit BareFile(const std::filesystem::path& path, std::size_t bytes)
        : descriptor_(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)) {
        const std::string zeros(1 << 20, '\0');
        for (std::size_t written = 0; written < bytes; written += zeros.size()) {
            must(::write(descriptor_, zeros.data(), zeros.size()) > 0);
        }
        must(::fsync(descriptor_) == 0);
    }
    ~BareFile() { ::close(descriptor_); }
    BareFile(const BareFile&) = delete;
    BareFile& operator=(const BareFile&) = delete;

    void append(const std::string& data) {
        std::unique_lock lock(mutex_);
        waiting_ += data;
        const std::uint64_t mine = batch_;
        if (leading_) {
            committed_.wait(lock, [&] { return done_ > mine || !leading_; });
            if (done_ > mine) {
                return;
            }
        }
        leading_ = true;
        lock.unlock();
        sched_yield();
        lock.lock();
        const std::string batch = std::exchange(waiting_, {});
        const std::uint64_t number = batch_++;
        lock.unlock();
        must(::pwrite(descriptor_, batch.data(), batch.size(), offset_) ==
             static_cast<ssize_t>(batch.size()));
        offset_ += static_cast<off_t>(batch.size());
        must(::fdatasync(descriptor_) == 0);
        lock.lock();
        done_ = number + 1;
        leading_ = false;
        lock.unlock();
        committed_.notify_all();
    }

  private:
    static void must(bool ok) {
        if (!ok) {
            std::perror("bare file");
            std::exit(1);
        }
    }
    int descriptor_;
    std::mutex mutex_;
    std::condition_variable committed_;
    std::string waiting_;
    off_t offset_ = 0;
    std::uint64_t batch_ = 0;
    std::uint64_t done_ = 0;
    bool leading_ = false;
};

}  // namespace bench
