#pragma once

#include <cstdint>

namespace agentsight::test {

/// The program's own allocator (operator new), which fails on chosen threads.
class FailingMemory {
  public:
    /// Whether the calling thread's allocations count.
    static void here(bool counts) noexcept;
    /// Of all that count from now on, those from the `from`-th on fail, up to the `to`-th.
    static void arm(std::uint64_t from, std::uint64_t to) noexcept;
    /// The places in the code that allocate on this thread until learn(false) never fail.
    static void learn(bool learns) noexcept;
    /// How many counted.
    static std::uint64_t disarm() noexcept;
};

}  // namespace agentsight::test
