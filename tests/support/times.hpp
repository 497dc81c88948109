#pragma once

#include <cstdlib>

namespace agentsight::test {

/// `count`, as many times as AGENTSIGHT_TEST_TIMES says: what CI does a bounded part of, by hand.
inline int times(int count) {
    const char* const wanted = std::getenv("AGENTSIGHT_TEST_TIMES");
    return count * (wanted != nullptr ? std::atoi(wanted) : 1);
}

}  // namespace agentsight::test
