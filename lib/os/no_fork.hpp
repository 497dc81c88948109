#pragma once

namespace agentsight::os {

/// While one lives, a fork(2) of any thread waits: for what must not be copied half done. SQLite
/// keeps locks and mutexes of the process; a child that got one in somebody's hands would wait for
/// it for ever. Not two of one thread at a time, and no function of the application's while one
/// lives: it might fork.
class NoFork {
  public:
    NoFork() noexcept;
    ~NoFork();
    NoFork(const NoFork&) = delete;
    NoFork& operator=(const NoFork&) = delete;
};

/// What the fork's handlers call, before the descriptors' own lock and after it.
void begin_fork() noexcept;
void end_fork_in_parent() noexcept;
void end_fork_in_child() noexcept;

}  // namespace agentsight::os
