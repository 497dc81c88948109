#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <optional>

#include "command_line.hpp"
#include "support/temporary_folder.hpp"
#include "sweep.hpp"

using namespace agentsight::test;

namespace {

constexpr const char* usage =
    "fault-sweep [--scenario NAME] [--source calls|sqlite-memory|memory] [--for-ever 0|1]\n"
    "            [--every N] [--first N] [--nth N --variant N]\n";
constexpr unsigned hang_seconds = 120;

/// A crash or a hang says what was being run.
void report_and_die(int signal_number) {
    const auto say = [](const char* text) {
        const ssize_t n = ::write(STDERR_FILENO, text, std::strlen(text));
        static_cast<void>(n);
    };
    say(signal_number == SIGALRM ? "HANGS: " : "CRASHES: ");
    say(Sweep::current());
    say("\n");
    ::signal(signal_number, SIG_DFL);
    ::raise(signal_number);
}

struct Total {
    std::uint64_t faults = 0;
    std::uint64_t errors = 0;
    int findings = 0;
};

void sweep(Sweep& sweep, const Scenario& scenario, Source source, bool for_ever,
           const CommandLine& line, Total& total) {
    ::alarm(hang_seconds);
    try {
        if (const std::uint64_t nth = line.number("nth", 0); nth != 0) {
            const auto variant = static_cast<unsigned>(line.number("variant", 0));
            total.faults += sweep.run_one(scenario, source, {nth, for_ever, variant}) ? 1 : 0;
            return;
        }
        const std::uint64_t every = line.number("every", 1);
        // Another scenario begins elsewhere, so that a sample is spread.
        const std::uint64_t first = 1 + (line.number("first", 0) + total.faults) % every;
        const SweepTally tally = sweep.run(scenario, source, for_ever, first, every);
        total.faults += tally.faults;
        total.errors += tally.errors;
        std::printf("%-28s %-14s %-9s %7llu faults, %7llu answered with an error\n", scenario.name,
                    std::string{name_of(source)}.c_str(), for_ever ? "for ever" : "once",
                    static_cast<unsigned long long>(tally.faults),
                    static_cast<unsigned long long>(tally.errors));
    } catch (const std::exception& error) {
        ++total.findings;
        std::printf("FAILED: %s\n", error.what());
    }
    std::fflush(stdout);
}

int run(const CommandLine& line) {
    const std::string wanted = line.text("scenario", "");
    const std::string source_wanted = line.text("source", "");
    const std::uint64_t for_ever_wanted = line.number("for-ever", 2);
    prefer_memory();
    const TemporaryFolder folder;
    Sweep all{folder.path()};
    Total total;
    const auto begin = std::chrono::steady_clock::now();
    for (const Source source : {Source::calls, Source::sqlite_memory, Source::memory}) {
        for (const Scenario& scenario : scenarios()) {
            for (const bool for_ever : {false, true}) {
                const bool chosen = (wanted.empty() || wanted == scenario.name) &&
                                    (source_wanted.empty() || source_wanted == name_of(source)) &&
                                    (for_ever_wanted == 2 || for_ever == (for_ever_wanted == 1));
                if (chosen) {
                    sweep(all, scenario, source, for_ever, line, total);
                }
            }
        }
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    std::printf("%llu faults, %llu answered with an error, %d findings, %.0f s\n",
                static_cast<unsigned long long>(total.faults),
                static_cast<unsigned long long>(total.errors), total.findings, took.count());
    return total.findings == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
    for (const int signal_number : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGALRM}) {
        ::signal(signal_number, report_and_die);
    }
    try {
        FailingMemory::install();
        return run(CommandLine{count, words});
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n" << usage;
        return 2;
    }
}
