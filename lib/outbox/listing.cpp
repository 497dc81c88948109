#include "outbox/listing.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

#include "agentsight/error.hpp"
#include "core/throw_error.hpp"
#include "outbox/rows.hpp"

namespace agentsight::outbox {

namespace {

constexpr int rows_a_page = 4096;
constexpr std::uint64_t short_history = 20'000;

Record to_record(sqlite::Database& database, const RowState& row, core::OutboxMs now,
                 core::UtcMs utc_now) {
    Record record;
    record.id = row.name().text();
    record.state = public_state(row.lane);
    const core::ConversationKey conversation{row.conversation};
    if (conversation.is_number()) {
        const std::string_view digits = conversation.name();
        std::from_chars(digits.data(), digits.data() + digits.size(), record.conversation);
    } else {
        record.conversation_id = conversation.name();
    }
    record.sentiment = row.sentiment;
    Text text = read_text(database, row.key);
    record.comment = std::move(text.comment);
    record.metadata_json = std::move(text.metadata);
    record.credential_kind = row.kind;
    record.submitted_at = row.submitted.utc_ms;
    const bool has_due = row.lane == Lane::retry || row.lane == Lane::unknown;
    if (has_due && row.due && *row.due >= 0) {
        record.due_at = utc_now + (*row.due - now);
    }
    record.delivered_at = row.delivered;
    record.attempts = row.attempts;
    record.server_id = row.server_id;
    record.last_status = row.last_status;
    record.last_error = row.last_error;
    record.left_to_person = row.lane == Lane::left;
    return record;
}

void add_history(sqlite::Database& database, const RowState& row, Record& record) {
    sqlite::Rows rows = database.query(
        "SELECT began, ended, outcome, status, detail FROM attempt WHERE key = ? ORDER BY n",
        row.key);
    while (rows.next()) {
        Attempt attempt;
        attempt.began = rows.integer(0);
        attempt.ended = rows.integer(1);
        attempt.outcome = rows.text(2);
        if (const auto status = rows.maybe_integer(3)) {
            attempt.status = static_cast<int>(*status);
        }
        attempt.detail = rows.text(4);
        record.history.push_back(std::move(attempt));
    }
    // A delivery at the first try writes no line of its own: the record says it all.
    if (record.history.empty() && row.lane == Lane::delivered && row.began) {
        Attempt attempt;
        attempt.began = row.began->utc_ms;
        attempt.ended = row.ended ? row.ended->utc_ms : row.delivered.value_or(0);
        attempt.outcome = "delivered";
        attempt.status = row.last_status;
        record.history.push_back(std::move(attempt));
    }
}

}  // namespace

Record read_record(sqlite::Database& database, std::int64_t key, core::OutboxMs now,
                   core::UtcMs utc_now) {
    const auto row = read_row(database, key);
    if (!row) {
        core::throw_error(errc::not_found, "the record is gone");
    }
    Record record = to_record(database, *row, now, utc_now);
    add_history(database, *row, record);
    return record;
}

Listing::Listing(const Filter& filter, std::size_t limit, Only only)
    : filter_(filter), limit_(limit), only_(only), done_(limit == 0) {
    if (filter_.conversation_id) {
        conversation_ = "=" + *filter_.conversation_id;
    } else if (filter_.conversation) {
        conversation_ = "#" + std::to_string(*filter_.conversation);
    }
}

void Listing::start(sqlite::Database& database) {
    started_ = true;
    const Ledger ledger = read_ledger(database);
    const std::int64_t last = read_last(database, ledger).key;
    after_ = filter_.newest_first ? std::numeric_limits<std::int64_t>::max() : 0;
    if (!filter_.after.empty()) {
        const auto id = core::Uuid::parse(filter_.after);
        const auto key = id ? find_key(database, *id, last) : std::nullopt;
        if (!key) {
            core::throw_error(errc::not_found, "no record '" + filter_.after + "' to list after");
        }
        after_ = *key;
    }
    walks_keys_ =
        (filter_.state == RecordState::delivered && ledger.kept_delivered > short_history) ||
        (filter_.state == RecordState::discarded && ledger.kept_discarded > short_history);
    if (filter_.state == RecordState::waiting) {
        if (static_cast<std::uint64_t>(last) == ledger.not_waiting()) {
            done_ = true;
        }
        lowest_ = ledger.low_key;
    }
    if (filter_.since) {
        lowest_ = std::max(lowest_, first_key_since(database, *filter_.since, last));
    }
    if (!filter_.newest_first) {
        after_ = std::max(after_, lowest_ - 1);
    }
}

namespace {

/// Literals, whose addresses are the cache's keys: one for either order.
struct Walk {
    const char* oldest_first;
    const char* newest_first;
};

#define AGENTSIGHT_HEADS "SELECT key, lane, submitted_utc, conversation FROM record"
#define AGENTSIGHT_OLDEST_FIRST " AND key > ? ORDER BY key LIMIT ?"
#define AGENTSIGHT_NEWEST_FIRST " AND key < ? ORDER BY key DESC LIMIT ?"
#define AGENTSIGHT_WALK(where)                             \
    {                                                      \
        AGENTSIGHT_HEADS where AGENTSIGHT_OLDEST_FIRST,    \
            AGENTSIGHT_HEADS where AGENTSIGHT_NEWEST_FIRST \
    }

constexpr Walk along_keys AGENTSIGHT_WALK(" WHERE true");
constexpr Walk along_rare
    AGENTSIGHT_WALK(" INDEXED BY rare WHERE lane = ? AND lane BETWEEN 5 AND 7");
constexpr Walk along_history
    AGENTSIGHT_WALK(" INDEXED BY history WHERE lane = ? AND lane IN (8, 9)");
// Few: at most twice the connections.
constexpr Walk along_claimed
    AGENTSIGHT_WALK(" INDEXED BY work WHERE lane = ? AND lane BETWEEN 3 AND 5");

#undef AGENTSIGHT_HEADS
#undef AGENTSIGHT_OLDEST_FIRST
#undef AGENTSIGHT_NEWEST_FIRST
#undef AGENTSIGHT_WALK

}  // namespace

std::vector<Listing::Head> Listing::next_heads(sqlite::Database& database) {
    std::vector<Head> heads;
    const auto collect = [&](sqlite::Rows rows) {
        while (rows.next()) {
            heads.push_back({rows.integer(0), static_cast<int>(rows.integer(1)), rows.integer(2),
                             rows.text(3)});
        }
    };
    const auto of_lane = [&](const Walk& walk, Lane lane) {
        collect(database.query(filter_.newest_first ? walk.newest_first : walk.oldest_first, lane,
                               after_, rows_a_page));
    };
    if (!filter_.state || *filter_.state == RecordState::waiting || walks_keys_) {
        collect(
            database.query(filter_.newest_first ? along_keys.newest_first : along_keys.oldest_first,
                           after_, rows_a_page));
        return heads;
    }
    switch (*filter_.state) {
        case RecordState::waiting:
            break;
        case RecordState::claimed:
            of_lane(along_claimed, Lane::claimed);
            break;
        case RecordState::unknown:
            of_lane(along_rare, Lane::unknown);
            of_lane(along_rare, Lane::left);
            std::sort(heads.begin(), heads.end(), [this](const Head& a, const Head& b) {
                return filter_.newest_first ? b.key < a.key : a.key < b.key;
            });
            heads.resize(std::min<std::size_t>(heads.size(), rows_a_page));
            break;
        case RecordState::dead:
            of_lane(along_rare, Lane::dead);
            break;
        case RecordState::delivered:
            of_lane(along_history, Lane::delivered);
            break;
        case RecordState::discarded:
            of_lane(along_history, Lane::discarded);
            break;
    }
    return heads;
}

bool Listing::matches(const Head& head) const {
    return (!filter_.state || public_state(static_cast<Lane>(head.lane)) == *filter_.state) &&
           (!filter_.since || head.submitted >= *filter_.since) &&
           (!conversation_ || head.conversation == *conversation_);
}

void Listing::read_page(sqlite::Database& database, core::OutboxMs now, core::UtcMs utc_now) {
    if (!started_) {
        start(database);
        if (done_) {
            return;
        }
    }
    const std::vector<Head> heads = next_heads(database);
    for (const Head& head : heads) {
        if (head.key < lowest_) {
            done_ = true;  // newest first: nothing that is wanted stands below
            return;
        }
        after_ = head.key;
        if (!matches(head)) {
            continue;
        }
        ++counted_;
        if (only_ == Only::nothing) {
            if (const auto row = read_row(database, head.key)) {
                records_.push_back(to_record(database, *row, now, utc_now));
            }
        }
        if (counted_ >= limit_) {
            done_ = true;
            return;
        }
    }
    done_ = heads.size() < rows_a_page;
}

}  // namespace agentsight::outbox
