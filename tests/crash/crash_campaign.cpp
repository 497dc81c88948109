#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>

#include "campaign.hpp"
#include "command_line.hpp"
#include "support/temporary_folder.hpp"

using namespace agentsight::test;

namespace {

constexpr const char* usage =
    "crash-campaign [--cuts N] [--runs N] [--seed S] [--model all|honest|NAME] [--defect NAME]\n"
    "               [--steps N] [--deepest N] [--all-failures 1]\n";

CampaignOptions options_of(const CommandLine& line) {
    CampaignOptions options;
    options.cuts = line.number("cuts", options.cuts);
    options.runs = line.number("runs", options.runs);
    if (options.runs != CampaignOptions{}.runs) {
        options.cuts = line.number("cuts", ~std::uint64_t{0});
    }
    options.seed = line.number("seed", options.seed);
    options.steps = static_cast<int>(line.number("steps", 40));
    options.deepest = static_cast<int>(line.number("deepest", 3));
    options.stop_at_first = line.number("all-failures", 0) == 0;
    const std::string model = line.text("model", "all");
    for (int i = 0; i < damage_count; ++i) {
        const auto damage = static_cast<Damage>(i);
        if (model == "all" || model == name_of(damage) ||
            (model == "honest" && !is_lying(damage))) {
            options.models.push_back(damage);
        }
    }
    const auto defect = defect_named(line.text("defect", "none"));
    if (options.models.empty() || !defect) {
        throw std::invalid_argument("no such model, or no such defect");
    }
    options.defect = *defect;
    return options;
}

void print(const char* name, const ModelTally& tally) {
    std::printf("%-16s %10llu cuts %6llu lost %6llu corrupt", name,
                static_cast<unsigned long long>(tally.cuts),
                static_cast<unsigned long long>(tally.lost),
                static_cast<unsigned long long>(tally.corrupt));
    if (tally.excused_lost + tally.excused_corrupt > 0) {
        std::printf("   (the disk lied: %llu lost what it had not written, %llu in a checkpoint)",
                    static_cast<unsigned long long>(tally.excused_lost),
                    static_cast<unsigned long long>(tally.excused_corrupt));
    }
    std::printf("\n");
}

int run(const CommandLine& line) {
    const CampaignOptions options = options_of(line);
    prefer_memory();
    const TemporaryFolder folder;
    const auto begin = std::chrono::steady_clock::now();
    const CampaignResult result = run_campaign(options, folder.path());
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    for (int i = 0; i < damage_count; ++i) {
        const ModelTally& tally = result.models[static_cast<std::size_t>(i)];
        if (tally.cuts > 0) {
            print(std::string{name_of(static_cast<Damage>(i))}.c_str(), tally);
        }
    }
    const ModelTally total = result.total();
    print("all", total);
    std::printf("%llu runs, seeds %llu and on, %.0f s, %.0f cuts/s\n",
                static_cast<unsigned long long>(result.runs),
                static_cast<unsigned long long>(options.seed), took.count(),
                static_cast<double>(total.cuts) / took.count());
    for (const std::string& failure : result.failures) {
        std::printf("FAILED: %s\n", failure.c_str());
    }
    return result.failures.empty() ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
    try {
        return run(CommandLine{count, words});
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n" << usage;
        return 2;
    }
}
