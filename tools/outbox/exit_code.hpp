#pragma once

#include <stdexcept>
#include <string>
#include <system_error>

namespace agentsight::tool {

/// What the program answers to the shell; documented, and the same for every verb.
enum class ExitCode {
    done = 0,
    failed = 1,     ///< full, busy, read-only, newer schema, foreign file, refused state, ...
    usage = 2,      ///< a bad flag or value, validation included
    unsettled = 3,  ///< drain: not everything is settled
    nothing = 4,    ///< no such id, an empty result, or no such file
    damaged = 5,
};

/// Of several: done as far as possible, then the worst.
ExitCode worse(ExitCode one, ExitCode other) noexcept;

/// The one place where the library's codes become the program's.
ExitCode exit_code_for(const std::error_code& code) noexcept;

/// A bad flag or value found by the tool itself. The message names the flag and the rule.
class UsageError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

}  // namespace agentsight::tool
