#include "help.hpp"

#include <regex>
#include <sstream>

namespace agentsight::test {

std::vector<std::string> verbs(const Tool& tool) {
    std::istringstream help(tool({"--help"}).out);
    std::vector<std::string> names;
    bool inside = false;
    for (std::string line; std::getline(help, line);) {
        if (line.starts_with("Verbs:")) {
            inside = true;
        } else if (inside && line.empty()) {
            inside = false;
        } else if (inside && line.size() > 3 && line[2] != ' ') {
            names.push_back(line.substr(2, line.find(' ', 2) - 2));
        }
    }
    REQUIRE(names.size() >= 18);
    return names;
}

std::vector<Flag> flags(const Tool& tool, const std::string& verb) {
    std::istringstream help(tool({verb, "--help"}).out);
    std::vector<Flag> found;
    const std::regex flag("^  (-h,)?(--[a-z-]+)( [A-Z]+)?.*");
    for (std::string line; std::getline(help, line);) {
        std::smatch match;
        if (std::regex_match(line, match, flag)) {
            found.push_back({match.str(2), match[3].matched});
        }
    }
    REQUIRE(found.size() >= 3);
    return found;
}

}  // namespace agentsight::test
