#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "os/lock_file.hpp"
#include "os/private_file.hpp"

namespace agentsight::os {
namespace {

using namespace std::chrono_literals;

constexpr int max_reopens = 16;
constexpr std::size_t note_bytes = 256;
constexpr int open_flags = O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;

/// Looked at before it is opened: to open and close another program's file, the database
/// above all, would drop that program's POSIX locks within this process.
bool is_there(const std::filesystem::path& path) {
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0) {
        if (errno == ENOENT) {
            return false;
        }
        fail(errno, "cannot look at the lock file", path);
    }
    if (!S_ISREG(found.st_mode)) {
        fail(S_ISLNK(found.st_mode) ? ELOOP : EINVAL, "not a lock file:", path);
    }
    if (found.st_nlink > 1) {
        fail(EMLINK, "a lock file must have one name only:", path);
    }
    return true;
}

Descriptor open_or_make(const std::filesystem::path& path) {
    for (int attempt = 0; attempt < max_reopens; ++attempt) {
        const bool there = is_there(path);
        Descriptor opened = Descriptor::open(
            path.c_str(), there ? open_flags : open_flags | O_CREAT | O_EXCL, 0600);
        if (opened.valid()) {
            if (!there) {
                make_private(opened.value(), path, 0600);
            }
            return opened;
        }
        if (errno != (there ? ENOENT : EEXIST)) {
            fail(errno, "cannot open the lock file", path);
        }
    }
    fail(EBUSY, "something keeps replacing the lock file", path);
}

FileIdentity identity_of_open(int descriptor, const std::filesystem::path& path) {
    struct stat found {};
    if (::fstat(descriptor, &found) != 0) {
        fail(errno, "cannot look at the lock file", path);
    }
    return {.device = found.st_dev, .inode = found.st_ino};
}

/// One byte, by the open file description: l_pid must be 0.
struct flock byte_lock(LockFile::Range range, short type) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(range);
    lock.l_len = 1;
    return lock;
}

int control(int descriptor, int command, struct flock& lock) noexcept {
    int result = 0;
    do {
        result = ::fcntl(descriptor, command, &lock);
    } while (result != 0 && errno == EINTR);
    return result;
}

void pause(std::chrono::microseconds time) {
    timespec left{.tv_sec = 0, .tv_nsec = time.count() * 1000};
    ::nanosleep(&left, nullptr);  // cut short by a signal: one try more, no harm
}

}  // namespace

LockFile::LockFile(std::filesystem::path path) : path_{std::filesystem::absolute(path)} {
    reopen();
}

void LockFile::reopen() {
    descriptor_ = open_or_make(path_);
    identity_ = identity_of_open(descriptor_.value(), path_);
}

bool LockFile::try_lock(Range range, Mode mode) {
    struct flock lock = byte_lock(range, mode == Mode::shared ? F_RDLCK : F_WRLCK);
    if (control(descriptor_.value(), F_OFD_SETLK, lock) == 0) {
        return true;
    }
    if (errno == EAGAIN || errno == EACCES) {
        return false;
    }
    fail(errno, "cannot lock", path_);
}

bool LockFile::lock(Range range, Mode mode, std::chrono::milliseconds wait) {
    const auto deadline = std::chrono::steady_clock::now() + wait;
    std::chrono::microseconds next_pause = 50us;
    for (int reopened = 0; reopened < max_reopens;) {
        if (try_lock(range, mode)) {
            if (identity(path_) == identity_) {
                return true;
            }
            reopen();  // a lock on a file that nobody else can find is none
            ++replaced_;
            ++reopened;
            continue;
        }
        const auto left = std::chrono::duration_cast<std::chrono::microseconds>(
            deadline - std::chrono::steady_clock::now());
        if (left <= 0us) {
            return false;
        }
        pause(std::min(next_pause, left));
        next_pause = std::min<std::chrono::microseconds>(next_pause * 2, 2ms);
    }
    fail(EBUSY, "something keeps replacing the lock file", path_);
}

void LockFile::unlock(Range range) noexcept {
    struct flock lock = byte_lock(range, F_UNLCK);
    control(descriptor_.value(), F_OFD_SETLK, lock);
}

bool LockFile::held_by_other(Range range) const {
    // The file that others find now, if ours was replaced.
    const Descriptor other =
        identity(path_) == identity_ ? Descriptor{} : Descriptor::open(path_.c_str(), open_flags);
    struct flock lock = byte_lock(range, F_RDLCK);  // only an exclusive lock is in its way
    const int descriptor = other.valid() ? other.value() : descriptor_.value();
    if (control(descriptor, F_OFD_GETLK, lock) != 0) {
        fail(errno, "cannot ask for a lock of", path_);
    }
    return lock.l_type != F_UNLCK;
}

void LockFile::write_note(std::string_view note) noexcept {
    std::array<char, note_bytes> bytes{};
    std::copy_n(note.begin(), std::min(note.size(), note_bytes - 1), bytes.begin());
    const ssize_t n = ::pwrite(descriptor_.value(), bytes.data(), bytes.size(), 0);
    static_cast<void>(n);  // for people only
}

std::string LockFile::read_note() const {
    std::array<char, note_bytes> bytes{};
    const ssize_t n = ::pread(descriptor_.value(), bytes.data(), bytes.size(), 0);
    const auto end = bytes.begin() + std::max<ssize_t>(n, 0);
    return {bytes.begin(), std::find(bytes.begin(), end, '\0')};
}

}  // namespace agentsight::os
