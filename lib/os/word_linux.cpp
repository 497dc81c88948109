#include "os/word.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace agentsight::os {
namespace {

// futex(2) works on the 32 bits themselves.
static_assert(sizeof(std::atomic<int>) == 4 && std::atomic<int>::is_always_lock_free);

void futex(std::atomic<int>& word, int operation, int value) noexcept {
    ::syscall(SYS_futex, &word, operation, value, nullptr, nullptr, 0);
}

}  // namespace

void Word::tell(int value) noexcept {
    value_.store(value, std::memory_order_release);
    futex(value_, FUTEX_WAKE_PRIVATE, 1);
}

int Word::wait_while(int value) noexcept {
    int now = load();
    while (now == value) {
        futex(value_, FUTEX_WAIT_PRIVATE, value);  // returns at once where it has changed
        now = load();
    }
    return now;
}

}  // namespace agentsight::os
