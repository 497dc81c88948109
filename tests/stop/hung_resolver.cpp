#include "hung_resolver.hpp"

#include <dlfcn.h>
#include <netdb.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace {

// Never destroyed: a lookup may still hang when the process ends.
struct Hung {
    std::mutex mutex;
    std::condition_variable released;
    std::uint64_t releases = 0;
};

Hung& hung() {
    static Hung* const one = new Hung;
    return *one;
}

}  // namespace

namespace agentsight::test {

void release_hung_lookups() {
    const std::lock_guard guard{hung().mutex};
    ++hung().releases;
    hung().released.notify_all();
}

}  // namespace agentsight::test

/// Stands before the C library's, for the library under test as well.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** result) {
    if (node != nullptr && node == agentsight::test::hung_host) {
        std::unique_lock lock{hung().mutex};
        const std::uint64_t seen = hung().releases;
        hung().released.wait(lock, [&] { return hung().releases != seen; });
        return EAI_AGAIN;
    }
    using Function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
    static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "getaddrinfo"));
    return real != nullptr ? real(node, service, hints, result) : EAI_SYSTEM;
}
