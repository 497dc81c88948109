#pragma once

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

#include <unistd.h>

namespace agentsight::test {

/// `--name value` pairs of the long programs.
class CommandLine {
  public:
    CommandLine(int count, char** words) {
        for (int i = 1; i < count; i += 2) {
            const std::string name = words[i];
            if (name.size() < 3 || name.substr(0, 2) != "--" || i + 1 >= count) {
                throw std::invalid_argument("expected --name value, found " + name);
            }
            values_[name.substr(2)] = words[i + 1];
        }
    }

    std::uint64_t number(const std::string& name, std::uint64_t otherwise) const {
        const auto found = values_.find(name);
        if (found == values_.end()) {
            return otherwise;
        }
        const std::string& text = found->second;
        std::uint64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc{} || end != text.data() + text.size()) {
            throw std::invalid_argument("--" + name + " is a number, not " + text);
        }
        return value;
    }
    std::string text(const std::string& name, const std::string& otherwise) const {
        const auto found = values_.find(name);
        return found == values_.end() ? otherwise : found->second;
    }

  private:
    std::map<std::string, std::string> values_;
};

/// Puts temporary folders into memory where $TMPDIR does not say otherwise: what the disk
/// would do is simulated, and its syncs only cost time.
inline void prefer_memory() {
    if (::access("/dev/shm", W_OK) == 0) {
        ::setenv("TMPDIR", "/dev/shm", 0);
    }
}

}  // namespace agentsight::test
