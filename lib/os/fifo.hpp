#pragma once

#include <filesystem>

#include "os/descriptor.hpp"

/// Shared by the sources of this folder only.
namespace agentsight::os {

/// Opens the FIFO at `path`, O_NONBLOCK, made 0600 where missing. Not valid where it cannot
/// be had, or where something else stands there, which is never opened.
Descriptor open_or_make_fifo(const std::filesystem::path& path, int flags) noexcept;

}  // namespace agentsight::os
