#include "outbox/salvage.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/text.hpp"
#include "core/throw_error.hpp"
#include "os/file.hpp"
#include "outbox/connect.hpp"
#include "outbox/errors.hpp"
#include "outbox/ledger.hpp"
#include "outbox/page_scan.hpp"
#include "outbox/rows.hpp"
#include "outbox/schema.hpp"

namespace agentsight::outbox {

namespace {

namespace fs = std::filesystem;
using Type = StoredValue::Type;

constexpr std::size_t max_marker_bytes = 4096;
constexpr int max_names_tried = 1000;
constexpr std::int64_t largest_key = std::int64_t{1} << 48;
/// A wall clock further off than this from the server's would be needed to miss a row.
constexpr core::UtcMs clock_slack_ms = 24 * 60 * 60 * 1000;

fs::path sibling(const fs::path& path, const std::string& suffix) {
    fs::path made = path;
    made += suffix;
    return made;
}

fs::path marker_of(const Files& files) {
    return sibling(files.database, "-salvage");
}

/// The name the marker holds; none where a crash left it without one: nothing was moved.
std::optional<fs::path> promised_name(const Files& files) {
    const auto text = os::read_small_file(marker_of(files), max_marker_bytes);
    if (!text || text->empty() || text->back() != '\n') {
        return std::nullopt;
    }
    return files.database.parent_path() / fs::path{text->substr(0, text->size() - 1)}.filename();
}

void move_aside(const Files& files, const fs::path& target, const char* suffix) {
    const fs::path from = sibling(files.database, suffix);
    if (os::identity(from)) {
        os::rename_file(from, sibling(target, suffix));
    }
}

/// The database last, and once the others' new names are durable: as long as it stands, nothing
/// fresh has been made in its place, and behind it nothing of the damaged one is left, which a
/// fresh one would take for its own log.
void move_aside(const Files& files, const fs::path& target) {
    const fs::path folder = files.database.parent_path();
    if (!os::identity(target)) {
        for (const char* suffix : {"-shm", "-wal", "-journal"}) {
            move_aside(files, target, suffix);
        }
        os::sync_folder(folder);
        move_aside(files, target, "");
    }
    os::sync_folder(folder);
}

// --- what the rows look like -----------------------------------------------------------------

constexpr std::size_t record_columns = 37;
constexpr std::size_t ledger_columns = 32;

bool is_text(const StoredValue& value) {
    return value.type == Type::text && core::count_code_points(value.bytes).has_value();
}

/// Reads the columns of a row from left to right, in the order of the schema.
class Columns {
  public:
    /// The key's own column is stored as NULL.
    explicit Columns(const StoredRow& row, std::size_t first = 1) : row_(row), column_(first) {}

    bool failed() const { return failed_; }
    void skip() { ++column_; }
    std::optional<std::int64_t> maybe() {
        const StoredValue& value = next();
        if (value.type == Type::null) {
            return std::nullopt;
        }
        failed_ = failed_ || value.type != Type::integer;
        return value.integer;
    }
    std::int64_t number() {
        const auto value = maybe();
        return value.value_or(0);
    }
    template <class T>
    T named(std::int64_t last) {
        const std::int64_t value = number();
        failed_ = failed_ || value < 0 || value > last;
        return static_cast<T>(value);
    }
    std::string text() {
        const StoredValue& value = next();
        failed_ = failed_ || !(value.type == Type::null || is_text(value));
        return value.bytes;
    }
    std::optional<core::Uuid> maybe_id() {
        const StoredValue& value = next();
        if (value.type == Type::null) {
            return std::nullopt;
        }
        failed_ = failed_ || value.type != Type::blob || value.bytes.size() != 16;
        return uuid_of(as_bytes(value.bytes));
    }
    core::Uuid id() { return maybe_id().value_or(core::Uuid{}); }
    std::optional<core::Moment> maybe_moment() {
        const auto utc = maybe();
        const auto boot = maybe();
        const auto boot_id = maybe();
        if (!utc || !boot || !boot_id) {
            return std::nullopt;
        }
        return core::Moment{*utc, *boot, static_cast<std::uint64_t>(*boot_id)};
    }
    static sqlite::Bytes as_bytes(const std::string& bytes) {
        return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
    }

  private:
    const StoredValue& next() { return row_.values[column_++]; }

    const StoredRow& row_;
    std::size_t column_;
    bool failed_ = false;
};

struct FoundRecord {
    RowState row;
    Text text;
};

/// None where it is no record, or not as it was written.
std::optional<FoundRecord> as_record(const StoredRow& stored) {
    if (stored.values.size() != record_columns || stored.rowid < 1 || stored.rowid > largest_key) {
        return std::nullopt;
    }
    Columns from{stored};
    FoundRecord found;
    RowState& row = found.row;
    row.key = stored.rowid;
    row.id = from.id();
    row.lane = from.named<Lane>(9);
    row.kind = from.named<Credential::Kind>(2);
    row.caller = from.maybe_id();
    row.turn = from.maybe();
    row.due = from.maybe();
    row.attempts = static_cast<int>(from.number());
    row.refusals = static_cast<int>(from.number());
    if (const auto status = from.maybe()) {
        row.last_status = static_cast<int>(*status);
    }
    row.last_error = from.text();
    row.first_attempt = from.maybe_moment();
    row.began = from.maybe_moment();
    row.ended = from.maybe_moment();
    row.server_date = from.maybe();
    row.origin = from.maybe();
    row.looks = static_cast<int>(from.number());
    row.first_absent = from.maybe();
    row.server_id = from.text();
    row.server_time = from.maybe();
    row.delivered = from.maybe();
    from.skip();  // the room
    row.fingerprint = from.number();
    const std::int64_t written = from.number();
    row.submitted = from.maybe_moment().value_or(core::Moment{});
    row.sentiment = from.named<Sentiment>(2);
    row.conversation = from.text();
    found.text.comment = from.text();
    found.text.metadata = from.text();
    if (from.failed() || row.conversation.empty() || written != checksum(row)) {
        return std::nullopt;
    }
    return found;
}

/// None where it is no ledger, or not as it was written.
std::optional<Ledger> as_ledger(const StoredRow& stored) {
    if (stored.values.size() != ledger_columns || stored.rowid != 1 ||
        stored.values[1].bytes.size() != sizeof(Salt)) {
        return std::nullopt;
    }
    Columns from{stored, 2};
    const Ledger ledger = ledger_from(from, salt_of(Columns::as_bytes(stored.values[1].bytes)));
    const std::int64_t written = from.number();
    return from.failed() || written != checksum(ledger) ? std::nullopt : std::optional{ledger};
}

bool is_origin(const StoredRow& row) {
    return row.values.size() == 2 && row.values[0].type == Type::null && is_text(row.values[1]) &&
           row.values[1].bytes.starts_with("http");
}

// --- rescuing -----------------------------------------------------------------------------

class Rescue {
  public:
    Rescue(sqlite::Database& database, const core::Moment& moment)
        : database_(database), moment_(moment), fresh_salt_(read_ledger(database).salt) {}

    /// First pass: what the records' rows depend on, and the fresh ledger.
    void take_side_row(const StoredRow& row) {
        if (const auto ledger = as_ledger(row)) {
            before_ = ledger;
        } else if (is_origin(row)) {
            origins_[row.rowid] = row.values[1].bytes;
        } else if (const auto record = as_record(row)) {
            any_claimed_ = any_claimed_ || record->row.began;
        }
    }
    void write_origins() {
        for (const auto& [number, text] : origins_) {
            database_.execute("INSERT OR IGNORE INTO origin(number, text) VALUES(?, ?)", number,
                              text);
        }
    }

    /// Second pass.
    void take_record(const StoredRow& stored) {
        auto found = as_record(stored);
        if (!found || !is_whole(*found)) {
            return;
        }
        if (!before_ && !is_erased(found->text)) {
            // The salt is lost: what a resubmit is compared with is made anew.
            found->row.fingerprint = fingerprint_of(*found, fresh_salt_);
        }
        // Of two copies of a record the one that got further.
        const auto before = read_row(database_, found->row.key);
        if (before && before->lane >= found->row.lane) {
            return;
        }
        if (before) {
            database_.execute("DELETE FROM record WHERE key = ?", before->key);
        }
        if (found->row.lane < Lane::left) {
            make_unknown(found->row);
        }
        if (found->row.lane == Lane::fresh) {
            found->row = untouched(found->row);
        } else {
            found->row.turn = found->row.own_turn();
        }
        insert_row(database_, found->row, found->text.comment, found->text.metadata);
    }

    Salvaged finish() {
        drop_disordered();
        rebuild_sides();
        const Ledger ledger = make_ledger();
        write_ledger(database_, ledger);
        return {.rescued = rescued_, .lost = lost_, .moved_to = {}};
    }

  private:
    /// Whether the text is the one submitted, as far as the salt is known.
    bool is_whole(const FoundRecord& found) const {
        return is_erased(found.text) || !before_ ||
               fingerprint_of(found, before_->salt) == found.row.fingerprint;
    }

    static bool is_erased(const Text& text) {
        return text.comment.empty() && text.metadata.empty();
    }
    static std::int64_t fingerprint_of(const FoundRecord& found, const Salt& salt) {
        return fingerprint({{found.row.conversation},
                            found.row.sentiment,
                            found.text.comment,
                            found.text.metadata},
                           salt);
    }

    /// Whatever the page says, a newer copy of it may have said "claimed", or "delivered". Only
    /// where nothing was ever claimed is nothing in doubt.
    void make_unknown(RowState& row) const {
        if (!any_claimed_ && origins_.empty()) {
            row.lane = Lane::fresh;
            return;
        }
        row.lane = Lane::unknown;
        row.due = 0;
        row.looks = 0;
        row.first_absent.reset();
        row.ended.reset();
        if (!row.began) {
            // It may have been sent any time after it was submitted.
            row.began = row.submitted;
            row.server_date = row.submitted.utc_ms - clock_slack_ms;
            if (!origins_.empty()) {
                row.origin = origins_.rbegin()->first;
            }
        }
    }

    /// As it was submitted.
    static RowState untouched(const RowState& row) {
        RowState fresh;
        fresh.key = row.key;
        fresh.id = row.id;
        fresh.caller = row.caller;
        fresh.kind = row.kind;
        fresh.fingerprint = row.fingerprint;
        fresh.submitted = row.submitted;
        fresh.sentiment = row.sentiment;
        fresh.conversation = row.conversation;
        return fresh;
    }

    /// Ids grow with the keys, or no record could be found by its id: what breaks the order
    /// stands on a damaged page.
    void drop_disordered() {
        std::vector<std::int64_t> wrong;
        {
            sqlite::Rows rows = database_.query(
                "SELECT key, id, lead(id) OVER (ORDER BY key) FROM record ORDER BY key");
            core::Uuid before;
            while (rows.next()) {
                const core::Uuid id = uuid_of(rows.bytes(1));
                const core::Uuid next = uuid_of(rows.bytes(2));
                const bool too_high = !rows.is_null(2) && id >= next && next > before;
                if (id <= before || too_high) {
                    wrong.push_back(rows.integer(0));
                } else {
                    before = id;
                }
            }
        }
        for (const std::int64_t key : wrong) {
            database_.execute("DELETE FROM record WHERE key = ?", key);
        }
    }

    void rebuild_sides() {
        database_.execute(
            "DELETE FROM record WHERE caller IS NOT NULL AND key NOT IN"
            " (SELECT min(key) FROM record WHERE caller IS NOT NULL GROUP BY caller)");
        database_.execute(
            "INSERT INTO caller_id(id, key) SELECT caller, key FROM record"
            " WHERE caller IS NOT NULL");
        database_.execute(
            "INSERT OR IGNORE INTO owned(origin, server_id, key, server_time)"
            " SELECT origin, server_id, key, ifnull(server_time, ifnull(delivered_utc, 0))"
            " FROM record WHERE lane = 8 AND origin IS NOT NULL AND server_id IS NOT NULL");
    }

    Ledger make_ledger() {
        const Ledger before = before_.value_or(Ledger{.salt = fresh_salt_});
        Ledger ledger;
        ledger.salt = before.salt;
        recount(database_, ledger);
        const std::uint64_t found = ledger.claimed + ledger.unknown + ledger.left + ledger.dead +
                                    ledger.kept_delivered + ledger.kept_discarded +
                                    static_cast<std::uint64_t>(database_.integer(
                                        "SELECT count(*) FROM record WHERE lane <= 3"));
        rescued_ = found;
        const LastRow last = read_last(database_, ledger);
        const std::int64_t accepted = std::max(
            {last.key, before.floor_key, before.fresh_cursor,
             static_cast<std::int64_t>(found + before.delivered + before.dropped +
                                       before.discarded) -
                 static_cast<std::int64_t>(ledger.kept_delivered + ledger.kept_discarded)});
        ledger.floor_key = accepted;
        ledger.floor_id = std::max(last.id, before.floor_id);
        ledger.delivered = std::max(before.delivered, ledger.kept_delivered);
        ledger.discarded = std::max(before.discarded, ledger.kept_discarded);
        const std::uint64_t open = found - ledger.kept_delivered - ledger.kept_discarded;
        const auto all = static_cast<std::uint64_t>(accepted);
        const std::uint64_t known = open + ledger.delivered + ledger.discarded + before.dropped;
        lost_ = all > known ? all - known : 0;
        ledger.dropped = before.dropped + lost_;
        if (known > all) {
            // A row told an older story than the ledger: believe the rows.
            ledger.floor_key = static_cast<std::int64_t>(known);
        }
        restore_cursors(ledger, before, last.key);
        return ledger;
    }

    void restore_cursors(Ledger& ledger, const Ledger& before, std::int64_t last_key) const {
        const bool all_fresh = !any_claimed_ && origins_.empty();
        ledger.fresh_cursor = all_fresh ? 0 : last_key;
        ledger.low_key = 1;
        ledger.possible_duplicates = before.possible_duplicates;
        ledger.epoch = before.epoch + 1;
        ledger.control = before.control;
        ledger.route = std::clamp(before.route, 0, 1);
        ledger.server_date = before.server_date;
        ledger.trusted_time = before.trusted_time;
        ledger.boot_id = moment_.boot_id;
        ledger.axis_offset = -moment_.boot_ms;
        ledger.last_delivered = before.last_delivered;
    }

    sqlite::Database& database_;
    core::Moment moment_;
    Salt fresh_salt_;
    std::optional<Ledger> before_;  ///< where it could be read
    std::map<std::int64_t, std::string> origins_;
    bool any_claimed_ = false;
    std::uint64_t rescued_ = 0;
    std::uint64_t lost_ = 0;
};

Salvaged rescue(sqlite::Database& database, const fs::path& damaged, const core::Moment& moment) {
    sqlite::Transaction transaction{database};
    Rescue rescue{database, moment};
    const fs::path wal = sibling(damaged, "-wal");
    scan_rows(damaged, wal, [&](StoredRow&& row) { rescue.take_side_row(row); });
    rescue.write_origins();
    scan_rows(damaged, wal, [&](StoredRow&& row) { rescue.take_record(row); });
    const Salvaged salvaged = rescue.finish();
    transaction.commit();
    return salvaged;
}

Salvaged fill_fresh(const StoreOptions& options, const Files& files, core::Random& random,
                    const fs::path& damaged, const core::Moment& moment) {
    sqlite::Database database = connect_writer(options, files, random, options.busy_timeout);
    if (const std::int64_t count = database.integer("SELECT count(*) FROM record"); count != 0) {
        // A run before this one had come that far, perhaps only in the page cache: durable before
        // the marker goes.
        database.checkpoint(sqlite::Database::Checkpoint::passive);
        return {.rescued = static_cast<std::uint64_t>(count), .lost = 0, .moved_to = {}};
    }
    try {
        return rescue(database, damaged, moment);
    } catch (...) {
        // A commit whose sync has failed would be believed by the next run, and no later sync
        // brings it to the disk. Nobody was told of anything in it.
        database.close();
        for (const fs::path& file : {files.database, files.wal, files.shm}) {
            os::remove_file(file);
        }
        throw;
    }
}

}  // namespace

fs::path name_aside(const Files& files, core::UtcMs now) {
    std::string stamp = core::iso8601(now);
    std::erase_if(stamp, [](char character) { return character == ':' || character == '-'; });
    for (int i = 0; i < max_names_tried; ++i) {
        const fs::path name =
            sibling(files.database, ".damaged-" + stamp + (i == 0 ? "" : "-" + std::to_string(i)));
        if (!os::identity(name) && !os::identity(sibling(name, "-wal"))) {
            return name;
        }
    }
    core::throw_error(errc::io_error, "cannot move " + quoted(files.database) +
                                          " aside: every name for it is taken; remove old ones");
}

bool salvage_is_pending(const Files& files) {
    return os::identity(marker_of(files)).has_value();
}

Salvaged salvage(const StoreOptions& options, const Files& files, const core::Clock& clock,
                 core::Random& random) {
    const core::Moment moment = clock.now();
    std::optional<fs::path> target = promised_name(files);
    if (target) {
        os::sync_file(marker_of(files));  // whose writer may have been killed before its sync
    } else {
        os::remove_file(marker_of(files));
        target = name_aside(files, moment.utc_ms);
        os::write_small_file(marker_of(files), target->filename().string() + "\n");
    }
    move_aside(files, *target);
    os::create_private_file(files.database);
    Salvaged salvaged = fill_fresh(options, files, random, *target, moment);
    os::remove_file(marker_of(files));
    os::sync_folder(files.database.parent_path());
    salvaged.moved_to = *target;
    return salvaged;
}

}  // namespace agentsight::outbox
