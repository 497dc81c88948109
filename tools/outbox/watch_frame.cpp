#include "watch_frame.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "hold_words.hpp"
#include "output.hpp"
#include "text.hpp"
#include "times.hpp"

namespace agentsight::tool {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t most_points = 1024;
constexpr milliseconds rate_window{10'000};

std::string rate_text(double rate) {
    std::array<char, 32> buffer{};
    std::snprintf(buffer.data(), buffer.size(), rate < 100 ? "%.1f/s" : "%.0f/s", rate);
    return buffer.data();
}

std::string seconds_text(UtcMilliseconds time) {
    return iso8601(time).substr(0, 19) + "Z";
}

std::string since_text(const std::optional<UtcMilliseconds>& time, UtcMilliseconds now,
                       const char* none) {
    return time ? seconds_text(*time) + " (" + ago(*time, now) + ")" : none;
}

std::string drainer_text(const Status& status) {
    return !status.drainer ? "none"
           : status.drainer->stopped
               ? "process " + std::to_string(status.drainer->pid) + ", stopped"
               : "process " + std::to_string(status.drainer->pid);
}

/// Broken at blanks into lines of that width, those behind the first indented: what is to be done,
/// or what a server said, must not be cut off. A word longer than a line is.
std::vector<std::string> wrapped(std::string text, std::size_t columns) {
    const auto fits = [&](const std::string& part) { return shortened(part, columns) == part; };
    std::vector<std::string> lines;
    while (!fits(text)) {
        std::size_t end = text.npos;
        for (std::size_t at = text.find_first_not_of(' ');
             (at = text.find(' ', at)) != text.npos && fits(text.substr(0, at)); ++at) {
            end = at;
        }
        if (end == text.npos) {
            break;
        }
        lines.push_back(text.substr(0, text.find_last_not_of(' ', end) + 1));
        const std::size_t rest = text.find_first_not_of(' ', end);
        text = rest == text.npos ? "" : "    " + text.substr(rest);
    }
    if (!text.empty()) {
        lines.push_back(text);
    }
    return lines;
}

/// Builds a screen line by line, each cut to the columns before it is coloured.
class Page {
  public:
    explicit Page(const WatchSize& size) : size_(size) {}

    void add(const std::string& text, Style style = Style::plain) {
        if (left() > 0) {
            lines_.push_back(styled(shortened(text, size_.columns), style));
        }
    }
    void add_wrapped(const std::string& text, Style style = Style::plain) {
        for (const std::string& line : wrapped(text, size_.columns)) {
            add(line, style);
        }
    }
    void gap() { add(""); }
    /// Rows, but for the last.
    std::size_t left() const { return size_.rows - std::min(size_.rows, lines_.size() + 1); }
    std::vector<std::string> with_last(const std::string& text) && {
        if (lines_.size() < size_.rows) {
            lines_.push_back(shortened(text, size_.columns));
        }
        return std::move(lines_);
    }

  private:
    const WatchSize size_;
    std::vector<std::string> lines_;
};

void add_verdict(Page& page, const WatchLook& look) {
    const std::uint64_t open = sendable_records(look.status);
    const auto left = left_words(look.status);
    if (!look.trouble.empty()) {
        page.add_wrapped("cannot look: " + inert(look.trouble), Style::bad);
        page.add("  what follows is what was seen last");
    } else if (const auto words = obstacle(look.status)) {
        const std::string wait =
            open == 0 ? "" : ": " + counted(open, "record") + (open == 1 ? " waits" : " wait");
        page.add_wrapped(inert(words->what) + wait, Style::bad);
        page.add_wrapped("  what to do: " + inert(words->advice));
    } else if (open > 0) {
        page.add(counted(open, "record") + (open == 1 ? " is" : " are") + " on the way",
                 Style::warning);
        page.gap();
    } else if (!left) {
        page.add("nothing waits", Style::good);
        page.gap();
    }
    if (left) {
        page.add_wrapped(left->what, Style::bad);
        page.add_wrapped("  what to do: " + left->advice);
    }
}

void add_counts(Page& page, const WatchLook& look, const WatchHistory& history) {
    const Status& status = look.status;
    const auto row = [&](const char* name, std::uint64_t count, const std::string& more) {
        page.add(padded(name, 11) + padded(std::to_string(count), 12) + more);
    };
    row("waiting", status.waiting, "in            " + rate_text(history.rate_in()));
    row("claimed", status.claimed, "out           " + rate_text(history.rate_out()));
    row("unknown", status.unknown,
        "oldest        " + since_text(status.oldest_submitted_at, look.now, "none waits"));
    row("dead", status.dead,
        "last success  " + since_text(status.last_delivered_at, look.now, "none yet"));
    row("delivered", status.delivered, "drainer       " + drainer_text(status));
    row("discarded", status.discarded + status.dropped,
        "size          " + human_bytes(status.bytes));
}

/// Whole where there is room for that many lines, else one line each: of several errors none hides
/// another.
std::vector<std::string> error_lines(const std::vector<WatchError>& errors, std::size_t columns,
                                     std::size_t most) {
    constexpr std::size_t most_errors = 5;
    std::vector<std::string> lines, cut;
    for (std::size_t i = 0; i < std::min(errors.size(), most_errors); ++i) {
        const std::string text = seconds_text(errors[i].at) + "  " + errors[i].id + "  " +
                                 std::to_string(errors[i].records) +
                                 (errors[i].is_more ? "+" : "") + " x  " + inert(errors[i].words);
        for (std::string& line : wrapped(text, columns)) {
            lines.push_back(std::move(line));
        }
        cut.push_back(text);
    }
    return lines.size() <= most ? lines : cut;
}

void add_errors(Page& page, const std::vector<std::string>& lines) {
    if (lines.empty() || page.left() < 3) {
        return;
    }
    page.gap();
    page.add("last errors", Style::bold);
    for (const std::string& line : lines) {
        page.add(line);
    }
}

void add_plot(Page& page, const WatchHistory& history, const WatchSize& size,
              std::size_t rows_for_errors) {
    constexpr std::size_t most_rows = 8;
    constexpr std::size_t scale = 9;  // "1000000 ┤"
    const std::size_t spare = page.left() > rows_for_errors ? page.left() - rows_for_errors : 0;
    if (spare < 4 || size.columns < scale + 10) {
        return;
    }
    const std::size_t rows = std::min(spare - 2, most_rows);
    const std::size_t columns = size.columns - scale;
    const std::vector<std::uint64_t> depths = history.depths(columns);
    const std::uint64_t top = depths.empty() ? 0 : *std::max_element(depths.begin(), depths.end());
    page.gap();
    page.add("not yet delivered, the last " + duration_text(size.every * static_cast<int>(columns)),
             Style::bold);
    const std::vector<std::string> plot = block_plot(depths, columns, rows);
    for (std::size_t i = 0; i < rows; ++i) {
        const std::string label = i == 0 ? std::to_string(top) : i + 1 == rows ? "0" : "";
        page.add(std::string(label.size() < 7 ? 7 - label.size() : 0, ' ') + label +
                 (label.empty() ? " │" : " ┤") + plot[i]);
    }
}

}  // namespace

void WatchHistory::add(Milliseconds at, const Status& status) {
    points_.push_back({at, status.accepted, status.delivered, open_records(status)});
    if (points_.size() > most_points) {
        points_.pop_front();
    }
}

double WatchHistory::rate(std::uint64_t Point::*count) const {
    if (points_.size() < 2) {
        return 0;
    }
    const Point& last = points_.back();
    // The newest that is old enough; else the oldest there is.
    auto first = points_.rbegin();
    while (std::next(first) != points_.rend() && last.at - first->at < rate_window) {
        ++first;
    }
    const auto ms = static_cast<double>((last.at - first->at).count());
    // A salvaged outbox may count from the beginning.
    const bool grew = last.*count >= (*first).*count;
    return ms > 0 && grew ? static_cast<double>(last.*count - (*first).*count) * 1000 / ms : 0;
}

double WatchHistory::rate_in() const {
    return rate(&Point::accepted);
}

double WatchHistory::rate_out() const {
    return rate(&Point::delivered);
}

std::vector<std::uint64_t> WatchHistory::depths(std::size_t most) const {
    std::vector<std::uint64_t> values;
    const std::size_t skipped = points_.size() > most ? points_.size() - most : 0;
    for (std::size_t i = skipped; i < points_.size(); ++i) {
        values.push_back(points_[i].depth);
    }
    return values;
}

std::vector<std::string> block_plot(const std::vector<std::uint64_t>& values, std::size_t columns,
                                    std::size_t rows) {
    constexpr std::array<const char*, 9> blocks{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    const std::uint64_t top =
        values.empty()
            ? 1
            : std::max<std::uint64_t>(1, *std::max_element(values.begin(), values.end()));
    std::vector<std::string> lines(rows);
    const std::size_t shown = std::min(values.size(), columns);
    for (std::string& line : lines) {
        line.assign(columns - shown, ' ');
    }
    for (std::size_t i = values.size() - shown; i < values.size(); ++i) {
        const double part = static_cast<double>(values[i]) / static_cast<double>(top);
        auto eighths = static_cast<std::size_t>(part * static_cast<double>(rows * 8) + 0.5);
        if (values[i] > 0) {
            eighths = std::max<std::size_t>(eighths, 1);  // one record can be seen
        }
        for (std::size_t row = 0; row < rows; ++row) {
            const std::size_t below = (rows - 1 - row) * 8;
            lines[row] += blocks[eighths <= below ? 0 : std::min<std::size_t>(eighths - below, 8)];
        }
    }
    return lines;
}

std::vector<std::string> watch_frame(const WatchLook& look, const WatchHistory& history,
                                     const WatchSize& size) {
    Page page(size);
    page.add(seconds_text(look.now) + "  " + inert(look.status.path.string()), Style::bold);
    page.gap();
    add_verdict(page, look);
    page.gap();
    add_counts(page, look, history);
    // The plot takes what the errors and the last line leave, on a small screen half of it.
    constexpr std::size_t around = 4;  // the errors' title, gaps and the last line
    const std::size_t half = std::max(page.left() / 2, around + 1);
    const std::vector<std::string> errors = error_lines(look.errors, size.columns, half - around);
    const std::size_t for_errors = errors.empty() ? 2 : errors.size() + around;
    add_plot(page, history, size, for_errors);
    add_errors(page, errors);
    page.gap();
    return std::move(page).with_last("q quits");
}

std::string watch_line(const WatchLook& look, const WatchHistory& history) {
    const Status& status = look.status;
    std::string line = seconds_text(look.now) + "  " + std::to_string(status.waiting) +
                       " waiting, " + std::to_string(status.claimed) + " claimed, " +
                       std::to_string(status.unknown) + " unknown, " + std::to_string(status.dead) +
                       " dead, " + std::to_string(status.delivered) + " delivered, in " +
                       rate_text(history.rate_in()) + ", out " + rate_text(history.rate_out());
    if (!look.trouble.empty()) {
        line += "; cannot look: " + inert(look.trouble);
    } else if (const auto words = obstacle(status)) {
        line += "; " + inert(words->what) + ": " + inert(words->advice);
    }
    if (const auto left = left_words(status)) {
        line += "; " + left->what + ": " + left->advice;
    }
    return line;
}

}  // namespace agentsight::tool
