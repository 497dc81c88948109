#include "outbox/connect.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "outbox/errors.hpp"
#include "outbox/ledger.hpp"
#include "outbox/rows.hpp"
#include "outbox/schema.hpp"

namespace agentsight::outbox {

namespace {

constexpr std::int64_t kept_wal_bytes = 4 << 20;

void require_ours(FileKind kind, const Files& files) {
    switch (kind) {
        case FileKind::fresh:
        case FileKind::ours:
        case FileKind::older_schema:
            return;
        case FileKind::newer_schema:
            throw_cannot("use", files.database, errc::newer_schema,
                         "it was written by a newer version of this library; update this "
                         "application. Nothing was changed");
        case FileKind::foreign:
            throw_cannot("use", files.database, errc::foreign_file,
                         "it is a database of another application; choose another path. "
                         "Nothing was changed");
        case FileKind::damaged:
            throw_cannot("use", files.database, errc::damaged,
                         "its tables are not as they were made; run "
                         "`agentsight-outbox salvage`");
    }
}

/// Our lock or ballast beside it: what stands there was an outbox.
bool has_companions(const Files& files) {
    // After a power cut while the file was made, its log may be all that stands beside it.
    return os::identity(files.lock) || os::identity(files.ballast) ||
           os::file_size(files.wal) != 0 || os::file_size(files.journal) != 0;
}

/// In its header, though the rest may be anything:
/// https://www.sqlite.org/fileformat.html#application_id
bool bears_our_id(const Files& files) {
    constexpr std::size_t offset = 68;
    const std::string header = os::first_bytes(files.database, offset + 4);
    std::uint32_t id = 0;
    for (std::size_t i = offset; i < header.size(); ++i) {
        id = id << 8 | static_cast<unsigned char>(header[i]);
    }
    return header.size() == offset + 4 && id == static_cast<std::uint32_t>(application_id);
}

void require(bool holds, const char* what) {
    if (!holds) {
        throw sqlite::Failure::other(std::string{"SQLite would not set "} + what);
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
    database.integer("PRAGMA max_page_count=" + std::to_string(quota_pages(options)));
    database.keep_wal();
}

}  // namespace

std::int64_t quota_pages(const StoreOptions& options) {
    constexpr std::uint64_t least = 64;
    constexpr std::uint64_t most =
        0xfffffffe - 1'000;  // SQLite's own limit, and room for a reserve
    return static_cast<std::int64_t>(
        std::clamp(options.max_bytes / static_cast<std::uint64_t>(page_size), least, most));
}

bool refuse_foreign(const StoreOptions& options, const Files& files) {
    if (os::file_size(files.database) == 0) {
        return false;  // nothing in it yet
    }
    try {
        // Immutable: neither locks nor -wal nor -shm. What only the WAL knows is asked later.
        sqlite::Database probe{files.database,
                               {.read_only = true, .immutable = true, .vfs = options.vfs}};
        const FileKind kind = inspect(probe, options.schema);
        require_ours(kind, files);
        return kind == FileKind::ours;
    } catch (const std::exception&) {
        const Error error = to_error(std::current_exception(), "open", files.database);
        if (error.code() != errc::damaged) {
            throw error;
        }
        if (!has_companions(files) && !bears_our_id(files)) {
            throw_cannot("use", files.database, errc::foreign_file,
                         "it is not a database, or a damaged one without the files that "
                         "stand beside an outbox; choose another path. Nothing was changed");
        }
        // Perhaps only without its WAL; else it is moved aside and salvaged.
        return false;
    }
}

sqlite::Database connect_writer(const StoreOptions& options, const Files& files,
                                core::Random& random, std::chrono::milliseconds busy_timeout) {
    sqlite::Database database{files.database, {.vfs = options.vfs, .busy_timeout = busy_timeout}};
    const FileKind kind = inspect(database, options.schema);
    require_ours(kind, files);
    if (kind == FileKind::fresh) {
        const auto salt = draw_salt(random);
        create_schema(database, options.schema, salt);
    }
    set_profile(database, options);
    require_ours(inspect(database, options.schema), files);  // reads: from now on the -wal is there
    read_last(database, read_ledger(database));
    return database;
}

sqlite::Database connect_reader(const StoreOptions& options, const Files& files) {
    const auto open = [&](bool immutable) {
        sqlite::Database database{files.database,
                                  {.read_only = true,
                                   .immutable = immutable,
                                   .vfs = options.vfs,
                                   .busy_timeout = options.busy_timeout}};
        const FileKind kind = inspect(database, options.schema);
        require_ours(kind, files);
        if (kind == FileKind::fresh) {
            throw_cannot("read", files.database, errc::no_such_file,
                         "nothing was ever submitted to it");
        }
        return database;
    };
    try {
        return open(false);
    } catch (const sqlite::Failure& failure) {
        const bool no_room_for_shm = failure.trouble() == sqlite::Trouble::cannot_open ||
                                     failure.trouble() == sqlite::Trouble::read_only;
        // In a read-only folder without companions the file alone is all there is. Elsewhere
        // somebody may be writing, and an immutable connection would never see it.
        if (!no_room_for_shm || os::file_size(files.wal) != 0 || os::identity(files.shm) ||
            os::is_writable(files.database.parent_path())) {
            throw;
        }
        return open(true);
    }
}

}  // namespace agentsight::outbox
