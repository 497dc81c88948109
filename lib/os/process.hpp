#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace agentsight::os {

std::int64_t process_id() noexcept;

/// Counts fork(2): a handle that remembers another number stands in a child (pthread_atfork).
std::uint64_t fork_generation() noexcept;

/// Whether the process is stopped (SIGSTOP, a debugger); none where it does not exist or
/// cannot be asked.
std::optional<bool> is_stopped(std::int64_t pid) noexcept;

/// While it lives every signal is blocked on the calling thread, and for ever on the threads
/// it starts meanwhile, from their first instruction on: the application's handlers never run
/// on them. But for a thread's own faults (SIGSEGV and the like), which the application's
/// crash handler must see.
class SignalsBlocked {
  public:
    SignalsBlocked() noexcept;
    ~SignalsBlocked();
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    std::array<unsigned char, 128> before_;  ///< the platform's own mask
};

void yield_processor() noexcept;

}  // namespace agentsight::os
