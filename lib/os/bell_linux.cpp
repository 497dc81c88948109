#include "os/bell.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>

#include "os/private_file.hpp"

namespace agentsight::os {
namespace {

constexpr int max_reads = 64;  // a FIFO holds 64 KiB: 16 reads of the buffer below
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

/// Reads until there is no more, at most 4 KiB times max_reads.
void read_all(const Descriptor& descriptor) noexcept {
    alignas(inotify_event) std::array<char, 4096> buffer;
    for (int reads = 0; reads < max_reads && descriptor.valid(); ++reads) {
        const ssize_t n = ::read(descriptor.value(), buffer.data(), buffer.size());
        if (n == 0 || (n < 0 && errno != EINTR)) {
            return;
        }
    }
}

void wait_also_on(const Descriptor& waiting, const Descriptor& source) noexcept {
    if (waiting.valid() && source.valid()) {
        epoll_event event{.events = EPOLLIN, .data = {.fd = source.value()}};
        ::epoll_ctl(waiting.value(), EPOLL_CTL_ADD, source.value(), &event);
    }
}

}  // namespace

Bell::Bell(const std::filesystem::path& path) : path_{std::filesystem::absolute(path)} {
    reopen();
}

void Bell::reopen() noexcept {
    fifo_ = open_or_make_fifo(path_, O_RDWR);  // its epoll entry goes with the old one
    struct stat found {};
    identity_.reset();
    if (fifo_.valid() && ::fstat(fifo_.value(), &found) == 0) {
        identity_ = FileIdentity{.device = found.st_dev, .inode = found.st_ino};
    }
    wait_also_on(waiting_, fifo_);
    watch_for_removal();
}

void Bell::watch_for_removal() noexcept {
    if (removal_.valid()) {
        // An unlinked file that is still open changes its count of names only.
        ::inotify_add_watch(removal_.value(), path_.c_str(),
                            IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF | IN_DONT_FOLLOW);
    }
}

int Bell::descriptor() {
    if (!fifo_.valid() || waiting_.valid()) {
        return waiting_.value();
    }
    try {
        waiting_ = Descriptor{::epoll_create1(EPOLL_CLOEXEC)};
        removal_ = Descriptor{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    } catch (const std::exception&) {
        return -1;
    }
    wait_also_on(waiting_, fifo_);
    wait_also_on(waiting_, removal_);
    watch_for_removal();
    if (identity(path_) != identity_) {
        reopen();  // replaced before the watch was set
    }
    return waiting_.value();
}

void Bell::ring() noexcept {
    if (path_.empty()) {
        return;
    }
    constexpr char stroke = '!';
    if (identity(path_) != identity_ || !identity_) {
        // Who waits on the old file is told as well, and finds the new one.
        const ssize_t n = ::write(fifo_.value(), &stroke, 1);
        static_cast<void>(n);
        reopen();
    }
    ssize_t written = 0;
    do {
        written = ::write(fifo_.value(), &stroke, 1);  // EAGAIN: full, so it is rung
    } while (written < 0 && errno == EINTR);
}

void Bell::silence() noexcept {
    read_all(removal_);
    if (identity(path_) != identity_ && waiting_.valid()) {
        reopen();
    }
    read_all(fifo_);
}

DrainerSign::DrainerSign(const std::filesystem::path& path)
    : path_{std::filesystem::absolute(path)} {}

void DrainerSign::raise() {
    // O_RDWR, because O_WRONLY fails while nobody reads; nothing is ever written.
    write_end_ = open_or_make_fifo(path_, O_RDWR);
}

void DrainerSign::lower() {
    write_end_.close();
}

int DrainerSign::watch() {
    if (!read_end_.valid()) {
        read_end_ = open_or_make_fifo(path_, O_RDONLY);
    }
    return read_end_.value();
}

void DrainerSign::unwatch() {
    read_end_.close();
}

bool DrainerSign::drainer_seen() const noexcept {
    char none = 0;
    return read_end_.valid() && ::read(read_end_.value(), &none, 1) < 0 && errno == EAGAIN;
}

}  // namespace agentsight::os
