// A host that lives on the same libraries as ours, in its own way: a SQLite database of its own
// in WAL mode with several writers, OpenSSL for digests, and another version of nlohmann::json,
// whose types therefore are other types than the library's.
//
//   embed-host DATABASE

#include <openssl/evp.h>
#include <sqlite3.h>
#include <agentsight/agentsight.hpp>
#include <nlohmann/json.hpp>

#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static_assert(NLOHMANN_JSON_VERSION_PATCH == 99, "the host has a version of its own");

namespace {

void check(bool good, const char* what) {
    if (!good) {
        throw std::runtime_error(what);
    }
}

sqlite3* open_database(const char* path) {
    sqlite3* database = nullptr;
    check(sqlite3_open(path, &database) == SQLITE_OK, "open");
    sqlite3_busy_timeout(database, 30'000);
    return database;
}

void execute(sqlite3* database, const std::string& sql) {
    check(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK, "execute");
}

std::string digest(const std::string& text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned size = 0;
    check(EVP_Digest(text.data(), text.size(), bytes.data(), &size, EVP_sha256(), nullptr) == 1,
          "digest");
    return std::to_string(bytes[0]) + '-' + std::to_string(size);
}

void write_rows(const char* path, int count) {
    sqlite3* database = open_database(path);
    for (int i = 0; i < count; ++i) {
        execute(database, "INSERT INTO t(v) VALUES('" + digest(std::to_string(i)) + "')");
    }
    sqlite3_close(database);
}

int count_rows(const char* path) {
    sqlite3* database = open_database(path);
    sqlite3_stmt* statement = nullptr;
    sqlite3_prepare_v2(database, "SELECT count(*) FROM t", -1, &statement, nullptr);
    check(sqlite3_step(statement) == SQLITE_ROW, "count");
    const int count = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return count;
}

void submit(agentsight::ConversationManager& manager, int count) {
    for (int i = 0; i < count; ++i) {
        const nlohmann::json metadata{{"number", i}, {"nested", {{"pi", 3.25}}}};
        manager.submit_feedback("host", "neutral", "host " + std::to_string(i), metadata);
    }
}

}  // namespace

int main(int argc, char** argv) try {
    check(argc == 2, "usage");
    const char* const path = argv[1];
    sqlite3* database = open_database(path);
    execute(database, "PRAGMA journal_mode=WAL; CREATE TABLE t(v)");
    sqlite3_close(database);

    agentsight::ConversationManager manager;
    std::vector<std::thread> threads;
    threads.emplace_back(write_rows, path, 200);
    threads.emplace_back(write_rows, path, 200);
    threads.emplace_back([&] { submit(manager, 25); });
    threads.emplace_back([&] { submit(manager, 25); });
    for (std::thread& thread : threads) {
        thread.join();
    }
    check(manager.flush(std::chrono::seconds{50}), "flush");
    std::printf("host rows %d, delivered %d\n", count_rows(path),
                static_cast<int>(manager.stats().delivered));
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "embed-host: %s\n", error.what());
    return 1;
}
