#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>
#include <string>

#include "bench.hpp"
#include "command_line.hpp"
#include "support/temporary_folder.hpp"

namespace agentsight::test {

namespace {

constexpr const char* database = "feedback.db";
constexpr const char* log = "feedback.db-wal";

/// The ground with its first page made noise, and the header of its log: no longer a database, nor
/// does the log bring the page back.
Ground damaged_ground(const std::filesystem::path& folder, std::uint64_t seed) {
    Ground ground = make_ground(folder, true);
    const Ground killed = make_ground(folder / "killed", false);
    ground.image.durable[log] = killed.image.durable.at(log);
    TestRandom random{seed};
    const auto spoil = [&](const char* name, std::ptrdiff_t size) {
        Bytes& bytes = ground.image.durable.at(name)->durable;
        REQUIRE(std::ssize(bytes) > size);
        std::generate_n(bytes.begin(), size,
                        [&] { return static_cast<std::uint8_t>(random.next()); });
    };
    spoil(database, 4096);
    spoil(log, 32);
    return ground;
}

std::set<std::string> ids_in(outbox::Store& store) {
    std::set<std::string> ids;
    for (const Record& record : store.list({}, 1000)) {
        ids.insert(record.id);
    }
    return ids;
}

bool holds_file_with(const std::filesystem::path& folder, const Bytes& wanted) {
    for (const auto& entry : std::filesystem::directory_iterator{folder}) {
        std::ifstream file{entry.path(), std::ios::binary};
        const Bytes bytes{std::istreambuf_iterator<char>{file}, {}};
        if (bytes == wanted) {
            return true;
        }
    }
    return false;
}

}  // namespace

TEST_CASE("S29 S35: a salvage cut off at any operation is completed by the next open") {
    prefer_memory();
    const TemporaryFolder folder;
    const std::uint64_t seed = test_seed();
    CAPTURE(seed);
    const Ground ground = damaged_ground(folder / "ground", seed);
    const Bytes damaged = ground.image.durable.at(database)->durable;
    const Bytes damaged_log = ground.image.durable.at(log)->durable;
    std::set<std::string> rescued;
    {
        Bench bench{folder / "undisturbed", ground, 1};
        bench.open();
        rescued = ids_in(*bench.store);
        CHECK(rescued.size() > 20);
        CHECK(holds_file_with(bench.disk.folder(), damaged));
    }
    TestRandom random{seed};
    // What is wrong with an outbox opened on what a cut has left; nothing: empty. `again`: the
    // machine loses power in the middle of that open, too.
    const std::function<std::string(const Ground&, const char*, bool)> judge =
        [&](const Ground& left, const char* place, bool again) -> std::string {
        std::string wrong;
        Bench next{folder / place, left, 2};
        if (again) {
            next.disk.at_change = [&](std::uint64_t operation) {
                if (random.next() % 4 != 0) {
                    return;  // some of them, others at each cut
                }
                const Ground cut{next.disk.stopped_by(Damage::lose_unsynced, random), {}};
                if (std::string then = judge(cut, "again", false); wrong.empty() && !then.empty()) {
                    wrong = then + " at operation " + std::to_string(operation) + " of the next";
                }
            };
        }
        try {
            next.open();
            next.disk.at_change = nullptr;
            const bool kept = holds_file_with(next.disk.folder(), damaged) &&
                              holds_file_with(next.disk.folder(), damaged_log);
            return !wrong.empty()                   ? wrong
                   : !next.store->verify().empty()  ? "contradictions"
                   : ids_in(*next.store) != rescued ? "records are missing"
                   : !kept                          ? "a damaged file is gone"
                                                    : "";
        } catch (const std::exception& error) {
            return error.what();
        }
    };
    for (const Damage damage : {Damage::process_kill, Damage::lose_unsynced, Damage::sectors,
                                Damage::garbage, Damage::torn_4k}) {
        CAPTURE(name_of(damage));
        Bench bench{folder / "live", ground, 1};
        int wrong = 0;
        int cuts = 0;
        std::string first;
        bench.disk.at_change = [&](std::uint64_t operation) {
            ++cuts;
            const Ground left{bench.disk.stopped_by(damage, random), {}};
            const std::string problem = judge(left, "next", damage == Damage::process_kill);
            if (!problem.empty()) {
                first = problem + " at operation " + std::to_string(operation);
                ++wrong;
            }
        };
        bench.open();
        bench.disk.at_change = nullptr;
        CAPTURE(first);
        CHECK(cuts > 20);
        CHECK(wrong == 0);
    }
}

}  // namespace agentsight::test
