#include "os/no_fork.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include "os/process.hpp"

namespace agentsight::os {
namespace {

// How many are inside, and whether somebody forks: then nobody else comes in, or one commit after
// the other would put a fork off for ever. Not a pthread_rwlock_t: its owner is a thread's number,
// which the child's thread has not, so the child could only overwrite a lock that is held.
std::atomic<int> gate{0};
constexpr int forking = 1 << 30;

/// Locked across fork(2), so that no child finds it in the hands of a thread it has not.
struct Closers {
    std::mutex mutex;
    std::vector<BeforeFork*> all;
};
/// Never destroyed: static objects of the application may still own some at exit.
Closers& closers() {
    static Closers* const made = new Closers;
    return *made;
}

}  // namespace

NoFork::NoFork() noexcept {
    static_cast<void>(fork_generation());  // registers the handlers
    int now = gate.load(std::memory_order_relaxed);
    while (true) {
        if ((now & forking) != 0) {
            gate.wait(now);
            now = gate.load(std::memory_order_relaxed);
        } else if (gate.compare_exchange_weak(now, now + 1, std::memory_order_acquire,
                                              std::memory_order_relaxed)) {
            return;
        }
    }
}
NoFork::~NoFork() {
    if (gate.fetch_sub(1, std::memory_order_release) == forking + 1) {
        gate.notify_all();
    }
}

BeforeFork::BeforeFork(std::function<void()> close) : close_(std::move(close)) {
    static_cast<void>(fork_generation());
    const std::lock_guard lock{closers().mutex};
    closers().all.push_back(this);
}
BeforeFork::~BeforeFork() {
    const std::lock_guard lock{closers().mutex};
    std::erase(closers().all, this);
}

void begin_fork() noexcept {
    int now = gate.fetch_or(forking, std::memory_order_acquire);
    while ((now & forking) != 0) {  // another thread's fork
        gate.wait(now);
        now = gate.fetch_or(forking, std::memory_order_acquire);
    }
    now |= forking;
    while (now != forking) {
        gate.wait(now);
        now = gate.load(std::memory_order_acquire);
    }
    closers().mutex.lock();
    for (BeforeFork* const closer : closers().all) {
        closer->close_();
    }
}
void end_fork_in_parent() noexcept {
    closers().mutex.unlock();
    gate.store(0, std::memory_order_release);
    gate.notify_all();
}
/// Those that waited for it are not there.
void end_fork_in_child() noexcept {
    closers().mutex.unlock();
    gate.store(0, std::memory_order_relaxed);
}

}  // namespace agentsight::os
