#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <new>
#include <system_error>

#include "command_line.hpp"
#include "support/temporary_folder.hpp"
#include "support/test_random.hpp"
#include "sweep.hpp"

using namespace agentsight::test;

namespace {

constexpr const char* usage =
    "fault-sweep [--scenario NAME] [--source calls|sqlite-memory|memory] [--for-ever 0|1]\n"
    "            [--every N] [--first N] [--at-most N --seed N] [--nth N --variant N]\n";
constexpr unsigned hang_seconds = 300;
constexpr int crashes_a_scenario = 20;

SweepPosition& shared_position() {
    void* memory = ::mmap(nullptr, sizeof(SweepPosition), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::system_error(errno, std::generic_category(), "mmap");
    }
    return *new (memory) SweepPosition;
}

struct Choice {
    const Scenario& scenario;
    Source source;
    bool for_ever;
    std::uint64_t number;  ///< of all choices
};

/// `--at-most`: so many, evenly over all there are, from an offset that the seed draws.
void begin(Sweep& sweep, SweepPosition& position, const Choice& choice, const CommandLine& line) {
    position.nth = 1 + line.number("first", 0);
    position.step = line.number("every", 1);
    if (const std::uint64_t at_most = line.number("at-most", 0); at_most != 0) {
        const std::uint64_t all = sweep.count(choice.scenario, choice.source);
        position.step = std::max<std::uint64_t>(1, (all + at_most - 1) / at_most);
        TestRandom random{line.number("seed", 1) + choice.number};
        position.nth = 1 + random.below(position.step);
    }
}

/// In a process of its own: a crash or a hang is a finding, and ends only that.
int run_child(const std::filesystem::path& folder, SweepPosition& position, const Choice& choice,
              const CommandLine& line) {
    ::alarm(hang_seconds);
    FailingMemory::install();
    Sweep sweep{folder, position};
    if (const std::uint64_t nth = line.number("nth", 0); nth != 0) {
        const auto variant = static_cast<unsigned>(line.number("variant", 0));
        sweep.run_one(choice.scenario, choice.source, {nth, choice.for_ever, variant});
        position.done = true;
        return 0;
    }
    if (position.nth == 0) {
        begin(sweep, position, choice, line);
    }
    sweep.run(choice.scenario, choice.source, choice.for_ever);
    return 0;
}

void watch(const std::filesystem::path& folder, SweepPosition& position, const Choice& choice,
           const CommandLine& line) {
    position = {};
    for (int crashes = 0; crashes < crashes_a_scenario && !position.done; ++crashes) {
        std::fflush(stdout);
        const pid_t child = ::fork();
        if (child < 0) {
            throw std::system_error(errno, std::generic_category(), "fork");
        }
        if (child == 0) {
            int code = 1;
            try {
                code = run_child(folder, position, choice, line);
            } catch (const std::exception& error) {
                ++position.findings;
                position.done = true;
                std::printf("FAILED: %s\n", error.what());
            }
            std::fflush(stdout);
            ::_exit(code);
        }
        int status = 0;
        while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        if (!position.done) {
            ++position.findings;
            const bool hung = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
            std::printf("%s: %s\n", hung ? "HANGS" : "CRASHES", position.running.data());
            position.nth += position.step;
            position.done = line.number("nth", 0) != 0;
        }
    }
    std::printf("%-28s %-14s %-9s %7llu faults, %7llu answered with an error\n",
                choice.scenario.name, std::string{name_of(choice.source)}.c_str(),
                choice.for_ever ? "for ever" : "once",
                static_cast<unsigned long long>(position.faults),
                static_cast<unsigned long long>(position.errors));
}

int run(const CommandLine& line) {
    const std::string wanted = line.text("scenario", "");
    const std::string source_wanted = line.text("source", "");
    const std::uint64_t for_ever_wanted = line.number("for-ever", 2);
    prefer_memory();
    const TemporaryFolder folder;
    SweepPosition& position = shared_position();
    SweepPosition total;
    const auto start = std::chrono::steady_clock::now();
    std::uint64_t number = 0;
    for (const Source source : {Source::calls, Source::sqlite_memory, Source::memory}) {
        for (const Scenario& scenario : scenarios()) {
            for (const bool for_ever : {false, true}) {
                ++number;
                const bool chosen = (wanted.empty() || wanted == scenario.name) &&
                                    (source_wanted.empty() || source_wanted == name_of(source)) &&
                                    (for_ever_wanted == 2 || for_ever == (for_ever_wanted == 1));
                if (!chosen) {
                    continue;
                }
                watch(folder.path(), position, {scenario, source, for_ever, number}, line);
                total.faults += position.faults;
                total.errors += position.errors;
                total.findings += position.findings;
            }
        }
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    std::printf("%llu faults, %llu answered with an error, %llu findings, %.0f s\n",
                static_cast<unsigned long long>(total.faults),
                static_cast<unsigned long long>(total.errors),
                static_cast<unsigned long long>(total.findings), took.count());
    return total.findings == 0 ? 0 : 1;
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
