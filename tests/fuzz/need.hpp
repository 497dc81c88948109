#pragma once

#include <cstdio>
#include <cstdlib>

namespace agentsight::test {

/// What a fuzz target found broken ends it, for the fuzzer to keep the input.
inline void need(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "broken: %s\n", what);
        std::abort();
    }
}

}  // namespace agentsight::test
