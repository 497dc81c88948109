// Ends processes at random moments of their deliveries, in all the ways of exit_child.cpp: each
// must end with 0, by no signal, within its close deadline and 10 s; and have kept what it took.
//
//   exit-campaign [--exits 1000] [--seed S] [--way WAY]

#include <array>
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <random>
#include <string>

#include "agentsight/agentsight.hpp"
#include "crash/command_line.hpp"
#include "places.hpp"
#include "support/child_process.hpp"

using namespace agentsight;
using namespace agentsight::test;

namespace {

constexpr std::array<const char*, 8> ways{"static",         "leaked",         "thread",
                                          "default",        "closed",         "unloaded",
                                          "static-openssl", "default-openssl"};

class Campaign {
  public:
    /// `way`: empty for all, by turns.
    Campaign(std::uint64_t seed, std::string way) : random_{seed}, way_{std::move(way)} {}

    bool exit_once() {
        const std::string drawn = ways[below(ways.size())];
        const std::string& way = way_.empty() ? drawn : way_;
        const auto stall = static_cast<Stall>(below(stalls));
        const TemporaryFolder folder;
        const std::string outbox = (folder.path() / "feedback.db").string();
        const std::uint64_t microseconds = below(std::uint64_t{1} << below(16));
        const Ending ending =
            ChildProcess::execute(EXIT_CHILD, {way, outbox, places_.url(stall), places_.ca_file(),
                                               std::to_string(microseconds), EXIT_PLUGIN})
                .wait();
        const std::uint64_t kept = kept_in(outbox);
        const std::uint64_t least = way == "unloaded" ? 1 : 3;
        if (ending == Ending{.code = 0} && kept >= least) {
            return true;
        }
        std::printf("FAILED: %s, %s, after %llu us: code %d, signal %d, %llu kept\n", way.c_str(),
                    std::string{stall_names[static_cast<std::size_t>(stall)]}.c_str(),
                    static_cast<unsigned long long>(microseconds), ending.code.value_or(-1),
                    ending.signal, static_cast<unsigned long long>(kept));
        return false;
    }

  private:
    static std::uint64_t kept_in(const std::string& outbox) {
        try {
            return Outbox{outbox}.status().accepted;
        } catch (const Error&) {
            return 0;  // it did not come so far as to make one
        }
    }
    std::uint64_t below(std::uint64_t bound) {
        return std::uniform_int_distribution<std::uint64_t>{0, bound - 1}(random_);
    }

    Places places_;
    std::mt19937_64 random_;
    std::string way_;
};

int run(const CommandLine& line) {
    const std::uint64_t exits = line.number("exits", 1'000);
    const std::uint64_t seed = line.number("seed", std::random_device{}());
    Campaign campaign{seed, line.text("way", "")};
    const auto began = std::chrono::steady_clock::now();
    std::uint64_t failed = 0;
    for (std::uint64_t i = 0; i < exits; ++i) {
        failed += campaign.exit_once() ? 0 : 1;
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - began;
    std::printf("%llu exits, %llu failed; seed %llu, %.0f s\n",
                static_cast<unsigned long long>(exits), static_cast<unsigned long long>(failed),
                static_cast<unsigned long long>(seed), seconds.count());
    return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** words) try {
    prefer_memory();
    return run(CommandLine{count, words});
} catch (const std::exception& error) {
    std::cerr << "exit-campaign: " << error.what() << '\n';
    return 2;
}
