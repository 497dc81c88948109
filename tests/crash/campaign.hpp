#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crash_vfs.hpp"

namespace agentsight::test {

/// A mistake made on purpose, to see that the campaign catches it.
enum class Defect {
    none,
    normal_sync,            ///< synchronous=NORMAL
    believed_power_safe,    ///< the disk claims power-safe overwrite: as without psow=0
    early_acknowledgement,  ///< a submit counts as acknowledged before it returns
    ignored_sync,           ///< the disk ignores syncs, and is judged as an honest one
};
std::optional<Defect> defect_named(std::string_view name);

struct CampaignOptions {
    std::uint64_t cuts = 1000;
    std::uint64_t runs = ~std::uint64_t{0};
    std::uint64_t seed = 1;      ///< of the first run; the next has the next
    std::vector<Damage> models;  ///< each run takes the next
    Defect defect = Defect::none;
    int steps = 40;   ///< of the workload, a run
    int deepest = 3;  ///< a crash, its recovery crashed, and that one's
    bool stop_at_first = true;
};

struct ModelTally {
    std::uint64_t cuts = 0;
    std::uint64_t lost = 0;             ///< something acknowledged was not there, or not as it was
    std::uint64_t corrupt = 0;          ///< the file could not be used, or contradicted itself
    std::uint64_t excused_lost = 0;     ///< of a lying disk: what no one can keep
    std::uint64_t excused_corrupt = 0;  ///< the same, with a checkpoint not yet on the disk
};

struct CampaignResult {
    std::array<ModelTally, damage_count> models;
    std::vector<std::string> failures;  ///< each with what replays it
    std::uint64_t runs = 0;

    ModelTally total() const;
};

/// Runs workloads over the real store, stops them at every operation that changes a file,
/// and judges what is left; recovers, and stops some of the recoveries too. `folder` is for
/// its files: a memory file system makes it fast. One thread; the same seed does the same.
CampaignResult run_campaign(const CampaignOptions& options, const std::filesystem::path& folder);

}  // namespace agentsight::test
