#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/fault.hpp"

namespace sandbox {

/// What a fault's conditions look at.
struct Subject {
    std::string_view route;
    std::string_view method;
    std::string_view path;
    std::string_view comment;
    std::string_view conversation_id;
};

/// The faults that apply to one request, at most one of each group.
struct Plan {
    std::optional<Fault> latency, interim, outcome, stale, framing, headers, pace, after;
    std::int64_t throttled_for_s = 0;  ///< of a throttle outcome
    std::vector<std::uint64_t> ids;    ///< of all that apply
};

struct FaultState {
    std::uint64_t id = 0;
    Fault fault;
    std::int64_t seen = 0;  ///< matches
    std::int64_t hits = 0;  ///< matches that were harmed
    std::mt19937_64 random;
    std::chrono::steady_clock::time_point window_start;  ///< of a throttle
    std::int64_t in_window = 0;
};

/// The faults in force, in the order they were added. One thread at a time.
class FaultBook {
  public:
    std::uint64_t add(Fault fault);
    bool remove(std::uint64_t id);
    void clear();

    Plan plan(const Subject& subject);
    /// The fault for a connection just accepted.
    std::optional<Fault> plan_accept();

    const std::vector<FaultState>& faults() const { return faults_; }
    bool empty() const { return faults_.empty(); }

  private:
    std::vector<FaultState> faults_;
    std::uint64_t next_id_ = 1;
};

}  // namespace sandbox
