#include "campaign.hpp"

#include <algorithm>
#include <exception>
#include <string_view>
#include <utility>

#include "actor.hpp"
#include "agentsight/error.hpp"

namespace agentsight::test {

namespace {

constexpr std::array<std::string_view, 5> defect_names{"none", "normal-sync", "believed-power-safe",
                                                       "early-acknowledgement", "ignored-sync"};

/// The same time on a clock of its own.
void set(TestClock& clock, const core::Moment& moment) {
    clock.advance(moment.boot_ms - clock.now().boot_ms);
    while (clock.now().boot_id < moment.boot_id) {
        clock.reboot(0, moment.boot_ms);
    }
    clock.set_utc(moment.utc_ms);
}

/// One workload on one disk, stopped again and again.
class Run {
  public:
    Run(const CampaignOptions& options, Damage damage, std::uint64_t seed,
        std::filesystem::path folder, CampaignResult& result)
        : options_{options},
          damage_{damage},
          seed_{seed},
          folder_{std::move(folder)},
          result_{result},
          random_{seed} {}

    void run() {
        const outbox::StoreOptions store = choose_options();
        CrashDisk disk{folder_ / "0", {}, traits()};
        TestClock clock;
        Actor actor{at(disk, store), {}, clock, random_.next()};
        actor.acknowledges_early = options_.defect == Defect::early_acknowledgement;
        disk.at_change = [&](std::uint64_t number) {
            stop_here(disk, number, actor.truth(), clock, store, 1);
        };
        try {
            for (int i = 0; i < options_.steps && !failed_ && !enough(); ++i) {
                actor.step();
            }
        } catch (const std::exception& error) {
            note(Finding::Kind::corrupt, {disk.changes(), 0, false},
                 std::string{"undisturbed: "} + error.what());
        }
        disk.at_change = nullptr;
    }

  private:
    bool enough() const { return result_.total().cuts >= options_.cuts; }

    DiskTraits traits() const {
        DiskTraits made;
        made.sync_is_no_op = is_lying(damage_) || options_.defect == Defect::ignored_sync;
        made.shim.claims_power_safe_overwrite = options_.defect == Defect::believed_power_safe;
        if (damage_ == Damage::torn_16k) {
            // Such a disk must say so: SQLite then keeps its commits this far apart.
            made.shim.sector_size = 16384;
        }
        return made;
    }

    outbox::StoreOptions choose_options() {
        outbox::StoreOptions store;
        store.path = "feedback.db";
        store.busy_timeout = std::chrono::milliseconds{0};
        store.keep_delivered = random_.one_in(2) ? 4 : 10'000;
        if (random_.one_in(3)) {
            store.max_records = 12;
            store.when_full = random_.one_in(2) ? WhenFull::refuse : WhenFull::drop_oldest;
        }
        if (options_.defect == Defect::normal_sync) {
            store.durability = Durability::relaxed;
        }
        return store;
    }

    static outbox::StoreOptions at(const CrashDisk& disk, outbox::StoreOptions store) {
        store.path = disk.folder() / "feedback.db";
        store.vfs = disk.vfs();
        return store;
    }

    /// Where a stop was.
    struct Spot {
        std::uint64_t operation;
        int depth;
        bool database_at_risk;
    };

    /// Called in the middle of an operation: judges what a stop here would leave. No
    /// exception may pass through SQLite.
    void stop_here(const CrashDisk& disk, std::uint64_t operation, const Truth& truth,
                   const TestClock& clock, const outbox::StoreOptions& store, int depth) {
        if (failed_ || enough()) {
            return;
        }
        const Spot spot{operation, depth, disk.database_at_risk()};
        ++tally().cuts;
        try {
            const Damage damage = damage_at(depth);
            judge(disk.stopped_by(damage, random_), truth, clock.now(), store, spot,
                  damage == Damage::process_kill);
        } catch (const Finding& finding) {
            note(finding.kind(), spot, finding.what());
        } catch (const std::exception& error) {
            note(Finding::Kind::corrupt, spot, error.what());
        }
    }

    /// A killed process's successor may meet a power cut: what only the page cache had goes.
    Damage damage_at(int depth) {
        static constexpr std::array later{Damage::process_kill, Damage::lose_unsynced,
                                          Damage::sectors};
        return damage_ == Damage::process_kill && depth > 1 ? later[random_.below(later.size())]
                                                            : damage_;
    }

    /// What a new process finds, and makes of it; stopped in its turn now and then.
    void judge(const DiskImage& image, const Truth& truth, const core::Moment& moment,
               const outbox::StoreOptions& store, const Spot& spot, bool killed) {
        TestClock clock;
        set(clock, moment);
        if (!killed) {
            clock.reboot(60'000);
        }
        CrashDisk disk{folder_ / std::to_string(spot.depth), image, traits()};
        Actor actor{at(disk, store), truth, clock, random_.next()};
        const bool deeper = spot.depth < options_.deepest && !is_lying(damage_);
        const std::uint64_t next_stop = image.changes + 1 + random_.below(80);
        disk.at_change = [&](std::uint64_t operation) {
            if (deeper && operation == next_stop) {
                stop_here(disk, operation, actor.truth(), clock, store, spot.depth + 1);
            }
        };
        actor.recover(!killed);
        disk.at_change = nullptr;
    }

    ModelTally& tally() { return result_.models[static_cast<std::size_t>(damage_)]; }

    void note(Finding::Kind kind, const Spot& spot, const std::string& what) {
        const bool lost = kind == Finding::Kind::lost;
        if (is_lying(damage_) && spot.depth > 0 && (lost || spot.database_at_risk)) {
            ++(lost ? tally().excused_lost : tally().excused_corrupt);
            return;
        }
        ++(lost ? tally().lost : tally().corrupt);
        failed_ = true;
        result_.failures.push_back(what + "\n  --model " + std::string{name_of(damage_)} +
                                   " --seed " + std::to_string(seed_) + " --runs 1    (operation " +
                                   std::to_string(spot.operation) + ", depth " +
                                   std::to_string(spot.depth) + ")");
    }

    const CampaignOptions& options_;
    Damage damage_;
    std::uint64_t seed_;
    std::filesystem::path folder_;
    CampaignResult& result_;
    TestRandom random_;
    bool failed_ = false;
};

}  // namespace

std::optional<Defect> defect_named(std::string_view name) {
    const auto found = std::find(defect_names.begin(), defect_names.end(), name);
    return found == defect_names.end()
               ? std::nullopt
               : std::optional{static_cast<Defect>(found - defect_names.begin())};
}

ModelTally CampaignResult::total() const {
    ModelTally sum;
    for (const ModelTally& model : models) {
        sum.cuts += model.cuts;
        sum.lost += model.lost;
        sum.corrupt += model.corrupt;
        sum.excused_lost += model.excused_lost;
        sum.excused_corrupt += model.excused_corrupt;
    }
    return sum;
}

CampaignResult run_campaign(const CampaignOptions& options, const std::filesystem::path& folder) {
    CampaignResult result;
    while (result.runs < options.runs && result.total().cuts < options.cuts) {
        const Damage damage = options.models[result.runs % options.models.size()];
        Run{options, damage, options.seed + result.runs, folder, result}.run();
        ++result.runs;
        if (options.stop_at_first && !result.failures.empty()) {
            break;
        }
    }
    return result;
}

}  // namespace agentsight::test
