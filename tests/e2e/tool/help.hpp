#pragma once

#include <string>
#include <vector>

#include "tool.hpp"

namespace agentsight::test {

struct Flag {
    std::string name;  ///< with its dashes
    bool takes_value;
};

/// As `--help` lists them.
std::vector<std::string> verbs(const Tool& tool);
std::vector<Flag> flags(const Tool& tool, const std::string& verb);

}  // namespace agentsight::test
