#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace agentsight::tool {

/// The program's arguments as CLI11 takes them, last first. It takes `--comment=` for a flag whose
/// value comes next; in a script it is what is left of `--comment=$TEXT`, and an empty text.
inline std::vector<std::string> arguments_in_reverse(const CLI::App& app, int argc, char** argv) {
    std::set<std::string> take_values;
    const auto add = [&](const CLI::App& one) {
        for (const CLI::Option* option : one.get_options()) {
            for (const std::string& name : option->get_lnames()) {
                if (option->get_items_expected_max() > 0) {
                    take_values.insert("--" + name);
                }
            }
        }
    };
    add(app);
    for (const CLI::App* verb : app.get_subcommands(nullptr)) {
        add(*verb);
    }
    std::vector<std::string> arguments;
    bool are_flags = true;
    bool is_value = false;  // of the flag before
    for (int i = 1; i < argc; ++i) {
        std::string argument = argv[i];
        are_flags = are_flags && (is_value || argument != "--");
        const bool is_bare = argument.ends_with('=') &&
                             take_values.contains(argument.substr(0, argument.size() - 1));
        if (are_flags && !is_value && is_bare) {
            argument.pop_back();
            arguments.push_back(std::move(argument));
            arguments.emplace_back();
        } else {
            is_value = are_flags && !is_value && take_values.contains(argument);
            arguments.push_back(std::move(argument));
        }
    }
    std::reverse(arguments.begin(), arguments.end());
    return arguments;
}

}  // namespace agentsight::tool
