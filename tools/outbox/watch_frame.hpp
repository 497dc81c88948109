#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "agentsight/status.hpp"

namespace agentsight::tool {

/// What `watch` remembers of a run, for rates and the plot. Bounded.
class WatchHistory {
  public:
    using Milliseconds = std::chrono::milliseconds;

    /// `at` is on a clock that never jumps.
    void add(Milliseconds at, const Status& status);

    /// Records a second over the last ten seconds.
    double rate_in() const;
    double rate_out() const;
    /// Records neither delivered nor given up, newest last; at most `most`.
    std::vector<std::uint64_t> depths(std::size_t most) const;

  private:
    struct Point {
        Milliseconds at;
        std::uint64_t accepted;
        std::uint64_t delivered;
        std::uint64_t depth;
    };
    double rate(std::uint64_t Point::*count) const;

    std::deque<Point> points_;
};

/// Records that failed in the same words.
struct WatchError {
    UtcMilliseconds at = 0;  ///< the newest of those looked at
    std::string words;       ///< "422 {...}"; foreign text, not yet inert
    std::uint64_t records = 0;
    std::string id;        ///< the newest of them
    bool is_more = false;  ///< others may have failed so too that were not looked at
};

struct WatchLook {
    UtcMilliseconds now = 0;
    Status status;
    std::vector<WatchError> errors;  ///< newest first
    std::string trouble;             ///< why it could not be looked at; then the rest is old
};

struct WatchSize {
    std::size_t columns = 80;
    std::size_t rows = 24;
    std::chrono::milliseconds every{1'000};  ///< a column of the plot
};

/// One screen: at most `rows` lines of at most `columns` code points each.
std::vector<std::string> watch_frame(const WatchLook& look, const WatchHistory& history,
                                     const WatchSize& size);

/// The same as one line, for a pipe.
std::string watch_line(const WatchLook& look, const WatchHistory& history);

/// Columns of eighth blocks, newest right, scaled to the largest; `rows` lines from the top.
std::vector<std::string> block_plot(const std::vector<std::uint64_t>& values, std::size_t columns,
                                    std::size_t rows);

}  // namespace agentsight::tool
