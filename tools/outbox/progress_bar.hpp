#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "output.hpp"

namespace agentsight::tool {

/// How far something has come, at one moment.
struct ProgressState {
    std::uint64_t items = 0;  ///< "lines", "records"
    std::uint64_t done = 0;   ///< of `total`, in whatever unit measures the whole
    std::uint64_t total = 0;  ///< 0: not known, then there is no bar
    std::chrono::milliseconds elapsed{0};
};

/// "███████░░░░░░░░░░░░░  37 %  370000 lines  81000/s  8 s left".
std::string progress_text(const ProgressState& state, std::string_view noun);

/// Such a line on a terminal's standard error, redrawn at most ten times a second; nothing
/// where that is no terminal.
class ProgressBar {
  public:
    ProgressBar(std::string_view noun, std::uint64_t total)
        : noun_(noun), total_(total), start_(Clock::now()), next_(start_) {}

    bool is_shown() const { return line_.is_shown(); }
    void set_total(std::uint64_t total) { total_ = total; }
    void show(std::uint64_t items, std::uint64_t done);
    void erase() { line_.erase(); }

  private:
    using Clock = std::chrono::steady_clock;

    const std::string noun_;
    std::uint64_t total_;
    const Clock::time_point start_;
    Clock::time_point next_;
    Progress line_;
};

}  // namespace agentsight::tool
