#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "shim_vfs.hpp"

namespace agentsight::test {

/// How the n-th call fails: once, or it and all that follow.
struct Fault {
    std::uint64_t nth = 0;  ///< from 1; 0: none
    bool for_ever = false;
    unsigned variant = 0;  ///< which of the codes that this call can fail with
};

/// The codes a VFS may answer this call with; empty where SQLite believes it cannot fail.
std::span<const int> failures_of(Call call);

/// Counts the calls that can fail, and fails those that a fault names. For
/// CrashDisk::fault. One thread.
class FailingCalls {
  public:
    void arm(Fault fault);
    /// Stops counting and failing.
    void disarm() { armed_ = false; }
    std::uint64_t calls() const { return calls_; }
    bool has_failed() const { return failed_; }
    Call failed_call() const { return failed_call_; }

    int operator()(const Operation& operation);

  private:
    Fault fault_;
    bool armed_ = false;
    bool failed_ = false;
    Call failed_call_ = Call::open;
    std::uint64_t calls_ = 0;
};

/// SQLite's allocator, whose n-th allocation fails. One for the process.
class FailingMemory {
  public:
    /// Before SQLite's first use in the process. Also switches off what would serve small
    /// allocations without asking.
    static void install();
    static void arm(Fault fault);
    static void disarm();
    static std::uint64_t calls();
    static bool has_failed();
};

}  // namespace agentsight::test
