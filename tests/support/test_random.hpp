#pragma once

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>

#include "core/random.hpp"

namespace agentsight::test {

/// splitmix64: the same numbers for the same seed, on every machine. One thread.
class TestRandom final : public core::Random {
  public:
    explicit TestRandom(std::uint64_t seed = 1) : seed_{seed}, state_{seed} {}

    std::uint64_t next() override {
        state_ += 0x9E3779B97F4A7C15ULL;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
        return z ^ (z >> 31);
    }

    /// Print it where a property fails: `CAPTURE(random.seed())`.
    std::uint64_t seed() const { return seed_; }

    /// True once in `n` draws, on average.
    bool one_in(std::uint64_t n) { return below(n) == 0; }

  private:
    std::uint64_t seed_;
    std::uint64_t state_;
};

/// $TEST_SEED to replay a failure, else a new one every run.
inline std::uint64_t test_seed() {
    if (const char* text = std::getenv("TEST_SEED"); text != nullptr) {
        std::uint64_t seed = 0;
        std::from_chars(text, text + std::strlen(text), seed);
        return seed;
    }
    std::random_device device;
    return (std::uint64_t{device()} << 32) | device();
}

}  // namespace agentsight::test
