#include "sweep.hpp"

#include <array>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "actor.hpp"
#include "agentsight/error.hpp"
#include "failing_new.hpp"

namespace agentsight::test {

namespace {

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

/// SQLite's default VFS for a while.
class DefaultVfs {
  public:
    explicit DefaultVfs(const char* name) { sqlite3_vfs_register(sqlite3_vfs_find(name), 1); }
    ~DefaultVfs() { sqlite3_vfs_register(sqlite3_vfs_find("unix"), 1); }
    DefaultVfs(const DefaultVfs&) = delete;
    DefaultVfs& operator=(const DefaultVfs&) = delete;
};

std::uint64_t calls_of(const Bench& bench, Source source) {
    switch (source) {
        case Source::calls:
            return bench.calls.calls();
        case Source::sqlite_memory:
            return FailingMemory::calls();
        case Source::memory:
            return FailingNew::calls();
    }
    return 0;
}

std::string first_of(const std::vector<std::string>& sentences) {
    return sentences.empty() ? std::string{} : sentences.front();
}

}  // namespace

std::string_view name_of(Source source) {
    static constexpr std::array<std::string_view, 3> names{"calls", "sqlite-memory", "memory"};
    return names[static_cast<std::size_t>(source)];
}

Sweep::Sweep(std::filesystem::path folder, SweepPosition& position)
    : folder_{std::move(folder)},
      position_{position},
      closed_{make_ground(folder_ / "ground", true)},
      killed_{make_ground(folder_ / "ground", false)} {}

void Sweep::require(bool holds, const std::string& what) const {
    if (!holds) {
        throw Finding{Finding::Kind::lost, std::string{position_.running.data()} + ": " + what};
    }
}

const Ground& Sweep::ground_of(const Scenario& scenario) const {
    return scenario.fresh ? nothing_ : scenario.after_kill ? killed_ : closed_;
}

std::uint64_t Sweep::count(const Scenario& scenario, Source source) {
    run_one(scenario, source, {});
    return calls_;
}

void Sweep::run(const Scenario& scenario, Source source, bool for_ever) {
    constexpr std::uint64_t enough = 1'000'000;
    for (; position_.nth < enough; position_.nth += position_.step) {
        bool met = false;
        variants_ = 1;
        for (unsigned variant = 0; variant < variants_; ++variant) {
            try {
                met = run_one(scenario, source, {position_.nth, for_ever, variant});
            } catch (const Finding& finding) {
                ++position_.findings;
                std::printf("FAILED: %s\n", finding.what());
                std::fflush(stdout);
                met = true;
            }
        }
        if (!met) {
            break;  // the call has fewer than n
        }
    }
    position_.done = true;
}

bool Sweep::run_one(const Scenario& scenario, Source source, Fault fault) {
    std::snprintf(position_.running.data(), position_.running.size(),
                  "--scenario \"%s\" --source %s --nth %llu --for-ever %d --variant %u",
                  scenario.name, std::string{name_of(source)}.c_str(),
                  static_cast<unsigned long long>(fault.nth), fault.for_ever ? 1 : 0,
                  fault.variant);
    const sqlite3_int64 memory_before = sqlite3_memory_used();
    bool met = false;
    try {
        Bench bench{folder_ / "live", ground_of(scenario), 7};
        if (scenario.opens) {
            bench.open();
        }
        if (scenario.drains) {
            begin_draining(bench);
        }
        scenario.prepare(bench);
        if (call(bench, scenario, source, fault, met)) {
            scenario.tell(bench);
            if (!scenario.has_worker) {
                bench.truth.acknowledged();
            }
        } else {
            ++position_.errors;
            scenario.tell_parts(bench);
        }
        judge(bench, scenario);
    } catch (const Finding&) {
        throw;
    } catch (const std::exception& error) {
        require(false, std::string{"after the fault: "} + error.what());
    }
    require(sqlite3_memory_used() == memory_before, "SQLite's memory leaked");
    position_.faults += met ? 1 : 0;
    return met;
}

void Sweep::begin_draining(Bench& bench) {
    require(bench.store->try_become_drainer(), "the drain lock is taken");
    bench.store->begin_draining();
    for (const core::Uuid& id : bench.truth.ids_in(Place::claimed)) {
        bench.truth.became(id, Place::unknown);
    }
    bench.truth.acknowledged();
}

bool Sweep::call(Bench& bench, const Scenario& scenario, Source source, Fault fault, bool& met) {
    bool succeeded = false;
    bool expected = true;
    const DefaultVfs vfs{scenario.by_default_vfs ? bench.disk.vfs() : "unix"};
    arm(bench, source, fault);
    try {
        succeeded = scenario.call(bench);
    } catch (const Error& error) {
        require(error.code() != errc::refused_state, "refused for what the call itself did");
    } catch (const std::bad_alloc&) {  // no memory for an Error either
    } catch (const std::exception&) {
        expected = false;
    }
    met = disarm(bench, source);
    calls_ = calls_of(bench, source);
    if (met && source == Source::calls) {
        variants_ = static_cast<unsigned>(failures_of(bench.calls.failed_call()).size());
    }
    require(expected, "the exception is no Error");
    require(met || succeeded, "an error without a fault");
    return succeeded;
}

/// The fault is over: the same store works, and what a power cut leaves agrees.
void Sweep::judge(Bench& bench, const Scenario& scenario) {
    const auto under_way = bench.truth.in_flight();
    const std::uint64_t keep = bench.options.keep_delivered;
    if (bench.is_open() && std::string_view{scenario.name} == "close") {
        bench.close();
    }
    if (!bench.is_open()) {
        bench.open();
    }
    std::string wrong = first_of(bench.store->verify());
    require(wrong.empty(), wrong);
    wrong = bench.truth.compare(*bench.store, keep, Truth::Seen::after_failure);
    require(wrong.empty(), wrong);
    submit_again(bench, under_way);

    TestRandom random{1};
    const Ground left{bench.disk.stopped_by(Damage::lose_unsynced, random), bench.truth};
    const auto submission = bench.submission();
    const auto result = bench.store->submit(submission);
    require(!result.error, "the next submit: " + result.message);
    bench.truth.appeared(result.id, submission);
    bench.truth.acknowledged();
    wrong = bench.truth.compare(*bench.store, keep, Truth::Seen::after_failure);
    require(wrong.empty(), "after the next submit: " + wrong);
    bench.close();

    Bench next{folder_ / "next", left, 9};
    next.options.schema = bench.options.schema;
    next.open();
    wrong = first_of(next.store->verify());
    require(wrong.empty(), "after a power cut: " + wrong);
    wrong = next.truth.compare(*next.store, keep, Truth::Seen::after_power_cut);
    require(wrong.empty(), "after a power cut: " + wrong);
}

/// With the same id it is stored once, whatever became of the first try.
void Sweep::submit_again(Bench& bench, const std::vector<outbox::Submission>& under_way) {
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
            bench.truth.acknowledged();
        }
    }
}

}  // namespace agentsight::test
