#pragma once

#include <cstdint>

namespace agentsight::core {

/// The seam between the library and chance; production has os::SystemRandom
/// (getrandom), the simulator a seeded generator. Not for keys.
class Random {
  public:
    virtual ~Random() = default;
    virtual std::uint64_t next() = 0;

    /// Uniform in [0, bound); 0 for bound 0. Multiply-shift; bias below 2^-32 for bounds below
    /// 2^32.
    std::uint64_t below(std::uint64_t bound) {
        __extension__ using Wide = unsigned __int128;
        return static_cast<std::uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
    }
};

}  // namespace agentsight::core
