#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace agentsight::core {

/// The seam between the library and chance; production has os::SystemRandom
/// (getrandom), the simulator a seeded generator. Not for keys.
class Random {
  public:
    virtual ~Random() = default;
    virtual std::uint64_t next() = 0;
    /// As many next() give.
    virtual void fill(std::span<std::uint64_t> words) {
        for (std::uint64_t& word : words) {
            word = next();
        }
    }

    /// Uniform in [0, bound); 0 for bound 0. Multiply-shift; bias below 2^-32 for bounds below
    /// 2^32.
    std::uint64_t below(std::uint64_t bound) {
        __extension__ using Wide = unsigned __int128;
        return static_cast<std::uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
    }
};

/// Draws many at a time, for work that needs many at once; not to be kept, as a copy of this
/// process would draw the same.
class DrawnAhead final : public Random {
  public:
    explicit DrawnAhead(Random& source) : source_(source) {}

    std::uint64_t next() override {
        if (used_ == words_.size()) {
            source_.fill(words_);
            used_ = 0;
        }
        return words_[used_++];
    }

  private:
    Random& source_;
    std::array<std::uint64_t, 32> words_{};
    std::size_t used_ = words_.size();
};

}  // namespace agentsight::core
