#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
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
};
const std::vector<Scenario>& scenarios();

struct SweepTally {
    std::uint64_t faults = 0;  ///< met by the call
    std::uint64_t errors = 0;  ///< of those, answered with an error; the others were survived
};

/// The n-th call of the VFS, or the n-th allocation, fails in every scenario: an error or a
/// success, and never a crash, a leak or a half-done record. Throws Finding.
class Sweep {
  public:
    explicit Sweep(std::filesystem::path folder);

    /// One scenario with every `step`-th n from `first` on.
    SweepTally run(const Scenario& scenario, Source source, bool for_ever, std::uint64_t first,
                   std::uint64_t step);
    /// The one case that failed.
    bool run_one(const Scenario& scenario, Source source, Fault fault);

    /// What is being run, for who has to report a crash.
    static const char* current();

  private:
    const Ground& ground_of(const Scenario& scenario) const;
    void judge(Bench& bench, const Scenario& scenario);

    std::filesystem::path folder_;
    Ground nothing_;
    Ground closed_;
    Ground killed_;
    std::uint64_t errors_ = 0;
};

}  // namespace agentsight::test
