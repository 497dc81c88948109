#pragma once

#include <atomic>

namespace agentsight::os {

/// Something one thread waits on until others say that it has changed: std::atomic's wait() and
/// notify_one() without their spinning, which had every waiter yield the processor four times
/// before it slept. Any thread.
class Word {
  public:
    explicit Word(int value = 0) noexcept : value_{value} {}

    int load() const noexcept { return value_.load(std::memory_order_acquire); }
    /// Before anybody waits.
    void reset(int value) noexcept { value_.store(value, std::memory_order_relaxed); }
    /// Changes it, and wakes the one that waits. The word must outlive the call.
    void tell(int value) noexcept;
    /// Returns the first value other than `value`.
    int wait_while(int value) noexcept;

  private:
    std::atomic<int> value_;
};

}  // namespace agentsight::os
