#include "outbox/connect.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "outbox/errors.hpp"
#include "outbox/schema.hpp"

namespace agentsight::outbox {

namespace {

constexpr std::int64_t kept_wal_bytes = 4 << 20;

[[noreturn]] void refuse(FileKind kind, const Files& files) {
    if (kind == FileKind::newer_schema) {
        throw Error{errc::newer_schema,
                    "cannot use " + quoted(files.database) +
                        ": it was written by a newer version of this library; update this "
                        "application. Nothing was changed"};
    }
    throw Error{errc::foreign_file,
                "cannot use " + quoted(files.database) +
                    ": it is a database of another application; choose another path. Nothing was "
                    "changed"};
}

void require_ours(FileKind kind, const Files& files) {
    if (kind == FileKind::newer_schema || kind == FileKind::foreign) {
        refuse(kind, files);
    }
}

void require(bool holds, const char* what) {
    if (!holds) {
        throw sqlite::Failure{1, 0, std::string{"SQLite would not set "} + what};
    }
}

std::array<std::uint8_t, 16> draw_salt(core::Random& random) {
    const std::array<std::uint64_t, 2> words{random.next(), random.next()};
    std::array<std::uint8_t, 16> salt{};
    std::memcpy(salt.data(), words.data(), salt.size());
    return salt;
}

void set_profile(sqlite::Database& database, const StoreOptions& options) {
    require(database.text("PRAGMA journal_mode=WAL") == "wal", "journal_mode=WAL");
    const bool full = options.durability == Durability::power_cut;
    database.script(full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
    require(database.integer("PRAGMA synchronous") == (full ? 2 : 1), "synchronous");
    require(database.integer("PRAGMA wal_autocheckpoint=0") == 0, "wal_autocheckpoint=0");
    database.integer("PRAGMA journal_size_limit=" + std::to_string(kept_wal_bytes));
    database.integer("PRAGMA secure_delete=ON");
    const std::uint64_t pages =
        std::max<std::uint64_t>(options.max_bytes / static_cast<std::uint64_t>(page_size), 64);
    database.integer("PRAGMA max_page_count=" +
                     std::to_string(std::min<std::uint64_t>(pages, 0xfffffffe)));
    database.keep_wal();
}

}  // namespace

void refuse_foreign(const StoreOptions& options, const Files& files) {
    if (os::file_size(files.database) == 0) {
        return;  // nothing in it yet
    }
    // Immutable: neither locks nor -wal nor -shm. What only they know is asked later.
    try {
        sqlite::Database probe{files.database,
                               {.read_only = true, .immutable = true, .vfs = options.vfs}};
        require_ours(inspect(probe), files);
    } catch (const sqlite::Failure& failure) {
        // Power went in a checkpoint, or while the file was made: its -wal or -journal mends it.
        const bool may_mend = os::file_size(files.wal) != 0 || os::file_size(files.journal) != 0;
        if (failure.trouble() != sqlite::Trouble::damaged || !may_mend) {
            throw;
        }
    }
}

sqlite::Database connect_writer(const StoreOptions& options, const Files& files,
                                core::Random& random) {
    sqlite::Database database{files.database,
                              {.vfs = options.vfs, .busy_timeout = options.busy_timeout}};
    const FileKind kind = inspect(database);
    require_ours(kind, files);
    if (kind == FileKind::fresh) {
        const auto salt = draw_salt(random);
        create_schema(database, salt);
    }
    set_profile(database, options);
    require_ours(inspect(database), files);  // reads: from now on the -wal is there
    return database;
}

sqlite::Database connect_reader(const StoreOptions& options, const Files& files) {
    const auto open = [&](bool immutable) {
        sqlite::Database database{files.database,
                                  {.read_only = true,
                                   .immutable = immutable,
                                   .vfs = options.vfs,
                                   .busy_timeout = options.busy_timeout}};
        const FileKind kind = inspect(database);
        require_ours(kind, files);
        if (kind == FileKind::fresh) {
            throw Error{errc::no_such_file, "cannot read " + quoted(files.database) +
                                                ": nothing was ever submitted to it"};
        }
        return database;
    };
    try {
        return open(false);
    } catch (const sqlite::Failure& failure) {
        const bool no_room_for_shm = failure.trouble() == sqlite::Trouble::cannot_open ||
                                     failure.trouble() == sqlite::Trouble::read_only;
        // A read-only folder without companions: nobody writes there, so the file alone is all.
        if (!no_room_for_shm || os::file_size(files.wal) != 0) {
            throw;
        }
        return open(true);
    }
}

}  // namespace agentsight::outbox
