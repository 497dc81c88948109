#include "os/no_fork.hpp"

#include <pthread.h>

#include "os/process.hpp"

namespace agentsight::os {
namespace {

// Prefers who forks: else one commit after the other would put a fork off for ever.
pthread_rwlock_t gate = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

}  // namespace

NoFork::NoFork() noexcept {
    static_cast<void>(fork_generation());  // registers the handlers
    ::pthread_rwlock_rdlock(&gate);
}
NoFork::~NoFork() {
    ::pthread_rwlock_unlock(&gate);
}

void begin_fork() noexcept {
    ::pthread_rwlock_wrlock(&gate);
}
void end_fork_in_parent() noexcept {
    ::pthread_rwlock_unlock(&gate);
}
/// Those that waited for it are not there.
void end_fork_in_child() noexcept {
    gate = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
}

}  // namespace agentsight::os
