#pragma once

#include "exit_code.hpp"

namespace agentsight::tool {

/// The whole program, from its arguments to its exit code. Throws nothing.
ExitCode run_command_line(int argc, char** argv);

}  // namespace agentsight::tool
