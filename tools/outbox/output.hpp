#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace agentsight::tool {

/// Members stay in the order in which they are added: people read this too.
using Json = nlohmann::ordered_json;

enum class Stream { in = 0, out = 1, error = 2 };

/// Whether the stream is a terminal. Standard C++ only: a character device that is not the
/// null device; where there is no /dev/fd, no.
bool is_terminal(Stream stream);

/// Whether the terminal knows colours and can be drawn on in place: TERM is set, and not "dumb".
bool terminal_can_draw();

enum class Style { plain, bold, good, warning, bad };

/// `text` in a colour, where standard output is a terminal that has colours and NO_COLOR is
/// not set (https://no-color.org); else as it is.
std::string styled(std::string_view text, Style style);

/// Writes to standard output. Throws std::runtime_error where it cannot be written.
void print(std::string_view text);
void print_line(std::string_view text);
/// One JSON value as one line, inert on a terminal.
void print_json(const Json& value);
/// Everything written has left the program; throws std::runtime_error.
void flush_output();

/// One line on standard error, prefixed by the program's name, made inert.
void complain(std::string_view message);

/// A line redrawn in place on standard error; nothing where that is no terminal. Erased when
/// it ends.
class Progress {
  public:
    Progress();
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    bool is_shown() const { return shown_; }
    void show(std::string_view line);
    void erase();

  private:
    bool shown_;
    bool drawn_ = false;
};

/// Asks on a terminal; anything but y or yes, in any case, is no.
bool confirmed(std::string_view question);

}  // namespace agentsight::tool
