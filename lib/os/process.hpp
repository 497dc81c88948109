#pragma once

#include <cstdint>
#include <optional>

namespace agentsight::os {

std::int64_t process_id() noexcept;

/// Counts fork(2): a handle that remembers another number stands in a child (pthread_atfork).
std::uint64_t fork_generation() noexcept;

/// Whether the process is stopped (SIGSTOP, a debugger); none where it does not exist or
/// cannot be asked.
std::optional<bool> is_stopped(std::int64_t pid) noexcept;

/// Blocks every signal on the calling thread, so that the application's handlers never run
/// on the worker; but for the thread's own faults (SIGSEGV and the like), which the
/// application's crash handler must see.
void block_all_signals() noexcept;

void yield_processor() noexcept;

}  // namespace agentsight::os
