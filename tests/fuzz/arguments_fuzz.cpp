#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "need.hpp"
#include "outbox/command_line.hpp"

/// The tool's arguments, one a line, to its exit code. The outbox is where none can be, so that
/// each verb ends where it would open it: what it makes of its flags has been done by then.
namespace {

using agentsight::test::need;

/// What is printed meanwhile; C's streams and C++'s.
class Captured {
  public:
    Captured()
        : out_(stdout),
          error_(stderr),
          cout_(std::cout.rdbuf(nothing_.rdbuf())),
          cerr_(std::cerr.rdbuf(nothing_.rdbuf())) {
        stdout = stderr = ::open_memstream(&text_, &size_);
    }
    ~Captured() {
        give_back();
        std::free(text_);
    }
    Captured(const Captured&) = delete;
    Captured& operator=(const Captured&) = delete;

    std::string text() {
        give_back();
        return {text_, size_};
    }

  private:
    void give_back() {
        if (stdout != out_) {
            std::fclose(stdout);
            stdout = out_;
            stderr = error_;
            std::cout.rdbuf(cout_);
            std::cerr.rdbuf(cerr_);
        }
    }

    std::ostringstream nothing_;
    std::FILE* out_;
    std::FILE* error_;
    std::streambuf* cout_;
    std::streambuf* cerr_;
    char* text_ = nullptr;
    std::size_t size_ = 0;
};

/// Another outbox, or a file of any kind, is nobody's business here.
bool is_harmless(const std::string& argument) {
    return argument.find('/') == std::string::npos && !argument.starts_with("--outbox") &&
           argument != "." && argument != "..";
}

std::vector<std::string> arguments_of(std::string_view text) {
    std::vector<std::string> arguments{"agentsight-outbox"};
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string argument{text.substr(0, std::min(text.find('\0'), end))};
        if (is_harmless(argument)) {
            arguments.push_back(std::move(argument));
        }
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return arguments;
}

/// As a terminal would take them.
bool has_control_characters(const std::string& text) {
    return std::any_of(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) < ' ' && c != '\n') || c == '\x7f';
    });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ::setenv("AGENTSIGHT_OUTBOX", "/proc/no-such-folder/feedback.db", 1);
    for (const char* name : {"AGENTSIGHT_API_KEY", "AGENTSIGHT_JWT", "AGENTSIGHT_API_ENDPOINT"}) {
        ::unsetenv(name);
    }
    std::vector<std::string> arguments = arguments_of({reinterpret_cast<const char*>(data), size});
    std::vector<char*> pointers;
    for (std::string& argument : arguments) {
        pointers.push_back(argument.data());
    }
    pointers.push_back(nullptr);

    Captured captured;
    const auto code = static_cast<int>(
        agentsight::tool::run_command_line(static_cast<int>(arguments.size()), pointers.data()));
    const std::string said = captured.text();
    need(code >= 0 && code <= 5, "an exit code of the contract");
    need(code == 0 || !said.empty(), "a failure says why");
    need(code == 0 || said.find('\n') == said.size() - 1, "in one line");
    need(!has_control_characters(said), "no argument reaches the terminal raw");
    return 0;
}
