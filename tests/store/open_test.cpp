#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <thread>

#include "outbox/connect.hpp"
#include "raw.hpp"
#include "support.hpp"
#include "support/child_process.hpp"
#include "support/sanitizers.hpp"
#include "support/times.hpp"
#include "unit/os/interposer.hpp"

using namespace agentsight;
using namespace agentsight::test;
namespace fs = std::filesystem;

namespace {

struct Opening {
    TemporaryFolder folder;
    TestClock clock;
    TestRandom random;

    std::error_code open(const fs::path& path, OutboxMode mode = OutboxMode::create) {
        outbox::StoreOptions options;
        options.path = path;
        options.mode = mode;
        return code_of([&] { outbox::Store{options, clock, random}; });
    }
};

std::string content(const fs::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

/// While it lives SQLite maps files into memory unless a connection says otherwise. No
/// connection may be open when it begins and ends.
class MappedByDefault {
  public:
    MappedByDefault() { set(1 << 20, 1 << 30); }
    ~MappedByDefault() { set(-1, -1); }
    MappedByDefault(const MappedByDefault&) = delete;
    MappedByDefault& operator=(const MappedByDefault&) = delete;

  private:
    /// Negative: as SQLite was compiled.
    static void set(sqlite3_int64 size, sqlite3_int64 limit) {
        sqlite3_shutdown();
        sqlite3_config(SQLITE_CONFIG_MMAP_SIZE, size, limit);
        sqlite3_initialize();
    }
};

std::size_t files_in(const fs::path& folder) {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator{folder}, fs::directory_iterator{}));
}

}  // namespace

TEST_CASE("a new outbox is the file it should be") {
    Outboxed box;
    box.submit();
    RawDatabase raw{box.options.path};
    CHECK(raw.integer("PRAGMA application_id") == 0x4167534F);
    CHECK(raw.integer("PRAGMA user_version") == 1);
    CHECK(raw.text("PRAGMA journal_mode") == "wal");
    CHECK(raw.integer("PRAGMA auto_vacuum") == 2);
    CHECK(raw.integer("PRAGMA page_size") == 4096);
    CHECK(raw.text("PRAGMA integrity_check") == "ok");
}

TEST_CASE("S37: a database that somebody cuts short under load costs an error, and no signal") {
    auto child = ChildProcess::run([](ParentLink&) {
        Outboxed box;
        for (int i = 0; i < 100; ++i) {
            box.submit("c" + std::to_string(i), std::string(2'000, 'x'));
        }
        box->tidy();
        std::atomic<bool> stop{false};
        std::jthread reader{[&] {
            while (!stop) {
                static_cast<void>(code_of([&] { static_cast<void>(box->list({}, 1'000)); }));
            }
        }};
        for (const std::uintmax_t left : {100'000, 4'096, 1'000, 0}) {
            fs::resize_file(box.options.path, left);  // by its path: no close drops a lock
            for (int i = 0; i < times(5); ++i) {
                static_cast<void>(box->submit(submission("c", "after")));
            }
        }
        stop = true;
        reader.join();
        box.reopen();
        return box->submit(submission("c", "at last")).error || !box->verify().empty() ? 1 : 0;
    });
    CHECK(child.wait() == Ending{.code = 0});
}

TEST_CASE("S1 S36 S37: the library's own connections have the whole open profile") {
    Outboxed box;
    box.submit();
    box.store.reset();
    const outbox::Files files{box.options.path};
    const MappedByDefault mapped;
    REQUIRE(RawDatabase{box.options.path}.integer("PRAGMA mmap_size") > 0);
    for (const bool writes : {true, false}) {
        CAPTURE(writes);
        sqlite::Database database = writes ? outbox::connect_writer(box.options, files, box.random,
                                                                    box.options.busy_timeout)
                                           : outbox::connect_reader(box.options, files);
        CHECK(database.text("PRAGMA journal_mode") == "wal");
        CHECK(database.text("PRAGMA mmap_size") == "0");
        CHECK(database.text("PRAGMA cell_size_check") == "1");
        CHECK(database.text("PRAGMA trusted_schema") == "0");
        CHECK(database.text("PRAGMA temp_store") == "2");
        CHECK(database.text("PRAGMA busy_timeout") ==
              std::to_string(box.options.busy_timeout.count()));
        // DEFENSIVE: not even who may write the schema's table may.
        database.script("PRAGMA writable_schema=ON");
        CHECK_THROWS_AS(database.script("UPDATE sqlite_schema SET sql = 'CREATE TABLE t(x)'"),
                        sqlite::Failure);
        database.script("PRAGMA writable_schema=OFF");
        CHECK_THROWS_AS(database.script("ATTACH ':memory:' AS other"), sqlite::Failure);
        if (!writes) {
            CHECK_THROWS_AS(database.script("DELETE FROM record"), sqlite::Failure);
            continue;
        }
        CHECK(database.text("PRAGMA synchronous") == "2");
        CHECK(database.text("PRAGMA wal_autocheckpoint") == "0");
        CHECK(database.text("PRAGMA secure_delete") == "1");
        CHECK(database.integer("PRAGMA journal_size_limit") > 0);
        CHECK(database.integer("PRAGMA max_page_count") ==
              static_cast<std::int64_t>(box.options.max_bytes / 4096));
    }
    CHECK(RawDatabase{box.options.path}.text("PRAGMA integrity_check") == "ok");
}

TEST_CASE("the partial indexes cost no temporary table at each write") {
    Outboxed box;
    RawDatabase raw{box.options.path};
    // SQLite builds a table for `x IN (1, 2, 3)` each time that an index's WHERE says it.
    for (const char* const sql :
         {"EXPLAIN UPDATE record SET lane = ?, turn = ?, due = ? WHERE key = ?",
          "EXPLAIN INSERT INTO record(id, lane, kind, submitted_utc, submitted_boot,"
          " submitted_boot_id, sentiment, conversation) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"}) {
        CAPTURE(sql);
        sqlite3_stmt* statement = nullptr;
        REQUIRE(sqlite3_prepare_v2(raw.handle(), sql, -1, &statement, nullptr) == SQLITE_OK);
        int steps = 0;
        while (sqlite3_step(statement) == SQLITE_ROW) {
            ++steps;
            CHECK(std::string{reinterpret_cast<const char*>(sqlite3_column_text(statement, 1))} !=
                  "OpenEphemeral");
        }
        sqlite3_finalize(statement);
        CHECK(steps > 10);
    }
}

TEST_CASE("S24: files are private whatever the umask, and so are folders made") {
    Opening opening;
    const mode_t before = ::umask(0);
    {
        outbox::StoreOptions options;
        options.path = opening.folder / "a" / "b" / "feedback.db";
        outbox::Store store{options, opening.clock, opening.random};
        store.submit(submission());
        for (const auto& entry : fs::directory_iterator{opening.folder / "a" / "b"}) {
            CAPTURE(entry.path().string());
            CHECK((fs::status(entry.path()).permissions() & fs::perms::mask) ==
                  (fs::perms::owner_read | fs::perms::owner_write));
        }
        CHECK(fs::status(opening.folder / "a").permissions() == fs::perms::owner_all);
        CHECK(fs::status(opening.folder / "a" / "b").permissions() == fs::perms::owner_all);
    }
    ::umask(before);
}

TEST_CASE("a missing file is created only where that was asked for") {
    Opening opening;
    const fs::path path = opening.folder / "none.db";
    CHECK(opening.open(path, OutboxMode::read_only) == errc::no_such_file);
    CHECK(opening.open(path, OutboxMode::read_write) == errc::no_such_file);
    CHECK(opening.open(opening.folder / "no" / "folder.db", OutboxMode::read_only) ==
          errc::no_such_file);
    CHECK(files_in(opening.folder.path()) == 0);
    CHECK_FALSE(opening.open(path));
    CHECK_FALSE(opening.open(path, OutboxMode::read_write));
    CHECK_FALSE(opening.open(path, OutboxMode::read_only));
}

TEST_CASE("a path that is a folder is refused") {
    Opening opening;
    fs::create_directory(opening.folder / "folder.db");
    for (const OutboxMode mode :
         {OutboxMode::create, OutboxMode::read_write, OutboxMode::read_only}) {
        CHECK(opening.open(opening.folder / "folder.db", mode) == errc::unsafe_path);
    }
    CHECK(opening.open(opening.folder.path() / "") == errc::unsafe_path);
    CHECK(opening.open("") == errc::unsafe_path);
}

TEST_CASE("S23: a second name for the file is refused, a second name for its folder is not") {
    Opening opening;
    fs::create_directory(opening.folder / "real");
    fs::permissions(opening.folder / "real", fs::perms::owner_all);
    const fs::path path = opening.folder / "real" / "feedback.db";
    REQUIRE_FALSE(opening.open(path));
    fs::create_symlink(path, opening.folder / "link.db");
    CHECK(opening.open(opening.folder / "link.db") == errc::unsafe_path);
    fs::create_directory_symlink(opening.folder / "real", opening.folder / "alias");
    {
        outbox::StoreOptions options;
        options.path = opening.folder / "alias" / "feedback.db";
        outbox::Store store{options, opening.clock, opening.random};
        CHECK(store.path() == fs::canonical(path));
    }
    fs::create_hard_link(path, opening.folder / "real" / "second.db");
    CHECK(opening.open(path) == errc::unsafe_path);
}

TEST_CASE("S25: a folder that others may write is refused") {
    Opening opening;
    fs::create_directory(opening.folder / "shared");
    fs::permissions(opening.folder / "shared", fs::perms::all);
    CHECK(opening.open(opening.folder / "shared" / "feedback.db") == errc::unsafe_path);
    CHECK(files_in(opening.folder / "shared") == 0);
}

TEST_CASE("S34: another application's database is refused and left as it was") {
    Opening opening;
    const fs::path path = opening.folder / "other.db";
    for (const std::string make :
         {"CREATE TABLE notes(text); INSERT INTO notes VALUES('theirs');",
          "PRAGMA application_id=42;", "PRAGMA journal_mode=WAL; CREATE TABLE notes(text);",
          "PRAGMA user_version=3;"}) {
        CAPTURE(make);
        fs::remove(path);
        RawDatabase{path}.run(make);
        const std::string before = content(path);
        const std::size_t files = files_in(opening.folder.path());
        for (const OutboxMode mode :
             {OutboxMode::create, OutboxMode::read_write, OutboxMode::read_only}) {
            CHECK(opening.open(path, mode) == errc::foreign_file);
        }
        CHECK(content(path) == before);
        CHECK(files_in(opening.folder.path()) == files);
    }
}

TEST_CASE("S7: a header cut between its version and its id is that of an outbox in the making") {
    Opening opening;
    const fs::path path = opening.folder / "feedback.db";
    RawDatabase{path}.run("PRAGMA user_version=1");
    REQUIRE(os::create_private_file(path.string() + "-lock"));
    CHECK_FALSE(opening.open(path));
    CHECK(RawDatabase{path}.integer("SELECT count(*) FROM ledger") == 1);
}

TEST_CASE("S33: an outbox of a newer schema is refused and byte-identical afterwards") {
    Outboxed box;
    box.submit();
    box.store.reset();
    RawDatabase{box.options.path}.run("PRAGMA user_version=2; PRAGMA wal_checkpoint(TRUNCATE);");
    const std::string before = content(box.options.path);
    for (const OutboxMode mode :
         {OutboxMode::create, OutboxMode::read_write, OutboxMode::read_only}) {
        box.options.mode = mode;
        CHECK(code_of([&] { box.open(); }) == errc::newer_schema);
    }
    CHECK(content(box.options.path) == before);
}

TEST_CASE("an outbox migrated by another process while open is not written any more") {
    Outboxed box;
    box.submit();
    RawDatabase{box.options.path}.run("PRAGMA user_version=2");
    CHECK(box->submit(submission()).error == errc::newer_schema);
    CHECK(code_of([&] { box->hold(); }) == errc::newer_schema);
    RawDatabase{box.options.path}.run("PRAGMA user_version=1");
    CHECK_FALSE(box->submit(submission()).error);
}

TEST_CASE("what is no database, and has nothing of ours beside it, is refused and left as it is") {
    Opening opening;
    const fs::path path = opening.folder / "garbage.db";
    const std::string garbage(20'000, 'g');
    std::ofstream{path, std::ios::binary} << garbage;
    fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
    for (const OutboxMode mode :
         {OutboxMode::read_only, OutboxMode::read_write, OutboxMode::create}) {
        CHECK(opening.open(path, mode) == errc::foreign_file);
    }
    CHECK(content(path) == garbage);
}

TEST_CASE("a crash while the file was being made leaves what the next open completes") {
    Opening opening;
    const fs::path path = opening.folder / "feedback.db";
    SUBCASE("an empty file") {
        std::ofstream{path};
    }
    SUBCASE("a first page without tables") {
        RawDatabase{path}.run("PRAGMA auto_vacuum=2; PRAGMA journal_mode=WAL;");
    }
    fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
    CHECK_FALSE(opening.open(path));
    CHECK(RawDatabase{path}.integer("PRAGMA user_version") == 1);
}

TEST_CASE("S21: a network file system is refused before a byte is written, or used where allowed") {
    const FakeFileSystem network{0x6969};
    for (const OutboxMode mode :
         {OutboxMode::create, OutboxMode::read_write, OutboxMode::read_only}) {
        TemporaryFolder folder;
        outbox::StoreOptions options;
        options.path = folder / "feedback.db";
        options.mode = mode;
        CHECK(code_of([&] { Outboxed box{options}; }) == errc::network_file_system);
        CHECK(fs::is_empty(folder.path()));
        options.allow_network_file_system = true;
        options.mode = OutboxMode::create;
        Outboxed{options}.submit();
        options.mode = mode;
        Outboxed box{options};
        CHECK(box->status().accepted == 1);
    }
}

TEST_CASE("S22: a folder that may not be written is told as read-only, and can be read") {
    Outboxed box;
    const std::string id = box.submit();
    box.store.reset();
    const auto reads_in_a_readable_folder = [&](bool companions) {
        if (!companions) {
            RawDatabase{box.options.path}.run("PRAGMA wal_checkpoint(TRUNCATE)");
            for (const char* suffix : {"-wal", "-shm", "-lock", "-ballast"}) {
                fs::remove(box.options.path.string() + suffix);
            }
        }
        fs::permissions(box.folder.path(), fs::perms::owner_read | fs::perms::owner_exec);
        const auto ending =
            ChildProcess::run([&](ParentLink&) {
                if (::geteuid() == 0) {
                    // Whoever is not root is stopped by the folder's permissions.
                    if (::chown(box.folder.path().c_str(), 65534, 65534) != 0) {
                        return 1;
                    }
                    for (const auto& entry : fs::directory_iterator{box.folder.path()}) {
                        if (::chown(entry.path().c_str(), 65534, 65534) != 0) {
                            return 2;
                        }
                    }
                    if (::setgid(65534) != 0 || ::setuid(65534) != 0) {
                        return 3;
                    }
                }
                outbox::StoreOptions options;
                options.path = box.options.path;
                if (code_of([&] {
                        outbox::Store{options, box.clock, box.random};
                    }) != errc::read_only) {
                    return 4;
                }
                options.mode = OutboxMode::read_only;
                outbox::Store store{options, box.clock, box.random};
                return store.get(id).comment == "fine" && store.status().accepted == 1 ? 0 : 5;
            }).wait();
        CHECK(ending == Ending{0, 0});
        fs::permissions(box.folder.path(), fs::perms::owner_all);
        static_cast<void>(::chown(box.folder.path().c_str(), ::geteuid(), ::getegid()));
        for (const auto& entry : fs::directory_iterator{box.folder.path()}) {
            static_cast<void>(::chown(entry.path().c_str(), ::geteuid(), ::getegid()));
        }
    };
    reads_in_a_readable_folder(true);
    reads_in_a_readable_folder(false);
}

TEST_CASE("a reader sees what another process writes, and goes on after it is gone") {
    Outboxed box;
    const std::string first = box.submit();
    outbox::StoreOptions options;
    options.path = box.options.path;
    options.mode = OutboxMode::read_only;
    outbox::Store reader{options, box.clock, box.random};
    CHECK(reader.status().accepted == 1);
    auto child = ChildProcess::run([&](ParentLink& parent) {
        Outboxed other{[&] {
            outbox::StoreOptions same;
            same.path = box.options.path;
            return same;
        }()};
        other.submit("c9");
        parent.tell();
        parent.await();
        return 0;
    });
    REQUIRE(child.await() == '.');
    CHECK(reader.status().accepted == 2);
    child.kill();
    box.store.reset();
    CHECK(reader.status().accepted == 2);
    CHECK(reader.list({}, 10).size() == 2);
    outbox::Store another{options, box.clock, box.random};
    CHECK(another.get(first).comment == "fine");
    CHECK(code_of([&] { another.hold(); }) == errc::read_only);
    CHECK(another.submit(submission()).error == errc::read_only);
}

TEST_CASE("S19: a child of fork is refused, and harms nothing") {
    Outboxed box;
    box.submit();
    auto child = ChildProcess::run([&](ParentLink&) {
        const bool refused = box->submit(submission()).error == errc::forked &&
                             code_of([&] { box->status(); }) == errc::forked &&
                             code_of([&] { box->drain(box.request(1)); }) == errc::forked;
        box.store.reset();
        return refused ? 0 : 1;
    });
    CHECK(child.wait() == Ending{0, 0});
    box.submit();
    CHECK(box->status().accepted == 2);
    CHECK(box->verify().empty());
}

// The address sanitizer of g++ 12 does not free its allocator's mutexes in a child.
TEST_CASE("S19: a child forked in the middle of commits and reads opens an outbox of its own" *
          doctest::skip(under_address_sanitizer)) {
    Outboxed box;
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    threads.emplace_back([&] {
        for (int n = 0; !stop; ++n) {
            box.submit("c", "parent " + std::to_string(n));
        }
    });
    threads.emplace_back([&] {
        while (!stop) {
            static_cast<void>(box->status());
        }
    });
    const int forks = times(60);
    int refused = 0;
    for (int i = 0; i < forks; ++i) {
        auto child = ChildProcess::run([&](ParentLink&) {
            outbox::StoreOptions options = box.options;
            options.on_event = {};
            options.on_work = {};
            outbox::Store own{options, box.clock, box.random};
            return own.submit(submission("c", "child")).error ? 1 : 0;
        });
        refused += child.wait() == Ending{.code = 0} ? 0 : 1;
    }
    stop = true;
    for (std::thread& thread : threads) {
        thread.join();
    }
    CHECK(refused == 0);
    CHECK(box->verify().empty());
}

// SQLite's "dead man's switch": who finds it free takes the shared memory for nobody's, and empties
// it (https://www.sqlite.org/walformat.html, "Recovery").
TEST_CASE("S19: a forked child's own outbox holds its own locks, and outlives its parent's") {
    Outboxed box;
    box.submit();
    static_cast<void>(box->status());
    auto child = ChildProcess::run([&](ParentLink& link) {
        outbox::Store own{box.options, box.clock, box.random};
        const bool first = !own.submit(submission()).error && own.status().accepted == 2;
        link.tell(first ? 'y' : 'n');
        link.await();
        return own.submit(submission()).error ? 1 : 0;
    });
    REQUIRE(child.await() == 'y');
    auto holder = ChildProcess::run([&](ParentLink&) {
        struct flock lock {};
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        lock.l_start = 128;
        lock.l_len = 1;
        const std::string file = box.options.path.string() + "-shm";
        const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
        const bool known = ::fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
        return known && lock.l_pid == child.pid() ? 0 : 1;
    });
    CHECK(holder.wait() == Ending{.code = 0});
    box.submit();  // the parent goes on
    box.store.reset();
    CHECK(ChildProcess::run([&](ParentLink&) {
              Outboxed other{box.options};
              return other->status().accepted == 3 ? 0 : 1;
          }).wait() == Ending{.code = 0});
    child.say();
    CHECK(child.wait() == Ending{.code = 0});
    box.open();
    CHECK(box->status().accepted == 4);
    CHECK(box->verify().empty());
}

TEST_CASE("after close every call says so") {
    Outboxed box;
    const std::string id = box.submit();
    box->close();
    box->close();
    CHECK(box->submit(submission()).error == errc::closed);
    CHECK(code_of([&] { box->status(); }) == errc::closed);
    CHECK(code_of([&] { box->get(id); }) == errc::closed);
    CHECK(code_of([&] { box->tidy(); }) == errc::closed);
}

TEST_CASE("S19: the same where a cleaner took the -shm just before the fork") {
    Outboxed box;
    box.submit();
    std::filesystem::remove(box.options.path.string() + "-shm");
    auto child = ChildProcess::run([&](ParentLink& link) {
        link.await();  // the parent has gone over to new files
        outbox::Store own{box.options, box.clock, box.random};
        const bool first = !own.submit(submission()).error && own.status().accepted == 3;
        link.tell(first ? 'y' : 'n');
        link.await();
        return own.submit(submission()).error || own.status().accepted != 5 ? 1 : 0;
    });
    box.submit();
    child.say();
    CHECK(child.await() == 'y');
    box.submit();
    CHECK(box->status().accepted == 4);
    child.say();
    CHECK(child.wait() == Ending{.code = 0});
    box.store.reset();
    Outboxed other{box.options};
    CHECK(other->status().accepted == 5);
    CHECK(other->verify().empty());
}
