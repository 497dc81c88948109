#pragma once

#include <cstdint>
#include <istream>
#include <string>

namespace agentsight::tool {

/// Lines of a stream of any size, in bounded memory.
class LineReader {
  public:
    /// A line longer than `most` bytes is read past and cut there.
    LineReader(std::istream& input, std::size_t most) : input_(input), most_(most) {}

    /// False at the end, or where reading failed.
    bool next(std::string& line) {
        line.clear();
        is_too_long_ = false;
        std::streambuf& buffer = *input_.rdbuf();
        constexpr int end = std::char_traits<char>::eof();
        int byte = end;
        bool any = false;
        while ((byte = buffer.sbumpc()) != end && byte != '\n') {
            any = true;
            ++bytes_;
            if (line.size() < most_) {
                line.push_back(static_cast<char>(byte));
            } else {
                is_too_long_ = true;
            }
        }
        if (byte == '\n') {
            ++bytes_;
        } else if (!any) {
            return false;
        }
        ++number_;
        return true;
    }

    bool is_too_long() const { return is_too_long_; }
    std::uint64_t number() const { return number_; }
    std::uint64_t bytes() const { return bytes_; }

  private:
    std::istream& input_;
    const std::size_t most_;
    bool is_too_long_ = false;
    std::uint64_t number_ = 0;
    std::uint64_t bytes_ = 0;
};

}  // namespace agentsight::tool
