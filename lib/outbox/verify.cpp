#include "outbox/verify.hpp"

#include <array>
#include <cstdint>

#include "outbox/ledger.hpp"
#include "outbox/rows.hpp"

namespace agentsight::outbox {

namespace {

constexpr std::size_t max_findings = 100;

class Findings {
  public:
    void add(std::string finding) {
        if (all_.size() < max_findings) {
            all_.push_back(std::move(finding));
        }
    }
    void expect_equal(const char* what, std::uint64_t ledger, std::uint64_t rows) {
        if (ledger != rows) {
            add(std::string{"the ledger says "} + what + " " + std::to_string(ledger) +
                ", the records say " + std::to_string(rows));
        }
    }
    void expect_none(sqlite::Rows rows, const char* what) {
        if (rows.next()) {
            add(std::string{what} + " (first: record number " + std::to_string(rows.integer(0)) +
                ")");
        }
    }
    std::vector<std::string> take() { return std::move(all_); }

  private:
    std::vector<std::string> all_;
};

void check_sqlite(sqlite::Database& database, Findings& findings) {
    sqlite::Rows rows = database.query("PRAGMA integrity_check(20)");
    while (rows.next()) {
        if (rows.text_view(0) != "ok") {
            findings.add("the file is damaged: " + rows.text(0));
        }
    }
}

void check_rows(sqlite::Database& database, Findings& findings) {
    if (!rows_are_sound(database)) {
        findings.add("a record is not as it was written");
    }
}

void check_counts(sqlite::Database& database, const Ledger& ledger, Findings& findings) {
    std::array<std::uint64_t, 10> lanes{};
    std::uint64_t api_key = 0;
    std::uint64_t jwt = 0;
    sqlite::Rows rows =
        database.query("SELECT lane, kind, count(*) FROM record GROUP BY lane, kind");
    while (rows.next()) {
        const std::int64_t lane = rows.integer(0);
        const auto count = static_cast<std::uint64_t>(rows.integer(2));
        if (lane < 0 || lane > 9) {
            findings.add("a record is in the lane " + std::to_string(lane));
            continue;
        }
        lanes[static_cast<std::size_t>(lane)] += count;
        if (static_cast<Lane>(lane) == Lane::other_kind) {
            (static_cast<Credential::Kind>(rows.integer(1)) == Credential::Kind::jwt ? jwt
                                                                                     : api_key) +=
                count;
        }
    }
    const auto in = [&](Lane lane) { return lanes[static_cast<std::size_t>(lane)]; };
    findings.expect_equal("claimed", ledger.claimed, in(Lane::claimed));
    findings.expect_equal("unknown", ledger.unknown, in(Lane::unknown));
    findings.expect_equal("left to a person", ledger.left, in(Lane::left));
    findings.expect_equal("dead", ledger.dead, in(Lane::dead));
    findings.expect_equal("kept delivered", ledger.kept_delivered, in(Lane::delivered));
    findings.expect_equal("kept discarded", ledger.kept_discarded, in(Lane::discarded));
    findings.expect_equal("other kind (API key)", ledger.other_api_key, api_key);
    findings.expect_equal("other kind (JWT)", ledger.other_jwt, jwt);
    const auto accepted = static_cast<std::uint64_t>(read_last(database, ledger).key);
    const std::uint64_t waiting =
        in(Lane::fresh) + in(Lane::parked) + in(Lane::other_kind) + in(Lane::retry);
    findings.expect_equal("accepted", accepted, ledger.not_waiting() + waiting);
}

void check_order(sqlite::Database& database, const Ledger& ledger, Findings& findings) {
    findings.expect_none(
        database.query("SELECT key FROM (SELECT key, id, lag(id) OVER (ORDER BY key) AS before"
                       " FROM record) WHERE id <= before LIMIT 1"),
        "ids do not grow with the records");
    findings.expect_none(database.query("SELECT min(key) FROM record WHERE lane IN (1, 3, 4, 5)"
                                        " GROUP BY conversation HAVING sum(lane > 1) = 0 LIMIT 1"),
                         "a conversation waits behind no one");
    findings.expect_none(database.query("SELECT min(key) FROM record WHERE lane IN (3, 4)"
                                        " GROUP BY conversation HAVING count(*) > 1 LIMIT 1"),
                         "two records of one conversation are sent at a time");
    findings.expect_none(database.query("SELECT key FROM record WHERE lane = 0 AND key <= ?"
                                        " LIMIT 1",
                                        ledger.fresh_cursor),
                         "a fresh record stands before the cursor");
    findings.expect_none(
        database.query("SELECT key FROM record WHERE lane <= 6 AND key < ? LIMIT 1",
                       ledger.low_key),
        "an open record stands before the first one");
    findings.expect_none(
        database.query("SELECT key FROM record WHERE lane IN (3, 5) AND due IS NULL LIMIT 1"),
        "a record that waits for its time has none");
}

void check_sides(sqlite::Database& database, Findings& findings) {
    findings.expect_none(
        database.query("SELECT caller_id.key FROM caller_id LEFT JOIN record"
                       " ON record.key = caller_id.key AND record.caller = caller_id.id"
                       " WHERE record.key IS NULL LIMIT 1"),
        "a caller's id names no record");
    findings.expect_none(
        database.query("SELECT record.key FROM record LEFT JOIN caller_id"
                       " ON caller_id.id = record.caller AND caller_id.key = record.key"
                       " WHERE record.caller IS NOT NULL AND caller_id.id IS NULL LIMIT 1"),
        "a record cannot be found by its caller's id");
    findings.expect_none(
        database.query("SELECT attempt.key FROM attempt LEFT JOIN record"
                       " ON record.key = attempt.key WHERE record.key IS NULL LIMIT 1"),
        "an attempt belongs to no record");
    findings.expect_none(
        database.query("SELECT key FROM record WHERE lane = 9 AND (comment IS NOT NULL"
                       " OR metadata IS NOT NULL) LIMIT 1"),
        "a discarded record still has its text");
}

}  // namespace

std::vector<std::string> find_contradictions(sqlite::Database& database) {
    Findings findings;
    try {
        check_sqlite(database, findings);
        check_rows(database, findings);
        const Ledger ledger = read_ledger(database);
        check_counts(database, ledger, findings);
        check_order(database, ledger, findings);
        check_sides(database, findings);
    } catch (const sqlite::Failure& failure) {
        if (failure.trouble() != sqlite::Trouble::damaged) {
            throw;
        }
        findings.add(std::string{"the file is damaged: "} + failure.what());
    }
    return findings.take();
}

}  // namespace agentsight::outbox
