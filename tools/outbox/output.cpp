#include "output.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <stdexcept>

#include "credentials.hpp"
#include "terminal.hpp"
#include "text.hpp"

namespace agentsight::tool {

bool is_terminal(Stream stream) {
    const std::filesystem::path path = "/dev/fd/" + std::to_string(static_cast<int>(stream));
    std::error_code ec;
    if (!std::filesystem::is_character_file(path, ec)) {
        return false;
    }
    // Where the entry is a link (Linux), it names the device.
    const std::filesystem::path device = std::filesystem::read_symlink(path, ec);
    return device != "/dev/null" && device != "/dev/zero" && device != "/dev/full";
}

bool terminal_can_draw() {
    const std::string kind = environment("TERM");
    return !kind.empty() && kind != "dumb";
}

std::string styled(std::string_view text, Style style) {
    static const bool colours =
        is_terminal(Stream::out) && environment("NO_COLOR").empty() && terminal_can_draw();
    constexpr std::array<std::string_view, 5> begin{"", "\x1b[1m", "\x1b[32m", "\x1b[33m",
                                                    "\x1b[31m"};
    if (!colours || style == Style::plain) {
        return std::string(text);
    }
    std::string result(begin[static_cast<std::size_t>(style)]);
    result += text;
    result += "\x1b[0m";
    return result;
}

void print(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
        throw std::runtime_error("cannot write to standard output; is the disk full?");
    }
}

void print_line(std::string_view text) {
    print(text);
    print("\n");
}

void print_json(const Json& value) {
    print_line(inert_json(value.dump(-1, ' ', false, Json::error_handler_t::replace)));
}

void flush_output() {
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
        throw std::runtime_error("cannot write to standard output; is the disk full?");
    }
}

void complain(std::string_view message) {
    const std::string line = "agentsight-outbox: " + inert(message) + "\n";
    std::fflush(stdout);
    std::fwrite(line.data(), 1, line.size(), stderr);
}

Progress::Progress() : shown_(is_terminal(Stream::error) && terminal_can_draw()) {}

Progress::~Progress() {
    erase();
}

void Progress::show(std::string_view line) {
    if (!shown_) {
        return;
    }
    // A longer line would wrap, as one that fills the last column may, and could not be
    // redrawn in place.
    const std::size_t columns = error_columns();
    const std::string text = "\r\x1b[K" + shortened(inert(line), columns > 1 ? columns - 1 : 1);
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
    drawn_ = true;
}

void Progress::erase() {
    if (drawn_) {
        std::fputs("\r\x1b[K", stderr);
        std::fflush(stderr);
        drawn_ = false;
    }
}

bool confirmed(std::string_view question) {
    const std::string text = inert(question) + " [y/N] ";
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
    // Bounded: what is asked here is no place for a flood.
    std::array<char, 16> answer{};
    if (std::fgets(answer.data(), answer.size(), stdin) == nullptr) {
        return false;
    }
    std::string word = answer.data();
    const auto is_blank = [](unsigned char c) { return std::isspace(c) != 0; };
    word.erase(word.begin(), std::find_if_not(word.begin(), word.end(), is_blank));
    word.erase(std::find_if_not(word.rbegin(), word.rend(), is_blank).base(), word.end());
    std::transform(word.begin(), word.end(), word.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return word == "y" || word == "yes";
}

}  // namespace agentsight::tool
