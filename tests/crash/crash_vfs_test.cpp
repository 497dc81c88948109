#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "crash_vfs.hpp"
#include "plain.hpp"
#include "support/temporary_folder.hpp"

namespace agentsight::test {

namespace {

/// What became of the acknowledged rows of one plain database over many power cuts.
struct Tally {
    int cuts = 0;
    int lost = 0;
    int corrupt = 0;
};

struct Setup {
    Damage damage = Damage::lose_unsynced;
    DiskTraits disk = {};
    std::string_view synchronous = "FULL";
    int commits = 30;
    int checkpoint_every = 7;
};

/// Row i is i bytes of a letter: a row that is half there does not equal itself.
std::string row_of(int i) {
    return std::string(static_cast<std::size_t>(i * 37 % 900 + 1), 'x');
}

void judge(const std::filesystem::path& folder, const DiskImage& image, int acknowledged,
           const DiskTraits& traits, Tally& tally) {
    ++tally.cuts;
    try {
        CrashDisk disk{folder, image, traits};
        Plain plain{folder / "plain.db", disk.vfs()};
        if (plain.integrity() != "ok") {
            ++tally.corrupt;
            return;
        }
        if (acknowledged == 0) {
            return;
        }
        if (plain.one("SELECT count(*) FROM sqlite_schema") == "0") {
            ++tally.lost;
            return;
        }
        const auto rows = plain.all("SELECT text FROM row ORDER BY key");
        const auto kept = static_cast<int>(rows.size());
        bool equal = kept >= acknowledged;
        for (int i = 0; i < kept; ++i) {
            equal = equal && rows[static_cast<std::size_t>(i)] == row_of(i);
        }
        tally.lost += equal ? 0 : 1;
    } catch (const std::runtime_error&) {
        ++tally.corrupt;
    }
}

Tally cut_everywhere(const Setup& setup, std::uint64_t seed) {
    TemporaryFolder folder;
    TestRandom random{seed};
    Tally tally;
    int acknowledged = 0;
    CrashDisk disk{folder / "live", {}, setup.disk};
    disk.at_change = [&](std::uint64_t) {
        const bool excused = is_lying(setup.damage) && disk.database_at_risk();
        if (!excused) {
            judge(folder / "cut", disk.stopped_by(setup.damage, random), acknowledged, setup.disk,
                  tally);
        }
    };
    Plain plain{disk.folder() / "plain.db", disk.vfs()};
    plain.use_profile(setup.synchronous);
    plain.must("CREATE TABLE row(key INTEGER PRIMARY KEY, text)");
    for (int i = 0; i < setup.commits; ++i) {
        plain.must("INSERT INTO row VALUES(" + std::to_string(i) + ", '" + row_of(i) + "')");
        acknowledged = i + 1;
        if ((i + 1) % setup.checkpoint_every == 0) {
            plain.checkpoint(i % 2 == 0 ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_TRUNCATE);
        }
    }
    return tally;
}

}  // namespace

TEST_CASE("S1 S2: with FULL and psow=0 no damage of an honest disk loses or corrupts") {
    const std::uint64_t seed = test_seed();
    CAPTURE(seed);
    for (const Damage damage : {Damage::process_kill, Damage::lose_unsynced, Damage::sectors,
                                Damage::garbage, Damage::torn_4k}) {
        CAPTURE(name_of(damage));
        const Tally tally = cut_everywhere({.damage = damage}, seed);
        CHECK(tally.cuts > 100);
        CHECK(tally.lost == 0);
        CHECK(tally.corrupt == 0);
    }
}

TEST_CASE("S1: the crash VFS shows what NORMAL loses") {
    const Tally tally =
        cut_everywhere({.damage = Damage::lose_unsynced, .synchronous = "NORMAL"}, 1);
    CHECK(tally.lost > tally.cuts / 4);
    CHECK(tally.corrupt == 0);
}

TEST_CASE("S2: the crash VFS shows what torn sectors take where power-safe overwrite is believed") {
    DiskTraits believed;
    believed.shim.claims_power_safe_overwrite = true;
    Tally sum;
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        const Tally tally = cut_everywhere({.damage = Damage::torn_4k, .disk = believed}, seed);
        sum.cuts += tally.cuts;
        sum.lost += tally.lost;
    }
    CHECK(sum.lost > 0);
}

TEST_CASE("S40: a disk whose sync does nothing loses, and stays sound outside checkpoints") {
    DiskTraits lying;
    lying.sync_is_no_op = true;
    lying.cache_operations = 16;
    for (const Damage damage : {Damage::lying_in_order, Damage::lying}) {
        CAPTURE(name_of(damage));
        const Tally tally = cut_everywhere(
            {.damage = damage, .disk = lying, .commits = 60, .checkpoint_every = 20}, 3);
        CHECK(tally.lost > 0);
        CHECK(tally.corrupt == 0);
    }
}

TEST_CASE("a cut disk answers every call with an error, and is still left cleanly") {
    TemporaryFolder folder;
    CrashDisk disk{folder / "live"};
    Plain plain{disk.folder() / "plain.db", disk.vfs()};
    plain.use_profile();
    plain.must("CREATE TABLE row(key)");
    disk.cut();
    CHECK(plain.run("INSERT INTO row VALUES(1)") != SQLITE_OK);
}

}  // namespace agentsight::test
