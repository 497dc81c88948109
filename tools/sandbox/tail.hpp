#pragma once

#include <string>

#include "sandbox/row.hpp"

namespace sandbox {

/// One line for people about a row that arrived; the comment masked unless revealed, no
/// control character let through to the terminal.
std::string tail_line(const Row& row, bool reveal);

}  // namespace sandbox
