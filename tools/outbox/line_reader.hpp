#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <istream>
#include <string>
#include <string_view>

namespace agentsight::tool {

/// Lines of a stream of any size, in bounded memory.
class LineReader {
  public:
    /// A line longer than `most` bytes is read past and cut there.
    LineReader(std::istream& input, std::size_t most) : input_(input), most_(most) {}

    /// False at the end, or where reading failed, or where `is_over` says so in the middle of a
    /// line, which may have no end.
    bool next(std::string& line, const std::function<bool()>& is_over = nullptr) {
        line.clear();
        is_too_long_ = false;
        bool any = false;
        while (input_.good()) {
            input_.getline(piece_.data(), static_cast<std::streamsize>(piece_.size()));
            const auto read = static_cast<std::size_t>(input_.gcount());
            bytes_ += read;
            any = any || read > 0;
            const bool ends = input_.good();  // with a line feed, which is counted and not stored
            take({piece_.data(), ends ? read - 1 : read}, line);
            if (ends) {
                break;
            }
            if (is_over && is_over()) {
                return false;
            }
            if (!input_.eof() && !input_.bad()) {
                input_.clear();  // only the piece is full
            }
        }
        number_ += any ? 1 : 0;
        return any;
    }

    bool is_too_long() const { return is_too_long_; }
    std::uint64_t number() const { return number_; }
    std::uint64_t bytes() const { return bytes_; }

  private:
    void take(std::string_view piece, std::string& line) {
        const std::size_t room = most_ - line.size();
        is_too_long_ = is_too_long_ || piece.size() > room;
        line.append(piece.substr(0, room));
    }

    std::istream& input_;
    std::array<char, 16 * 1024> piece_{};
    const std::size_t most_;
    bool is_too_long_ = false;
    std::uint64_t number_ = 0;
    std::uint64_t bytes_ = 0;
};

}  // namespace agentsight::tool
