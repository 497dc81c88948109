#pragma once

#include <functional>

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

/// Closes what a child must not inherit open, before each fork(2) of any thread, on that thread and
/// while nobody is inside a NoFork; who needs it next opens it again. SQLite remembers the files it
/// has open by their inode: a child that opened one of them again would take the locks for held
/// that are its parent's, and lose the file to the next process once its parent ends.
class BeforeFork {
  public:
    explicit BeforeFork(std::function<void()> close);
    ~BeforeFork();
    BeforeFork(const BeforeFork&) = delete;
    BeforeFork& operator=(const BeforeFork&) = delete;

  private:
    friend void begin_fork() noexcept;
    std::function<void()> close_;  ///< throws nothing
};

/// What the fork's handlers call, before the descriptors' own lock and after it.
void begin_fork() noexcept;
void end_fork_in_parent() noexcept;
void end_fork_in_child() noexcept;

}  // namespace agentsight::os
