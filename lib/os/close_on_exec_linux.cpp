#include "os/close_on_exec.hpp"

#include <fcntl.h>

namespace agentsight::os {

void close_on_exec(int descriptor) noexcept {
    const int flags = ::fcntl(descriptor, F_GETFD);
    if (flags >= 0) {
        ::fcntl(descriptor, F_SETFD, flags | FD_CLOEXEC);
    }
}

}  // namespace agentsight::os
