#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "agentsight/agentsight.hpp"
#include "sandbox/server.hpp"
#include "support/temporary_folder.hpp"

namespace agentsight::test {

/// How a run of a program ended and what it said.
struct Run {
    int code = -1;  ///< -1: ended by a signal, or took too long and was killed
    std::string out;
    std::string err;
};

using Environment = std::map<std::string, std::string>;

/// Runs a program to its end with an environment of just these variables. Takes at most a
/// minute: then it is killed.
Run run_program(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                const Environment& environment, const std::string& input = {});

/// Runs it on a terminal of 100 columns; `answer` is typed at once. Its output, both
/// streams, is `out`.
Run run_on_terminal(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                    const Environment& environment, const std::string& answer = {});

inline constexpr const char* write_key = "ags_0123456789abcdef0123456789abcdef_012345";

/// The tool on an outbox of this test's own, with no setting from outside.
class Tool {
  public:
    Tool() { environment = {{"HOME", folder.path().string()}, {"AGENTSIGHT_OUTBOX", path()}}; }

    std::string path() const { return (folder / "feedback.db").string(); }

    Run operator()(const std::vector<std::string>& arguments, const std::string& input = {}) const {
        return run_program(AGENTSIGHT_OUTBOX_TOOL, arguments, environment, input);
    }
    /// Runs what must succeed, with --json added; the JSON it prints.
    nlohmann::json json(std::vector<std::string> arguments) const;
    nlohmann::json status() const { return json({"status"}); }

    /// Submits what must be taken; the record's id.
    std::string submit(const std::string& conversation = "conv-1",
                       const std::string& comment = "good", const std::string& metadata = {}) const;
    /// Drains to this server with a key it takes.
    Run drain(const sandbox::Server& server, std::vector<std::string> more = {}) const;

    TemporaryFolder folder;
    Environment environment;
};

/// A failure is one line on standard error, with the program's name, and the wanted code.
void check_refused(const Run& run, int code, const std::string& words);

/// What every visitor of the file would see: to tell that nothing was changed.
std::string bytes_of(const std::filesystem::path& file);

}  // namespace agentsight::test
