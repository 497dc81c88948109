#include "delivery/reconcile.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "support/test_random.hpp"

namespace agentsight::delivery {
namespace {

constexpr core::UtcMs date = 1'705'315'200'000;
constexpr std::int64_t w = 120'000;
const core::Moment now{.utc_ms = 0, .boot_ms = 10'000'000, .boot_id = 7};

core::Moment ago(std::int64_t ms) {
    return {.utc_ms = 123, .boot_ms = now.boot_ms - ms, .boot_id = now.boot_id};
}
core::Moment other_boot() {
    return {.utc_ms = 5, .boot_ms = 99, .boot_id = 6};
}

outbox::ClaimedRecord record(std::int64_t key, std::int64_t began_ago) {
    outbox::ClaimedRecord one;
    one.key = key;
    one.feedback.sentiment = Sentiment::positive;
    one.feedback.comment = " good ";
    one.kind = Credential::Kind::api_key;
    one.attempt_began = ago(began_ago);
    one.attempt_ended = ago(began_ago);
    return one;
}

core::ServerRow row(const std::string& id, core::UtcMs created_at) {
    core::ServerRow one;
    one.id = id;
    one.sentiment = Sentiment::positive;
    one.comment = "good";
    one.created_at = created_at;
    return one;
}

Look look_at(core::UtcMs reply_date = date) {
    return {
        .asked = now, .drain_began = ago(1'000), .reply_date = reply_date, .reconcile_after_ms = w};
}

TEST_CASE("the window begins half a minute before the attempt, on the server's clock") {
    CHECK(window_start(record(1, 50'000), now, date) == date - 80'000);
}

TEST_CASE("in another boot the window begins at the Date last seen before the claim") {
    outbox::ClaimedRecord one = record(1, 0);
    one.attempt_began = other_boot();
    one.server_date = date - 500'000;
    CHECK(window_start(one, now, date) == date - 530'000);
    one.server_date.reset();
    CHECK_FALSE(window_start(one, now, date).has_value());
}

TEST_CASE("a salvaged record that tells no attempt is sought from its submit on") {
    outbox::ClaimedRecord one = record(1, 0);
    one.attempt_began = {};
    one.attempt_ended.reset();
    one.submitted = ago(7'000);
    CHECK(window_start(one, now, date) == date - 37'000);
    one.submitted = other_boot();
    CHECK_FALSE(window_start(one, now, date).has_value());
}

TEST_CASE("F7: a row matches by sentiment, trimmed comment and source, inside the window") {
    const Sought one = sought(record(1, 50'000), date - 80'000);
    const auto matches = [&](const core::ServerRow& candidate) {
        return match_rows({one}, std::vector{candidate}).size() == 1;
    };
    CHECK(matches(row("5", date - 80'000)));
    CHECK_FALSE(matches(row("5", date - 80'001)));
    core::ServerRow other = row("5", date);
    other.comment = "\xc2\xa0good\t";
    CHECK(matches(other));
    other.comment = "Good";
    CHECK_FALSE(matches(other));
    other = row("5", date);
    other.sentiment = Sentiment::neutral;
    CHECK_FALSE(matches(other));
    other.sentiment.reset();
    CHECK_FALSE(matches(other));
    other = row("5", date);
    other.source = "platform";
    CHECK_FALSE(matches(other));
    other.source = "customer";
    CHECK(matches(other));
    other.created_at.reset();
    CHECK_FALSE(matches(other));
}

TEST_CASE("a record of no credential kind may have gone out under either") {
    outbox::ClaimedRecord one = record(1, 0);
    one.kind = Credential::Kind::none;
    core::ServerRow platform = row("5", date);
    platform.source = "platform";
    CHECK(match_rows({sought(one, date)}, std::vector{platform}).size() == 1);
}

TEST_CASE("twenty equal records need twenty rows") {
    std::vector<Sought> records;
    std::vector<core::ServerRow> rows;
    for (int i = 0; i < 20; ++i) {
        records.push_back(sought(record(i, 1'000), date - 31'000));
    }
    for (int i = 0; i < 13; ++i) {
        rows.push_back(row(std::to_string(100 - i), date - i));
    }
    const std::vector<Match> matches = match_rows(records, rows);
    REQUIRE(matches.size() == 13);
    std::set<std::string> ids;
    for (std::size_t k = 0; k < matches.size(); ++k) {
        CHECK(matches[k].key == static_cast<std::int64_t>(k));  // the k-th row is the k-th record's
        ids.insert(matches[k].server_id);
    }
    CHECK(ids.size() == 13);
}

TEST_CASE("matching finds as many as any matching could") {
    test::TestRandom random{test::test_seed()};
    CAPTURE(random.seed());
    for (int round = 0; round < 2'000; ++round) {
        std::vector<Sought> records;
        std::vector<core::ServerRow> rows;
        const auto n = random.below(7);
        const auto m = random.below(7);
        for (std::uint64_t i = 0; i < n; ++i) {
            const auto start = static_cast<core::UtcMs>(random.below(10));
            records.push_back(sought(record(static_cast<std::int64_t>(i), 0), start));
        }
        std::vector<core::UtcMs> times;
        for (std::uint64_t i = 0; i < m; ++i) {
            const auto at = static_cast<core::UtcMs>(random.below(10));
            rows.push_back(row(std::to_string(i), at));
            times.push_back(at);
        }
        // By Hall's theorem for nested choices: latest windows take the latest rows.
        std::vector<core::UtcMs> starts;
        for (const Sought& one : records) {
            starts.push_back(one.window_start);
        }
        std::ranges::sort(starts, std::greater{});
        std::ranges::sort(times, std::greater{});
        std::size_t best = 0;
        for (const core::UtcMs start : starts) {
            if (best < times.size() && times[best] >= start) {
                ++best;
            }
        }
        const std::vector<Match> matches = match_rows(records, rows);
        CHECK(matches.size() == best);
        std::set<std::string> used;
        for (const Match& match : matches) {
            used.insert(match.server_id);
            const auto one = std::ranges::find(records, match.key, &Sought::key);
            CHECK(*match.server_time >= one->window_start);
        }
        CHECK(used.size() == matches.size());
    }
}

TEST_CASE("matching finds as many as any matching could, of several sources too") {
    test::TestRandom random{test::test_seed()};
    CAPTURE(random.seed());
    const std::vector<std::string> sources{"customer", "platform"};
    for (int round = 0; round < 5'000; ++round) {
        std::vector<Sought> records(random.below(6));
        std::vector<core::ServerRow> rows;
        for (std::size_t i = 0; i < records.size(); ++i) {
            records[i] = sought(record(static_cast<std::int64_t>(i), 0),
                                static_cast<core::UtcMs>(random.below(6)));
            const auto kind = random.below(3);
            records[i].source = kind < 2 ? sources[kind] : std::string{};
        }
        for (std::uint64_t i = random.below(6); i > 0; --i) {
            rows.push_back(row(std::to_string(i), static_cast<core::UtcMs>(random.below(6))));
            rows.back().source = sources[random.below(2)];
        }
        const auto may = [&](const Sought& one, const core::ServerRow& other) {
            return *other.created_at >= one.window_start &&
                   (one.source.empty() || one.source == other.source);
        };
        // Every way to give each record a row or none.
        const std::function<std::size_t(std::size_t, unsigned)> best =
            [&](std::size_t at, unsigned taken) -> std::size_t {
            if (at == records.size()) {
                return 0;
            }
            std::size_t most = best(at + 1, taken);
            for (std::size_t r = 0; r < rows.size(); ++r) {
                if ((taken >> r & 1U) == 0 && may(records[at], rows[r])) {
                    most = std::max(most, 1 + best(at + 1, taken | 1U << r));
                }
            }
            return most;
        };
        REQUIRE(match_rows(records, rows).size() == best(0, 0));
    }
}

TEST_CASE("F3: absent needs two looks, both W after the attempt, W/2 apart") {
    outbox::ClaimedRecord one = record(1, 50'000);
    Verdict verdict = judge_absence(one, look_at());
    CHECK_FALSE(verdict.absent);
    CHECK(verdict.looks == 0);
    CHECK(verdict.wait_ms == 70'000);

    one = record(1, w);
    verdict = judge_absence(one, look_at());
    CHECK_FALSE(verdict.absent);
    CHECK(verdict.looks == 1);
    CHECK(verdict.first_absent == date);
    CHECK(verdict.wait_ms >= w / 2);

    one.looks = verdict.looks;
    one.first_absent = verdict.first_absent;
    verdict = judge_absence(one, look_at(date + w / 2 - 1));
    CHECK_FALSE(verdict.absent);
    CHECK(verdict.looks == 1);
    CHECK(judge_absence(one, look_at(date + w / 2)).absent);
}

TEST_CASE("a server's clock that goes back begins the count again") {
    outbox::ClaimedRecord one = record(1, w);
    one.looks = 1;
    one.first_absent = date;
    const Verdict verdict = judge_absence(one, look_at(date - 5'000));
    CHECK_FALSE(verdict.absent);
    CHECK(verdict.first_absent == date - 5'000);
}

TEST_CASE("F4: a look that does not show a row known to be there counts for nothing") {
    outbox::ClaimedRecord one = record(1, 10 * w);
    one.looks = 1;
    one.first_absent = date - 10 * w;
    Look blind = look_at();
    blind.control_seen = false;
    const Verdict verdict = judge_absence(one, blind);
    CHECK_FALSE(verdict.absent);
    CHECK(verdict.looks == 1);
    CHECK(verdict.wait_ms > 0);
}

TEST_CASE("a record whose process died is taken to have ended when this drainer began") {
    outbox::ClaimedRecord one = record(1, 10 * w);
    one.attempt_ended.reset();
    Look look = look_at();
    look.drain_began = ago(3'000);
    CHECK(proven_age(one, look) == 3'000);
    one.attempt_began = other_boot();
    CHECK(proven_age(one, look) == now.boot_ms);
}

TEST_CASE("a claim younger than the drainer has not ended, as far as anybody knows") {
    outbox::ClaimedRecord one = record(1, 500);
    one.attempt_ended.reset();
    Look look = look_at();
    look.drain_began = ago(10 * w);
    CHECK(proven_age(one, look) == 0);
    CHECK(judge_absence(one, look).wait_ms == w);
}

TEST_CASE("an attempt of another boot ended before this one") {
    outbox::ClaimedRecord one = record(1, 0);
    one.attempt_began = other_boot();
    one.attempt_ended = other_boot();
    CHECK(proven_age(one, look_at()) == now.boot_ms);
    one.looks = 1;
    one.first_absent = date - 999'999'999;
    CHECK(proven_age(one, look_at()) == 999'999'999);
}

TEST_CASE("with W = 0 two looks decide at once") {
    outbox::ClaimedRecord one = record(1, 0);
    Look look = look_at();
    look.reconcile_after_ms = 0;
    Verdict verdict = judge_absence(one, look);
    CHECK_FALSE(verdict.absent);
    CHECK(verdict.looks == 1);
    one.looks = 1;
    one.first_absent = verdict.first_absent;
    CHECK(judge_absence(one, look).absent);
}

}  // namespace
}  // namespace agentsight::delivery
