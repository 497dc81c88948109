#pragma once

#include <cstdint>
#include <filesystem>

/// Shared by the sources of this folder only.
namespace agentsight::os {

/// Throws std::system_error: "DOING PATH: REASON".
[[noreturn]] void fail(int error, const char* doing, const std::filesystem::path& path);

/// Gives a file just made by this process its mode, whatever the umask, and, where root made
/// it, its folder's owner: else a tool run by root would lock the application out.
void make_private(int descriptor, const std::filesystem::path& path, unsigned mode);

/// Whether statfs(2)'s f_type names a file system over a network or in a user process.
bool is_network_type(std::uint64_t type) noexcept;

}  // namespace agentsight::os
