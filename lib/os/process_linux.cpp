#include "os/process.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <exception>
#include <string>

#include "os/file.hpp"

namespace agentsight::os {

std::int64_t process_id() noexcept {
    return ::getpid();
}

std::optional<bool> is_stopped(std::int64_t pid) noexcept {
    if (pid <= 0) {
        return std::nullopt;
    }
    try {
        const auto text = read_small_file("/proc/" + std::to_string(pid) + "/stat", 4096);
        // "PID (name) S ...": the name may hold anything, so the state follows the last ')'.
        const std::size_t at = text ? text->rfind(')') : std::string::npos;
        if (at == std::string::npos || at + 2 >= text->size()) {
            return std::nullopt;
        }
        const char state = (*text)[at + 2];
        if (state == 'Z' || state == 'X') {  // ended, not yet reaped
            return std::nullopt;
        }
        return state == 'T' || state == 't';
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

SignalsBlocked::SignalsBlocked() noexcept {
    sigset_t set;
    ::sigfillset(&set);
    // The thread's own faults stay deliverable: blocked, they would end the process without
    // the application's crash handler.
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
        ::sigdelset(&set, fault);
    }
    sigset_t before;
    ::pthread_sigmask(SIG_BLOCK, &set, &before);
    static_assert(sizeof before <= sizeof before_);
    std::memcpy(before_.data(), &before, sizeof before);
}

SignalsBlocked::~SignalsBlocked() {
    sigset_t before;
    std::memcpy(&before, before_.data(), sizeof before);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void yield_processor() noexcept {
    ::sched_yield();
}

}  // namespace agentsight::os
