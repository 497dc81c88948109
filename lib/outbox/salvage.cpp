#include "outbox/salvage.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/text.hpp"
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

fs::path choose_name(const Files& files, core::UtcMs now) {
    std::string stamp = core::iso8601(now);
    std::erase_if(stamp, [](char character) { return character == ':' || character == '-'; });
    for (int i = 0; i < max_names_tried; ++i) {
        const fs::path name =
            sibling(files.database, ".damaged-" + stamp + (i == 0 ? "" : "-" + std::to_string(i)));
        if (!os::identity(name) && !os::identity(sibling(name, "-wal"))) {
            return name;
        }
    }
    throw Error{errc::io_error, "cannot move " + quoted(files.database) +
                                    " aside: every name for it is taken; remove old ones"};
}

/// The database last: as long as it stands, nothing fresh has been made in its place.
void move_aside(const Files& files, const fs::path& target) {
    if (!os::identity(target)) {
        for (const char* suffix : {"-shm", "-wal", "-journal", ""}) {
            const fs::path from = sibling(files.database, suffix);
            if (os::identity(from)) {
                os::rename_file(from, sibling(target, suffix));
            }
        }
    }
    os::sync_folder(files.database.parent_path());
}

// --- what a row of the table `record` looks like ------------------------------------------

/// Columns of `record` as stored, in the order of the schema.
enum Column : std::size_t {
    id_column = 1,
    lane_column = 2,
    kind_column = 3,
    caller_column = 4,
    turn_column = 5,
    due_column = 6,
    first_column = 11,
    began_column = 14,
    ended_column = 17,
    server_date_column = 20,
    origin_column = 21,
    looks_column = 22,
    first_absent_column = 23,
    server_id_column = 24,
    server_time_column = 25,
    delivered_column = 26,
    submitted_column = 28,
    sentiment_column = 31,
    conversation_column = 32,
    comment_column = 33,
    metadata_column = 34,
    columns = 35,
};
constexpr std::size_t ledger_columns = 30;

bool is_integer(const StoredValue& value, std::int64_t low, std::int64_t high) {
    return value.type == Type::integer && value.integer >= low && value.integer <= high;
}
bool is_text(const StoredValue& value) {
    return value.type == Type::text && core::count_code_points(value.bytes).has_value();
}
bool is_null_or(Type type, const StoredValue& value) {
    return value.type == Type::null || value.type == type;
}

bool is_record(const StoredRow& row) {
    if (row.values.size() != columns || row.rowid < 1 || row.rowid > largest_key) {
        return false;
    }
    const auto& at = row.values;
    const auto is_id = [](const StoredValue& value) {
        return value.type == Type::blob && value.bytes.size() == 16;
    };
    if (!is_id(at[id_column]) ||
        !(at[caller_column].type == Type::null || is_id(at[caller_column]))) {
        return false;
    }
    if (!is_integer(at[lane_column], 0, 9) || !is_integer(at[kind_column], 0, 2) ||
        !is_integer(at[sentiment_column], 0, 2)) {
        return false;
    }
    for (std::size_t column = turn_column; column < sentiment_column; ++column) {
        const bool text = column == 10 || column == server_id_column;
        if (text ? !(at[column].type == Type::null || is_text(at[column]))
                 : !is_null_or(Type::integer, at[column])) {
            return false;
        }
    }
    const StoredValue& conversation = at[conversation_column];
    return is_text(conversation) && conversation.bytes.size() > 1 &&
           (conversation.bytes[0] == '=' || conversation.bytes[0] == '#') &&
           (at[comment_column].type == Type::null || is_text(at[comment_column])) &&
           (at[metadata_column].type == Type::null || is_text(at[metadata_column]));
}

bool is_ledger(const StoredRow& row) {
    if (row.values.size() != ledger_columns || row.rowid != 1 || row.values[1].type != Type::blob ||
        row.values[1].bytes.size() != sizeof(Salt)) {
        return false;
    }
    return std::all_of(row.values.begin() + 2, row.values.end(), [](const StoredValue& value) {
        return value.type != Type::text && value.type != Type::real;
    });
}

bool is_origin(const StoredRow& row) {
    return row.values.size() == 2 && row.values[0].type == Type::null && is_text(row.values[1]) &&
           row.values[1].bytes.starts_with("http");
}

// --- rescuing -----------------------------------------------------------------------------

class Rescue {
  public:
    Rescue(sqlite::Database& database, const core::Moment& moment)
        : database_(database), moment_(moment) {}

    /// First pass: what the records' rows depend on, and the fresh ledger.
    void take_side_row(const StoredRow& row) {
        if (is_ledger(row)) {
            ledger_row_ = row;
        } else if (is_origin(row)) {
            origins_[row.rowid] = row.values[1].bytes;
        } else if (is_record(row)) {
            any_claimed_ = any_claimed_ || row.values[began_column].type != Type::null;
        }
    }
    void write_origins() {
        for (const auto& [number, text] : origins_) {
            database_.execute("INSERT OR IGNORE INTO origin(number, text) VALUES(?, ?)", number,
                              text);
        }
    }

    /// Second pass.
    void take_record(StoredRow row) {
        if (!is_record(row)) {
            return;
        }
        auto& at = row.values;
        const auto lane = static_cast<Lane>(at[lane_column].integer);
        if (lane < Lane::left) {
            make_unknown(at);
        }
        insert(row);
    }

    Salvaged finish() {
        drop_disordered();
        rebuild_sides();
        const Ledger ledger = make_ledger();
        write_ledger(database_, ledger);
        if (ledger_row_) {
            const std::string& salt = ledger_row_->values[1].bytes;
            database_.execute(
                "UPDATE ledger SET salt = ? WHERE one = 1",
                sqlite::Bytes{reinterpret_cast<const std::uint8_t*>(salt.data()), salt.size()});
        }
        return {.rescued = rescued_, .lost = lost_, .moved_to = {}};
    }

  private:
    static void set(StoredValue& value, std::int64_t integer) {
        value = {.type = Type::integer, .integer = integer, .bytes = {}};
    }

    /// Whatever the page says, a newer copy of it may have said "claimed", or "delivered". Only
    /// where nothing was ever claimed is nothing in doubt.
    void make_unknown(std::vector<StoredValue>& at) {
        if (!any_claimed_ && origins_.empty()) {
            set(at[lane_column], static_cast<std::int64_t>(Lane::fresh));
            return;
        }
        set(at[lane_column], static_cast<std::int64_t>(Lane::unknown));
        set(at[due_column], 0);
        at[looks_column] = {};
        at[first_absent_column] = {};
        if (at[began_column].type == Type::null) {
            // It may have been sent any time after it was submitted.
            for (std::size_t i = 0; i < 3; ++i) {
                at[began_column + i] = at[submitted_column + i];
            }
            set(at[server_date_column], at[submitted_column].integer - clock_slack_ms);
            if (!origins_.empty()) {
                set(at[origin_column], origins_.rbegin()->first);
            }
        }
        for (std::size_t i = 0; i < 3; ++i) {
            at[ended_column + i] = {};
        }
    }

    void insert(const StoredRow& row) {
        // Of two copies of a record the one that got further.
        sqlite::Rows statement = database_.query(
            "INSERT OR REPLACE INTO record SELECT ?1, ?2, ?3, ?4, ?5, ifnull(?6, 2 * ?1), ?7, ?8,"
            " ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25,"
            " ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35"
            " WHERE NOT EXISTS (SELECT 1 FROM record WHERE key = ?1 AND lane >= ?3)");
        statement.bind_one(1, row.rowid);
        for (std::size_t i = 1; i < columns; ++i) {
            const StoredValue& value = row.values[i];
            const int index = static_cast<int>(i) + 1;
            switch (value.type) {
                case Type::integer:
                    statement.bind_one(index, value.integer);
                    break;
                case Type::text:
                    statement.bind_one(index, std::string_view{value.bytes});
                    break;
                case Type::blob:
                    statement.bind_one(
                        index,
                        sqlite::Bytes{reinterpret_cast<const std::uint8_t*>(value.bytes.data()),
                                      value.bytes.size()});
                    break;
                default:
                    statement.bind_one(index, nullptr);
            }
        }
        statement.next();
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

    std::int64_t of_ledger(std::size_t column) const {
        return ledger_row_ ? ledger_row_->values[column].integer : 0;
    }

    Ledger make_ledger() {
        Ledger ledger;
        recount(database_, ledger);
        const std::uint64_t found = ledger.claimed + ledger.unknown + ledger.left + ledger.dead +
                                    ledger.kept_delivered + ledger.kept_discarded +
                                    static_cast<std::uint64_t>(database_.integer(
                                        "SELECT count(*) FROM record WHERE lane <= 3"));
        rescued_ = found;
        // The order of the schema: 2 claimed ... 29 last_delivered.
        const auto delivered = static_cast<std::uint64_t>(of_ledger(6));
        const auto discarded = static_cast<std::uint64_t>(of_ledger(7));
        const auto dropped = static_cast<std::uint64_t>(of_ledger(8));
        const LastRow last = read_last(database_, ledger);
        const std::int64_t accepted = std::max(
            {last.key, of_ledger(14), of_ledger(16),
             static_cast<std::int64_t>(found + delivered + dropped + discarded) -
                 static_cast<std::int64_t>(ledger.kept_delivered + ledger.kept_discarded)});
        ledger.floor_key = accepted;
        ledger.floor_id = last.id;
        if (ledger_row_ && ledger_row_->values[15].bytes.size() == 16) {
            const std::string& id = ledger_row_->values[15].bytes;
            ledger.floor_id = std::max(
                last.id, uuid_of({reinterpret_cast<const std::uint8_t*>(id.data()), id.size()}));
        }
        ledger.delivered = std::max(delivered, ledger.kept_delivered);
        ledger.discarded = std::max(discarded, ledger.kept_discarded);
        const std::uint64_t open = found - ledger.kept_delivered - ledger.kept_discarded;
        const auto all = static_cast<std::uint64_t>(accepted);
        const std::uint64_t known = open + ledger.delivered + ledger.discarded + dropped;
        lost_ = all > known ? all - known : 0;
        ledger.dropped = dropped + lost_;
        if (known > all) {
            // A row told an older story than the ledger: believe the rows.
            ledger.floor_key = static_cast<std::int64_t>(known);
        }
        restore_cursors(ledger, last.key);
        return ledger;
    }

    void restore_cursors(Ledger& ledger, std::int64_t last_key) const {
        const bool all_fresh = !any_claimed_ && origins_.empty();
        ledger.fresh_cursor = all_fresh ? 0 : last_key;
        ledger.low_key = 1;
        ledger.possible_duplicates = static_cast<std::uint64_t>(of_ledger(9));
        ledger.epoch = of_ledger(18) + 1;
        ledger.control.person_hold = of_ledger(20) != 0;
        ledger.control.person_hold_since = of_ledger(21);
        ledger.control.releases = static_cast<std::uint64_t>(of_ledger(22));
        ledger.route = static_cast<int>(std::clamp<std::int64_t>(of_ledger(23), 0, 1));
        if (ledger_row_ && ledger_row_->values[24].type == Type::integer) {
            ledger.server_date = of_ledger(24);
        }
        ledger.boot_id = moment_.boot_id;
        ledger.axis_offset = -moment_.boot_ms;
        if (ledger_row_ && ledger_row_->values[29].type == Type::integer) {
            ledger.last_delivered = of_ledger(29);
        }
    }

    sqlite::Database& database_;
    core::Moment moment_;
    std::optional<StoredRow> ledger_row_;
    std::map<std::int64_t, std::string> origins_;
    bool any_claimed_ = false;
    std::uint64_t rescued_ = 0;
    std::uint64_t lost_ = 0;
};

Salvaged rescue(sqlite::Database& database, const fs::path& damaged, const core::Moment& moment) {
    if (const std::int64_t count = database.integer("SELECT count(*) FROM record"); count != 0) {
        // A run before this one had come that far.
        return {.rescued = static_cast<std::uint64_t>(count), .lost = 0, .moved_to = {}};
    }
    sqlite::Transaction transaction{database};
    Rescue rescue{database, moment};
    const fs::path wal = sibling(damaged, "-wal");
    scan_rows(damaged, wal, [&](StoredRow&& row) { rescue.take_side_row(row); });
    rescue.write_origins();
    scan_rows(damaged, wal, [&](StoredRow&& row) { rescue.take_record(std::move(row)); });
    const Salvaged salvaged = rescue.finish();
    transaction.commit();
    return salvaged;
}

}  // namespace

bool salvage_is_pending(const Files& files) {
    return os::identity(marker_of(files)).has_value();
}

Salvaged salvage(const StoreOptions& options, const Files& files, const core::Clock& clock,
                 core::Random& random) {
    const core::Moment moment = clock.now();
    std::optional<fs::path> target = promised_name(files);
    if (!target) {
        os::remove_file(marker_of(files));
        target = choose_name(files, moment.utc_ms);
        os::write_small_file(marker_of(files), target->filename().string() + "\n");
    }
    move_aside(files, *target);
    os::create_private_file(files.database);
    Salvaged salvaged;
    {
        sqlite::Database database = connect_writer(options, files, random);
        salvaged = rescue(database, *target, moment);
    }
    os::remove_file(marker_of(files));
    os::sync_folder(files.database.parent_path());
    salvaged.moved_to = *target;
    return salvaged;
}

}  // namespace agentsight::outbox
