#pragma once

namespace agentsight::os {

/// A program the application starts does not inherit this descriptor (FD_CLOEXEC); for
/// those that another library opened.
void close_on_exec(int descriptor) noexcept;

}  // namespace agentsight::os
