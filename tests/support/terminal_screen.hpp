#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace agentsight::test {

/// What a person would see: a terminal's screen, as far as these tests write to it. A byte
/// sequence that it does not know makes it throw, so that none goes unseen.
class TerminalScreen {
  public:
    TerminalScreen(std::size_t columns, std::size_t rows)
        : columns_(columns), main_(rows, Line(columns, " ")), screen_(main_) {}

    /// May be cut anywhere: what is not whole yet waits for the rest.
    void write(std::string_view bytes) {
        pending_ += bytes;
        std::size_t at = 0;
        while (at < pending_.size()) {
            const std::size_t size = take(std::string_view(pending_).substr(at));
            if (size == 0) {
                break;
            }
            at += size;
        }
        pending_.erase(0, at);
    }

    /// The lines, without blanks at their ends, up to the last that is not empty.
    std::string text() const {
        std::string text;
        std::size_t last = 0;
        std::vector<std::string> lines;
        for (const Line& line : screen_) {
            std::string one;
            for (const std::string& cell : line) {
                one += cell;
            }
            one.erase(one.find_last_not_of(' ') + 1);
            lines.push_back(one);
            last = one.empty() ? last : lines.size();
        }
        for (std::size_t i = 0; i < last; ++i) {
            text += lines[i] + "\n";
        }
        return text;
    }

    bool shows(std::string_view words) const { return text().find(words) != std::string::npos; }
    bool has_cursor() const { return has_cursor_; }
    bool is_alternate() const { return is_alternate_; }
    bool wraps() const { return wraps_; }

  private:
    using Line = std::vector<std::string>;

    /// How many bytes one step takes; 0: more must come first.
    std::size_t take(std::string_view bytes) {
        const auto first = static_cast<unsigned char>(bytes.front());
        if (first == 0x1b) {
            return take_escape(bytes);
        }
        if (first == '\r') {
            column_ = 0;
        } else if (first == '\n') {
            next_line();
        } else if (first < 0x20 || first == 0x7f) {
            throw std::runtime_error("a control character reached the terminal");
        } else {
            return put(bytes);
        }
        return 1;
    }

    std::size_t put(std::string_view bytes) {
        const auto first = static_cast<unsigned char>(bytes.front());
        const std::size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        if (bytes.size() < size) {
            return 0;
        }
        if (column_ == columns_ && wraps_) {
            column_ = 0;
            next_line();
        }
        screen_[row_][std::min(column_, columns_ - 1)] = std::string(bytes.substr(0, size));
        column_ = std::min(column_ + 1, columns_);
        return size;
    }

    void next_line() {
        if (row_ + 1 < screen_.size()) {
            ++row_;
            return;
        }
        screen_.erase(screen_.begin());
        screen_.emplace_back(columns_, " ");
    }

    std::size_t take_escape(std::string_view bytes) {
        const std::size_t end = bytes.find_first_not_of("0123456789;?", 2);
        if (bytes.size() < 2 || end == bytes.npos) {
            return 0;
        }
        const std::string_view parameters = bytes.substr(2, end - 2);
        const char last = bytes[end];
        if (bytes[1] != '[' || !obey(last, parameters)) {
            throw std::runtime_error("an escape sequence unknown to this test: " +
                                     std::string(bytes.substr(1, end)));
        }
        return end + 1;
    }

    bool obey(char last, std::string_view parameters) {
        if (last == 'm') {
            return true;  // colours are no text
        }
        if (last == 'H' && parameters.empty()) {
            row_ = column_ = 0;
            return true;
        }
        if (last == 'K' && parameters.empty()) {
            for (std::size_t i = column_; i < columns_; ++i) {
                screen_[row_][i] = " ";
            }
            return true;
        }
        if (last == 'J') {
            clear(parameters == "2" ? 0 : row_ + 1);
            return parameters.empty() ? obey('K', {}) : parameters == "2";
        }
        return (last == 'h' || last == 'l') && set_mode(parameters, last == 'h');
    }

    void clear(std::size_t from) {
        for (std::size_t row = from; row < screen_.size(); ++row) {
            screen_[row].assign(columns_, " ");
        }
    }

    bool set_mode(std::string_view mode, bool on) {
        if (mode == "?25") {
            has_cursor_ = on;
        } else if (mode == "?7") {
            wraps_ = on;
        } else if (mode == "?1049") {
            if (on != is_alternate_) {
                std::swap(screen_, main_);
                row_ = column_ = 0;
                is_alternate_ = on;
            }
            if (on) {
                clear(0);
            }
        } else {
            return false;
        }
        return true;
    }

    std::size_t columns_;
    std::vector<Line> main_;  ///< while the alternate screen shows: the other one
    std::vector<Line> screen_;
    std::size_t row_ = 0;
    std::size_t column_ = 0;
    bool has_cursor_ = true;
    bool is_alternate_ = false;
    bool wraps_ = true;
    std::string pending_;
};

}  // namespace agentsight::test
