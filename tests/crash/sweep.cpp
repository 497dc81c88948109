#include "sweep.hpp"

#include <array>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>

#include "actor.hpp"
#include "agentsight/error.hpp"
#include "failing_new.hpp"

namespace agentsight::test {

namespace {

/// Where no memory may be taken: a crash's handler reads it.
std::array<char, 256> running{};

void arm(Bench& bench, Source source, Fault fault) {
    switch (source) {
        case Source::calls:
            return bench.calls.arm(fault);
        case Source::sqlite_memory:
            return FailingMemory::arm(fault);
        case Source::memory:
            return FailingNew::arm(fault);
    }
}

/// Whether the fault was met.
bool disarm(Bench& bench, Source source) {
    switch (source) {
        case Source::calls:
            bench.calls.disarm();
            return bench.calls.has_failed();
        case Source::sqlite_memory:
            FailingMemory::disarm();
            return FailingMemory::has_failed();
        case Source::memory:
            FailingNew::disarm();
            return FailingNew::has_failed();
    }
    return false;
}

void require(bool holds, const std::string& what) {
    if (!holds) {
        throw Finding{Finding::Kind::lost, std::string{Sweep::current()} + ": " + what};
    }
}

}  // namespace

std::string_view name_of(Source source) {
    static constexpr std::array<std::string_view, 3> names{"calls", "sqlite-memory", "memory"};
    return names[static_cast<std::size_t>(source)];
}

const char* Sweep::current() {
    return running.data();
}

Sweep::Sweep(std::filesystem::path folder)
    : folder_{std::move(folder)},
      closed_{make_ground(folder_ / "ground", true)},
      killed_{make_ground(folder_ / "ground", false)} {}

const Ground& Sweep::ground_of(const Scenario& scenario) const {
    return scenario.fresh ? nothing_ : scenario.after_kill ? killed_ : closed_;
}

SweepTally Sweep::run(const Scenario& scenario, Source source, bool for_ever, std::uint64_t first,
                      std::uint64_t step) {
    SweepTally tally;
    constexpr unsigned variants = 3;
    constexpr std::uint64_t enough = 1'000'000;
    errors_ = 0;
    for (std::uint64_t n = first; n < enough; n += step) {
        bool met = false;
        for (unsigned variant = 0; variant < (source == Source::calls ? variants : 1); ++variant) {
            met = run_one(scenario, source, {n, for_ever, variant});
            tally.faults += met ? 1 : 0;
        }
        if (!met) {
            break;  // the call has fewer than n
        }
    }
    tally.errors = errors_;
    return tally;
}

bool Sweep::run_one(const Scenario& scenario, Source source, Fault fault) {
    std::snprintf(running.data(), running.size(),
                  "--scenario \"%s\" --source %s --nth %llu --for-ever %d --variant %u",
                  scenario.name, std::string{name_of(source)}.c_str(),
                  static_cast<unsigned long long>(fault.nth), fault.for_ever ? 1 : 0,
                  fault.variant);
    bool met = false;
    {
        Bench bench{folder_ / "live", ground_of(scenario), 7};
        bool succeeded = false;
        if (scenario.opens) {
            bench.open();
        }
        if (scenario.drains) {
            require(bench.store->try_become_drainer(), "the drain lock is taken");
            bench.store->begin_draining();
            for (const core::Uuid& id : bench.truth.ids_in(Place::claimed)) {
                bench.truth.became(id, Place::unknown);
            }
            bench.truth.acknowledged();
        }
        scenario.prepare(bench);
        arm(bench, source, fault);
        std::exception_ptr error;
        try {
            succeeded = scenario.call(bench);
        } catch (...) {
            error = std::current_exception();
        }
        met = disarm(bench, source);
        if (error) {
            try {
                std::rethrow_exception(error);
            } catch (const Error&) {
            } catch (const std::exception& other) {
                require(false, std::string{"not an Error of ours: "} + other.what());
            }
        }
        require(met || succeeded, "an error without a fault");
        errors_ += met && !succeeded ? 1 : 0;
        if (succeeded) {
            scenario.tell(bench);
            bench.acknowledged();
        }
        judge(bench, scenario);
    }
    require(sqlite3_memory_used() == 0, "SQLite's memory leaked");
    return met;
}

/// The fault is over: the same store works, and what a power cut leaves agrees.
void Sweep::judge(Bench& bench, const Scenario& scenario) {
    const auto under_way = bench.truth.in_flight();
    try {
        if (bench.is_open() && std::string_view{scenario.name} == "close") {
            bench.close();
        }
        if (!bench.is_open()) {
            bench.open();
        }
        const auto wrong = bench.store->verify();
        require(wrong.empty(), wrong.empty() ? "" : wrong.front());
        std::string difference = bench.truth.compare(*bench.store, bench.options.keep_delivered,
                                                     Truth::Seen::after_failure);
        require(difference.empty(), difference);
        // Submitting again with the same id stores it once, whatever became of the first try.
        for (const outbox::Submission& submission : under_way) {
            if (!submission.id) {
                continue;
            }
            const bool there = bench.truth.records().contains(*submission.id);
            const auto result = bench.store->submit(submission);
            require(!result.error, "submitting again: " + result.message);
            require(result.stored != there, "submitting again: stored twice, or not at all");
            if (there) {
                bench.truth.acknowledged(*submission.id);
            } else {
                bench.truth.appeared(*submission.id, submission);
                bench.acknowledged();
            }
        }
        TestRandom random{1};
        const Ground left{bench.disk.stopped_by(Damage::lose_unsynced, random), bench.truth};
        const auto submission = bench.submission();
        const auto result = bench.store->submit(submission);
        require(!result.error, "the next submit: " + result.message);
        bench.truth.appeared(result.id, submission);
        bench.acknowledged();
        difference = bench.truth.compare(*bench.store, bench.options.keep_delivered,
                                         Truth::Seen::after_failure);
        require(difference.empty(), "after the next submit: " + difference);
        bench.close();

        Bench next{folder_ / "next", left, 9};
        next.open();
        const auto broken = next.store->verify();
        require(broken.empty(), broken.empty() ? "" : "after a power cut: " + broken.front());
        difference = next.truth.compare(*next.store, next.options.keep_delivered,
                                        Truth::Seen::after_power_cut);
        require(difference.empty(), "after a power cut: " + difference);
    } catch (const Finding&) {
        throw;
    } catch (const std::exception& error) {
        require(false, std::string{"after the fault: "} + error.what());
    }
}

}  // namespace agentsight::test
