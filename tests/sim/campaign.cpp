#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "simulation.hpp"

/// sim-campaign [--seeds N] [--first S] [--seconds N] [--mutant NAME] [--trace] [--keep-going]
/// Runs N seeds from S on. Without a mutant every run must be right: exit 1 at the first
/// that is not, with the seed that replays it; after so many seconds it stops. With a mutant, how
/// many seeds it took.
namespace {

using agentsight::delivery::Mutant;

Mutant mutant_of(const std::string& name) {
    if (name == "resend-without-reading") {
        return Mutant::resend_without_reading;
    }
    if (name == "match-known-ids") {
        return Mutant::match_known_ids;
    }
    if (name == "claim-after-send") {
        return Mutant::claim_after_send;
    }
    if (name == "one-look-at-once") {
        return Mutant::one_look_at_once;
    }
    if (name == "never-withdraw") {
        return Mutant::never_withdraw;
    }
    std::fprintf(stderr, "no such mutant: %s\n", name.c_str());
    std::exit(2);
}

struct Totals {
    std::uint64_t runs = 0, records = 0, delivered = 0, dead = 0, left = 0, posts = 0, gets = 0,
                  steps = 0, cuts = 0, declared = 0, doubled = 0;
    double virtual_hours = 0;
};

}  // namespace

int main(int argc, char** argv) {
    std::uint64_t seeds = 1'000;
    std::uint64_t first = 1;
    double most_seconds = 1e9;
    Mutant mutant = Mutant::none;
    bool trace = false;
    bool keep_going = false;
    for (int i = 1; i < argc; ++i) {
        const std::string flag = argv[i];
        const bool has_value = i + 1 < argc;
        if (flag == "--seeds" && has_value) {
            seeds = std::strtoull(argv[++i], nullptr, 10);
        } else if (flag == "--first" && has_value) {
            first = std::strtoull(argv[++i], nullptr, 10);
        } else if (flag == "--seconds" && has_value) {
            most_seconds = std::strtod(argv[++i], nullptr);
        } else if (flag == "--mutant" && has_value) {
            mutant = mutant_of(argv[++i]);
        } else if (flag == "--trace") {
            trace = true;
        } else if (flag == "--keep-going") {
            keep_going = true;
        } else {
            std::fprintf(stderr,
                         "usage: sim-campaign [--seeds N] [--first S] [--seconds N] "
                         "[--mutant NAME] [--trace] [--keep-going]\n");
            return 2;
        }
    }
    if (std::getenv("TMPDIR") == nullptr && std::filesystem::is_directory("/dev/shm")) {
        ::setenv("TMPDIR", "/dev/shm", 1);
    }
    Totals totals;
    std::uint64_t wrong = 0;
    const auto began = std::chrono::steady_clock::now();
    const auto since = [began] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    };
    for (std::uint64_t seed = first; seed < first + seeds && since() < most_seconds; ++seed) {
        if (totals.runs > 0 && totals.runs % 10'000 == 0) {
            std::printf("%llu runs, %llu wrong, %.0f runs/s\n",
                        static_cast<unsigned long long>(totals.runs),
                        static_cast<unsigned long long>(wrong),
                        static_cast<double>(totals.runs) / since());
            std::fflush(stdout);
        }
        agentsight::sim::Scenario scenario{seed};
        scenario.policy.mutant = mutant;
        const agentsight::sim::Result result = agentsight::sim::simulate(scenario, trace);
        ++totals.runs;
        totals.records += static_cast<std::uint64_t>(scenario.records);
        totals.delivered += result.delivered;
        totals.dead += result.dead;
        totals.left += result.left;
        totals.posts += result.posts;
        totals.gets += result.gets;
        totals.steps += result.steps;
        totals.cuts += result.cuts;
        totals.declared += result.possible_duplicates;
        totals.doubled += result.doubled;
        totals.virtual_hours += static_cast<double>(result.finished_at) / 3'600'000;
        if (result.ok()) {
            continue;
        }
        ++wrong;
        if (mutant != Mutant::none) {
            std::printf("caught at seed %llu, the %lluth: %s\n",
                        static_cast<unsigned long long>(seed),
                        static_cast<unsigned long long>(totals.runs), result.problems[0].c_str());
            return 0;
        }
        std::printf("%s\n", scenario.describe().c_str());
        for (const std::string& problem : result.problems) {
            std::printf("  WRONG: %s\n", problem.c_str());
        }
        if (!keep_going) {
            break;
        }
    }
    const double seconds = since();
    std::printf(
        "%llu runs, %llu wrong; %llu records: %llu delivered, %llu dead, %llu left to a person; "
        "%llu POSTs, %llu GETs, %llu steps, %llu power cuts; doubled %llu, declared %llu; %.0f "
        "virtual hours; "
        "%.0f runs/s\n",
        static_cast<unsigned long long>(totals.runs), static_cast<unsigned long long>(wrong),
        static_cast<unsigned long long>(totals.records),
        static_cast<unsigned long long>(totals.delivered),
        static_cast<unsigned long long>(totals.dead), static_cast<unsigned long long>(totals.left),
        static_cast<unsigned long long>(totals.posts), static_cast<unsigned long long>(totals.gets),
        static_cast<unsigned long long>(totals.steps), static_cast<unsigned long long>(totals.cuts),
        static_cast<unsigned long long>(totals.doubled),
        static_cast<unsigned long long>(totals.declared), totals.virtual_hours,
        static_cast<double>(totals.runs) / seconds);
    if (mutant != Mutant::none) {
        std::printf("the mutant survived\n");
        return 1;
    }
    return wrong == 0 ? 0 : 1;
}
