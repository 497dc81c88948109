#include "os/fifo.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <exception>

#include "os/private_file.hpp"

namespace agentsight::os {
namespace {

constexpr int max_attempts = 4;

/// Only ever opens a FIFO: another file could be a database, whose POSIX locks the close
/// would drop. Not valid where there is none.
Descriptor open_fifo(const std::filesystem::path& path, int flags) {
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0 || !S_ISFIFO(found.st_mode)) {
        return {};
    }
    Descriptor opened = Descriptor::open(path.c_str(), flags | O_NONBLOCK | O_NOFOLLOW);
    if (opened.valid() && (::fstat(opened.value(), &found) != 0 || !S_ISFIFO(found.st_mode))) {
        return {};
    }
    return opened;
}

}  // namespace

Descriptor open_or_make_fifo(const std::filesystem::path& path, int flags) noexcept {
    if (path.empty()) {
        return {};
    }
    try {
        for (int attempt = 0; attempt < max_attempts; ++attempt) {
            const bool made = ::mkfifo(path.c_str(), 0600) == 0;
            if (!made && errno != EEXIST) {
                return {};
            }
            Descriptor opened = open_fifo(path, flags);
            if (opened.valid() && made) {
                make_private(opened.value(), path, 0600);
            }
            if (opened.valid() || errno != ENOENT) {
                return opened;
            }
        }
    } catch (const std::exception&) {  // no memory, no permission: as without FIFOs
    }
    return {};
}

}  // namespace agentsight::os
