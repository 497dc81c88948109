#include "outbox/row_size.hpp"

#include <doctest/doctest.h>

#include "raw.hpp"
#include "support.hpp"

using namespace agentsight;
using namespace agentsight::test;
using outbox::RowSize;

namespace {

/// Bytes of all rows of the table, by SQLite's own count; none where it was built without.
std::optional<std::int64_t> payload(RawDatabase& database, const std::string& table) {
    if (sqlite3_compileoption_used("ENABLE_DBSTAT_VTAB") == 0) {
        return std::nullopt;
    }
    return database.integer("SELECT sum(payload) FROM dbstat WHERE name = '" + table +
                            "' AND pagetype = 'leaf'");
}

}  // namespace

TEST_CASE("a value's size is the one SQLite gives it") {
    RawDatabase database{":memory:"};
    database.run("CREATE TABLE t(a INTEGER, b TEXT, filler BLOB)");
    std::vector<std::int64_t> values{0, 1, 2, -1, 127, 128, -128, -129};
    for (const int bits : {15, 23, 31, 47}) {
        for (const std::int64_t edge : {std::int64_t{1} << bits, -(std::int64_t{1} << bits)}) {
            values.insert(values.end(), {edge - 1, edge, edge + 1});
        }
    }
    values.push_back(INT64_MAX);
    values.push_back(INT64_MIN);
    constexpr std::size_t whole = 100;
    std::optional<std::int64_t> first;
    for (const std::int64_t value : values) {
        for (const std::size_t length : {0U, 1U, 40U, 57U, 58U}) {
            CAPTURE(value);
            CAPTURE(length);
            RowSize size;
            size.add(value);
            size.add(std::string(length, 't'));
            const std::size_t filler = size.filler(whole);
            database.run("DELETE FROM t; INSERT INTO t VALUES(" + std::to_string(value) + ", '" +
                         std::string(length, 't') + "', zeroblob(" + std::to_string(filler) + "))");
            const auto bytes = payload(database, "t");
            if (!bytes) {
                return;  // nothing to compare with
            }
            first = first ? first : bytes;
            // One length in between cannot be had: 58 bytes take two more than 57.
            CHECK(*first - *bytes <= 1);
            CHECK(*first - *bytes >= 0);
        }
    }
    CHECK(RowSize{}.filler(0) == 0);
    RowSize large;
    large.add(std::string(200, 't'));
    CHECK(large.filler(whole) == 0);
}

TEST_CASE("a record keeps its size from submit over claim to delivered") {
    Outboxed box;
    constexpr int records = 200;
    for (int i = 0; i < records; ++i) {
        box.submit("c" + std::to_string(i), "comment");
    }
    const auto bytes = [&] {
        RawDatabase database{box.options.path};
        return payload(database, "record");
    };
    const auto before = bytes();
    box.become_drainer();
    for (const auto& record : box.claim(records)) {
        box.deliver(record.key, std::to_string(10'000 + record.key));
    }
    REQUIRE(box->status().delivered == records);
    const auto after = bytes();
    if (before && after) {
        CHECK(*after <= *before);
        CHECK(*after >= *before - records);
    }
}
