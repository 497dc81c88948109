#include "progress_bar.hpp"

#include <algorithm>

#include "text.hpp"

namespace agentsight::tool {
namespace {

constexpr std::chrono::milliseconds redraw_every{100};
constexpr std::uint64_t width = 20;

std::string bar(std::uint64_t done, std::uint64_t total) {
    std::string text;
    // Divided first where the product could not be held.
    const std::uint64_t filled =
        total > (std::uint64_t{1} << 56) ? done / (total / width) : done * width / total;
    for (std::uint64_t i = 0; i < width; ++i) {
        text += i < filled ? "█" : "░";
    }
    return text;
}

}  // namespace

std::string progress_text(const ProgressState& state, std::string_view noun) {
    const std::uint64_t done = std::min(state.done, state.total);
    const double seconds = static_cast<double>(state.elapsed.count()) / 1000;
    const double part = state.total == 0 ? 0 : static_cast<double>(done) / state.total;
    std::string text;
    if (state.total > 0) {
        text =
            bar(done, state.total) + "  " + std::to_string(static_cast<int>(part * 100)) + " %  ";
    }
    text += counted(state.items, noun);
    constexpr double soonest = 0.5;  // before that a rate would be a guess
    if (seconds >= soonest && state.items > 0) {
        text += "  " + std::to_string(static_cast<std::uint64_t>(state.items / seconds)) + "/s";
        if (part > 0 && part < 1) {
            const auto left = static_cast<std::uint64_t>(seconds * (1 - part) / part + 0.5);
            text += "  " + std::to_string(left) + " s left";
        }
    }
    return text;
}

void ProgressBar::show(std::uint64_t items, std::uint64_t done) {
    if (!line_.is_shown()) {
        return;
    }
    const Clock::time_point now = Clock::now();
    if (now < next_) {
        return;
    }
    next_ = now + redraw_every;
    const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(now - start_);
    line_.show(progress_text({items, done, total_, elapsed}, noun_));
}

}  // namespace agentsight::tool
