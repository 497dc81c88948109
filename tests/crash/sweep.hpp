#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "bench.hpp"

namespace agentsight::test {

/// What can be made to fail.
enum class Source { calls, sqlite_memory, memory };
std::string_view name_of(Source source);

/// One public call, as the sweep runs it again and again.
struct Scenario {
    const char* name;
    bool opens = true;  ///< the store is open before; else the call opens it
    bool drains = false;
    bool after_kill = false;  ///< begins with the log of a killed process
    bool fresh = false;       ///< begins with nothing
    /// What the call may do, told to the truth. Not under the fault.
    std::function<void(Bench&)> prepare = [](Bench&) {};
    /// Under the fault: the call. Throws, or returns an error in a result: then it returns
    /// false. Tells the truth nothing.
    std::function<bool(Bench&)> call;
    /// After a success: what it did.
    std::function<void(Bench&)> tell = [](Bench&) {};
    /// After an error: what was acknowledged all the same, of several.
    std::function<void(Bench&)> tell_parts = [](Bench&) {};
    bool by_default_vfs = false;  ///< the call opens the file itself, by SQLite's default VFS
    bool has_worker = false;      ///< a worker changes records meanwhile: only `tell` acknowledges
};
const std::vector<Scenario>& scenarios();
/// A batch of three threads' jobs of which two are put off.
Scenario putting_off();
Scenario purging();
/// Of a sound file: all that may have been sent is unknown afterwards.
Scenario salvaging();
/// Of the public classes, Outbox and ConversationManager.
std::vector<Scenario> facade_scenarios();

/// Where a sweep stands, in memory shared with the process that watches it: when a case crashes,
/// the watcher knows which, and goes on behind it.
struct SweepPosition {
    std::uint64_t nth = 0;   ///< 0: not begun
    std::uint64_t step = 1;  ///< from one to the next
    bool done = false;
    std::uint64_t faults = 0;    ///< met by the call
    std::uint64_t errors = 0;    ///< of those, answered with an error; the others were survived
    std::uint64_t findings = 0;  ///< printed
    std::array<char, 256> running{};
};

/// The n-th call of the VFS, or the n-th allocation, fails in every scenario: an error or a
/// success, and never a crash, a leak or a half-done record.
class Sweep {
  public:
    Sweep(std::filesystem::path folder, SweepPosition& position);

    /// How often the scenario's call makes what can fail.
    std::uint64_t count(const Scenario& scenario, Source source);
    /// One scenario with every n from where the position stands, by its step.
    void run(const Scenario& scenario, Source source, bool for_ever);
    /// One case. Throws Finding.
    bool run_one(const Scenario& scenario, Source source, Fault fault);

  private:
    const Ground& ground_of(const Scenario& scenario) const;
    void begin_draining(Bench& bench);
    /// Whether the call succeeded.
    bool call(Bench& bench, const Scenario& scenario, Source source, Fault fault, bool& met);
    void judge(Bench& bench, const Scenario& scenario);
    void submit_again(Bench& bench, const std::vector<outbox::Submission>& under_way);
    void require(bool holds, const std::string& what) const;

    std::filesystem::path folder_;
    SweepPosition& position_;
    std::uint64_t calls_ = 0;  ///< of the last case, until it was disarmed
    unsigned variants_ = 1;    ///< in how many ways its call could have failed
    Ground nothing_;
    Ground closed_;
    Ground killed_;
};

}  // namespace agentsight::test
