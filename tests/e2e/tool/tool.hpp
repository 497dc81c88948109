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
#include "support/terminal_screen.hpp"

namespace agentsight::test {

/// How a run of a program ended and what it said.
struct Run {
    int code = -1;  ///< -1: ended by a signal, or took too long and was killed
    std::string out;
    std::string err;
    long peak_kb = 0;  ///< its resident memory
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

/// A program on a terminal that a test looks at and types on.
class TerminalSession {
  public:
    TerminalSession(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                    const Environment& environment, unsigned short columns = 100,
                    unsigned short rows = 40);
    ~TerminalSession();
    TerminalSession(const TerminalSession&) = delete;
    TerminalSession& operator=(const TerminalSession&) = delete;

    /// Reads until the screen shows the words; false once the program has ended without.
    bool until_shown(const std::string& words);
    /// Reads until the program has ended; its exit code, -1 where a signal ended it.
    int until_ended();
    void type(const std::string& keys);
    void send(int signal);
    void resize(unsigned short columns, unsigned short rows);
    /// Whether keys are echoed and lines edited, as a shell leaves a terminal.
    bool is_cooked() const;

    const TerminalScreen& screen() const { return screen_; }
    const std::string& output() const { return output_; }
    int pid() const { return pid_; }

  private:
    bool read_some();

    int terminal_ = -1;
    int keeper_ = -1;  ///< the program's end, held open so that its modes can be looked at
    int pid_ = -1;
    bool ended_ = false;
    TerminalScreen screen_;
    std::string output_;
};

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
