#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace agentsight::test {

/// A connection of a test's own, in plain SQLite: what the library does is not believed, it
/// is looked at from outside. Throws std::runtime_error.
class Plain {
  public:
    Plain(const std::filesystem::path& path, const char* vfs, std::string_view uri_query = "psow=0",
          int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) {
        const std::string uri = "file:" + path.string() + "?" + std::string{uri_query};
        const int code = sqlite3_open_v2(uri.c_str(), &handle_,
                                         flags | SQLITE_OPEN_URI | SQLITE_OPEN_EXRESCODE, vfs);
        if (code != SQLITE_OK) {
            const std::string why = sqlite3_errmsg(handle_);
            sqlite3_close_v2(handle_);
            throw std::runtime_error("open: " + why);
        }
    }
    ~Plain() { sqlite3_close_v2(handle_); }
    Plain(const Plain&) = delete;
    Plain& operator=(const Plain&) = delete;

    sqlite3* handle() { return handle_; }

    /// The result code; the statements' rows are dropped.
    int run(const std::string& sql) {
        return sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
    }
    void must(const std::string& sql) {
        if (run(sql) != SQLITE_OK) {
            throw std::runtime_error(sql + ": " + sqlite3_errmsg(handle_));
        }
    }
    /// Columns of all rows, one after another, as text.
    std::vector<std::string> all(const std::string& sql) {
        std::vector<std::string> values;
        char* error = nullptr;
        const auto collect = [](void* into, int columns, char** texts, char**) {
            for (int i = 0; i < columns; ++i) {
                static_cast<std::vector<std::string>*>(into)->emplace_back(
                    texts[i] != nullptr ? texts[i] : "");
            }
            return 0;
        };
        if (sqlite3_exec(handle_, sql.c_str(), collect, &values, &error) != SQLITE_OK) {
            const std::string why = error != nullptr ? error : "out of memory";
            sqlite3_free(error);
            throw std::runtime_error(sql + ": " + why);
        }
        return values;
    }
    std::string one(const std::string& sql) {
        const auto values = all(sql);
        return values.empty() ? std::string{} : values.front();
    }

    /// WAL and FULL as the library sets them; checkpoints only when asked for.
    void use_profile(std::string_view synchronous = "FULL") {
        must("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=" +
             std::string{synchronous});
        sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    }
    int checkpoint(int mode = SQLITE_CHECKPOINT_PASSIVE) {
        return sqlite3_wal_checkpoint_v2(handle_, "main", mode, nullptr, nullptr);
    }
    std::string integrity() { return one("PRAGMA integrity_check"); }

  private:
    sqlite3* handle_ = nullptr;
};

}  // namespace agentsight::test
