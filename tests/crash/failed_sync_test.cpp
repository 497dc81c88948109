#include <doctest/doctest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "bench.hpp"
#include "command_line.hpp"
#include "support/temporary_folder.hpp"

namespace agentsight::test {

namespace {

bool is_log(const Operation& operation) {
    return operation.path.ends_with("-wal");
}

std::size_t rows_of(Bench& bench, const core::Uuid& id) {
    std::size_t rows = 0;
    for (const Record& record : bench.store->list({}, 1'000)) {
        rows += record.id == id.text() ? 1 : 0;
    }
    return rows;
}

void must_submit(Bench& bench, const outbox::Submission& submission) {
    const outbox::SubmitResult result = bench.store->submit(submission);
    CAPTURE(result.message);
    REQUIRE_FALSE(result.error);
}

void open_and_commit(Bench& bench, int commits) {
    bench.open();
    for (int i = 0; i < commits; ++i) {
        must_submit(bench, bench.submission());
    }
}

/// After a power cut at this moment it is there, once, and the file is sound.
void check_durable(const std::filesystem::path& folder, const Bench& bench, const core::Uuid& id) {
    for (const Damage damage : {Damage::lose_unsynced, Damage::process_kill}) {
        CAPTURE(name_of(damage));
        TestRandom random{1};
        Bench next{folder, {bench.disk.stopped_by(damage, random), {}}, 9};
        next.open();
        CHECK(rows_of(next, id) == 1);
        CHECK(next.store->verify().empty());
    }
}

/// Behind so many commits in the log one fails to sync, and its process is killed at that
/// moment; the next one is told the same id.
void kill_and_submit_again(const std::filesystem::path& folder, int commits_before,
                           const std::function<void(Bench&, const core::Uuid&)>& judge) {
    CAPTURE(commits_before);
    Bench bench{folder / "live", {}, 7};
    open_and_commit(bench, commits_before);
    bool failed = false;
    bench.disk.fault = [&](const Operation& operation) {
        if (failed) {
            return SQLITE_IOERR;  // its process is gone
        }
        failed = operation.call == Call::sync && is_log(operation);
        return failed ? SQLITE_IOERR_FSYNC : SQLITE_OK;
    };
    const outbox::Submission submission = bench.submission(true);
    CHECK(bench.store->submit(submission).error);
    REQUIRE(failed);
    TestRandom random{1};
    Bench next{folder / "next", {bench.disk.stopped_by(Damage::process_kill, random), {}}, 8};
    next.open();
    must_submit(next, submission);
    CHECK(rows_of(next, *submission.id) == 1);
    CHECK(next.store->count({}) == static_cast<std::uint64_t>(commits_before) + 1);
    CHECK(next.store->verify().empty());
    judge(next, *submission.id);
}

/// The same where nobody is killed: the sync fails once.
void survive_and_submit_again(const std::filesystem::path& folder, int commits_before) {
    CAPTURE(commits_before);
    Bench bench{folder / "live", {}, 7};
    open_and_commit(bench, commits_before);
    bool failed = false;
    bench.disk.fault = [&](const Operation& operation) {
        if (failed || operation.call != Call::sync || !is_log(operation)) {
            return SQLITE_OK;
        }
        failed = true;
        return SQLITE_IOERR_FSYNC;
    };
    const outbox::Submission submission = bench.submission(true);
    const outbox::SubmitResult first = bench.store->submit(submission);
    REQUIRE(failed);
    if (!first.error) {
        check_durable(folder / "after", bench, *submission.id);
    }
    must_submit(bench, submission);
    CHECK(rows_of(bench, *submission.id) == 1);
    check_durable(folder / "after", bench, *submission.id);
}

}  // namespace

TEST_CASE("S6: a commit whose sync failed, killed then and submitted again, is stored once") {
    prefer_memory();
    const TemporaryFolder folder;
    for (const int commits_before : {0, 1, 3}) {
        kill_and_submit_again(folder.path(), commits_before, [](Bench&, const core::Uuid&) {});
    }
}

TEST_CASE("S6: a commit whose sync failed outlives a power cut once it is acknowledged") {
    prefer_memory();
    const TemporaryFolder folder;
    kill_and_submit_again(folder.path(), 0, [&](Bench& next, const core::Uuid& id) {
        check_durable(folder / "after", next, id);
    });
    survive_and_submit_again(folder.path(), 0);
}

// Moved into the database alone it would be lost: on the disk the log still ends with the commits
// before it, and a power cut would bring their pages back over it.
TEST_CASE("S6: the same behind other commits in the log") {
    prefer_memory();
    const TemporaryFolder folder;
    for (const int commits_before : {1, 3}) {
        kill_and_submit_again(
            folder.path(), commits_before,
            [&](Bench& next, const core::Uuid& id) { check_durable(folder / "after", next, id); });
        survive_and_submit_again(folder.path(), commits_before);
    }
}

TEST_CASE(
    "S6: a commit whose sync failed and that is found again is stored, and wakes the drainer") {
    prefer_memory();
    const TemporaryFolder folder;
    for (const bool with_id : {false, true}) {
        CAPTURE(with_id);
        Bench bench{folder / "live", {}, 7};
        int rings = 0;
        int told = 0;
        bench.options.on_work = [&] { ++rings; };
        bench.options.on_submitted = [&](const core::Uuid&) { ++told; };
        open_and_commit(bench, 1);
        rings = told = 0;
        bool failed = false;
        bench.disk.fault = [&](const Operation& operation) {
            const bool fails = operation.call == Call::sync && is_log(operation) && !failed;
            failed = failed || fails;
            return fails ? SQLITE_IOERR_FSYNC : SQLITE_OK;
        };
        const outbox::SubmitResult result = bench.store->submit(bench.submission(with_id));
        bench.disk.fault = nullptr;
        REQUIRE(failed);
        CAPTURE(result.message);
        CHECK_FALSE(result.error);
        CHECK(result.stored);
        CHECK(rings == 1);
        CHECK(told == 1);
        CHECK(rows_of(bench, result.id) == 1);
    }
}

TEST_CASE("S6: what a failed drain has claimed all the same is told with the next claims, once") {
    prefer_memory();
    const TemporaryFolder folder;
    Bench bench{folder / "live", {}, 7};
    open_and_commit(bench, 8);
    outbox::Store& store = *bench.store;
    REQUIRE(store.try_become_drainer());
    store.begin_draining();
    outbox::DrainRequest request;
    request.claim = 2;
    request.kind = Credential::Kind::api_key;
    request.origin = "https://api.example";
    bench.disk.fault = [](const Operation& operation) {
        return operation.call == Call::sync ? SQLITE_IOERR_FSYNC : SQLITE_OK;
    };
    for (int i = 0; i < 2; ++i) {
        CHECK_THROWS_AS(store.drain(request), Error);
    }
    bench.disk.fault = nullptr;
    const std::uint64_t in_doubt = store.status().claimed;
    REQUIRE(in_doubt > 0);
    CHECK(in_doubt <= request.claim);  // each asks for so many, those in doubt among them
    request.claim = 0;
    outbox::DrainReply reply = store.drain(request);
    CHECK(reply.claimed.empty());  // asked for none
    CHECK(reply.more);
    request.claim = 2;
    reply = store.drain(request);
    CHECK(reply.claimed.size() == request.claim);
    std::set<std::int64_t> told;
    while (!reply.claimed.empty()) {
        for (const outbox::ClaimedRecord& record : reply.claimed) {
            CHECK(told.insert(record.key).second);
        }
        CHECK(store.status().claimed == told.size());
        reply = store.drain(request);
    }
    CHECK_FALSE(reply.more);
}

TEST_CASE("S18: files that go in the middle of a commit, and cannot be made again for a while") {
    prefer_memory();
    const TemporaryFolder folder;
    Bench bench{folder / "live", {}, 7};
    open_and_commit(bench, 5);
    bool gone = false;
    bool fails = true;
    bench.disk.fault = [&](const Operation& operation) {
        if (!gone && operation.call == Call::sync && is_log(operation)) {
            gone = true;
            for (const char* const suffix : {"", "-wal", "-shm"}) {
                std::filesystem::remove(bench.options.path.string() + suffix);
            }
        }
        return gone && fails && operation.call == Call::write ? SQLITE_IOERR_WRITE : SQLITE_OK;
    };
    CHECK(bench.store->submit(bench.submission()).error);
    REQUIRE(gone);
    CHECK(bench.store->submit(bench.submission()).error);
    fails = false;
    must_submit(bench, bench.submission());
    bench.disk.fault = nullptr;
    CHECK(bench.store->count({}) >= 6);  // what was refused may be there
    CHECK(bench.store->verify().empty());
}

TEST_CASE("S11: after any failed call of a commit the next one begins a transaction of its own") {
    prefer_memory();
    const TemporaryFolder folder;
    constexpr std::uint64_t enough = 200;
    for (const std::size_t together : {1, 3}) {
        bool met = true;
        for (std::uint64_t nth = 1; met && nth < enough; ++nth) {
            for (unsigned variant = 0; variant < 2; ++variant) {
                CAPTURE(together);
                CAPTURE(nth);
                CAPTURE(variant);
                Bench bench{folder / "live", {}, 7};
                bench.open();
                std::vector<outbox::Submission> submissions;
                for (std::size_t i = 0; i < together; ++i) {
                    submissions.push_back(bench.submission(true, 6'000));
                }
                bench.calls.arm({.nth = nth, .variant = variant});
                std::uint64_t stored = 0;
                for (const auto& result : bench.store->submit_many(submissions)) {
                    stored += result.error ? 0 : 1;
                }
                bench.calls.disarm();
                met = bench.calls.has_failed();
                must_submit(bench, bench.submission());
                CHECK(bench.store->count({}) == stored + 1);
                CHECK(bench.store->verify().empty());
            }
        }
        CHECK_FALSE(met);
    }
}

TEST_CASE("S44: a lock that cannot be taken is an error, soon and with nothing changed") {
    prefer_memory();
    const TemporaryFolder folder;
    for (const Call call : {Call::lock, Call::shm_lock}) {
        for (const bool for_ever : {false, true}) {
            for (unsigned variant = 0; variant < failures_of(call).size(); ++variant) {
                CAPTURE(name_of(call));
                CAPTURE(for_ever);
                CAPTURE(variant);
                Bench bench{folder / "live", {}, 7};
                bench.open();
                must_submit(bench, bench.submission());
                if (call == Call::lock) {
                    bench.close();  // the log's locks are all that an open connection takes
                }
                constexpr int many = 1'000;
                int calls = 0;
                bench.disk.fault = [&](const Operation& operation) {
                    const bool unlocks = (operation.flags & SQLITE_SHM_UNLOCK) != 0;
                    if (operation.call != call || (call == Call::shm_lock && unlocks)) {
                        return SQLITE_OK;
                    }
                    ++calls;
                    return for_ever || calls == 1 ? failures_of(call)[variant] : SQLITE_OK;
                };
                const outbox::Submission submission = bench.submission(true);
                bool stored = false;
                try {
                    if (!bench.is_open()) {
                        bench.open();
                    }
                    stored = !bench.store->submit(submission).error;
                } catch (const Error&) {
                }
                CHECK(calls > 0);
                CHECK(calls < many);
                CHECK_FALSE((stored && for_ever));
                bench.disk.fault = nullptr;
                if (!bench.is_open()) {
                    bench.open();
                }
                CHECK(rows_of(bench, *submission.id) == (stored ? 1 : 0));
                must_submit(bench, submission);
                CHECK(rows_of(bench, *submission.id) == 1);
                CHECK(bench.store->count({}) == 2);
                CHECK(bench.store->verify().empty());
            }
        }
    }
}

}  // namespace agentsight::test
