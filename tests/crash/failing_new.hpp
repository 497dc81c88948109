#pragma once

#include <cstdint>

#include "failing_vfs.hpp"

namespace agentsight::test {

/// The program's own allocator (operator new), whose n-th allocation on this thread fails.
class FailingNew {
  public:
    static void arm(Fault fault);
    static void disarm();
    static std::uint64_t calls();
    static bool has_failed();
};

}  // namespace agentsight::test
