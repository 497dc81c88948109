#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <system_error>
#include <utility>

#include "os/lock_file.hpp"
#include "os/private_file.hpp"

namespace agentsight::os {
namespace {

using namespace std::chrono_literals;

constexpr int max_reopens = 16;
constexpr std::size_t note_bytes = 256;
constexpr std::chrono::microseconds shortest_pause = 50us;
constexpr std::chrono::microseconds longest_pause = 500us;

/// Byte 16 + n says by shared locks that somebody waits for byte n.
constexpr int waiting_offset = 16;
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
struct flock byte_lock(int at, short type) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = at;
    lock.l_len = 1;
    return lock;
}

int byte_of(LockFile::Range range) {
    return static_cast<int>(range);
}

int control(int descriptor, int command, struct flock& lock) noexcept {
    int result = 0;
    do {
        result = ::fcntl(descriptor, command, &lock);
    } while (result != 0 && errno == EINTR);
    return result;
}

bool is_awaited(const Descriptor& descriptor, LockFile::Range range) noexcept {
    struct flock lock = byte_lock(waiting_offset + byte_of(range), F_WRLCK);
    return control(descriptor.value(), F_OFD_GETLK, lock) == 0 && lock.l_type != F_UNLCK;
}

void mark(const Descriptor& descriptor, LockFile::Range range, bool waiting) noexcept {
    struct flock lock = byte_lock(waiting_offset + byte_of(range), waiting ? F_RDLCK : F_UNLCK);
    control(descriptor.value(), F_OFD_SETLK, lock);
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
    for (int attempt = 0; attempt < max_reopens; ++attempt) {
        struct flock lock = byte_lock(byte_of(range), mode == Mode::shared ? F_RDLCK : F_WRLCK);
        if (control(descriptor_.value(), F_OFD_SETLK, lock) != 0) {
            if (errno == EAGAIN || errno == EACCES) {
                return false;
            }
            fail(errno, "cannot lock", path_);
        }
        if (is_at_its_path()) {
            return true;
        }
        reopen();  // a lock on a file that nobody else can find is none
        ++replaced_;
    }
    fail(EBUSY, "something keeps replacing the lock file", path_);
}

bool LockFile::others_wait(Range range) const noexcept {
    try {
        const Descriptor replacement = current();
        return is_awaited(replacement.valid() ? replacement : descriptor_, range);
    } catch (const std::exception&) {
        return false;
    }
}

void LockFile::say_waiting(Range range, bool waiting) noexcept {
    try {
        if (waiting && !is_at_its_path()) {
            reopen();  // on the old file nobody would hear it
            ++replaced_;
        }
    } catch (const std::exception&) {
        return;
    }
    mark(descriptor_, range, waiting);
}

// Who comes while others wait lets them look once first. Else a process that commits in a
// loop takes the lock again within a microsecond and the others, who look now and then,
// wait for ever. A queue in order was rejected: a stopped process in it would stop all.
bool LockFile::lock(Range range, Mode mode, std::chrono::milliseconds wait) {
    const bool gives_way = wait > 0ms && is_awaited(descriptor_, range);
    if (!gives_way && try_lock(range, mode)) {
        return true;
    }
    return wait > 0ms && lock_patiently(range, mode, wait, gives_way);
}

bool LockFile::lock_patiently(Range range, Mode mode, std::chrono::milliseconds wait,
                              bool gives_way) {
    using std::chrono::duration_cast, std::chrono::microseconds, std::chrono::steady_clock;
    const auto start = steady_clock::now();
    microseconds waited = 0us;
    bool locked = false;
    mark(descriptor_, range, true);
    do {
        const microseconds next =
            gives_way ? longest_pause : std::clamp(waited / 8, shortest_pause, longest_pause);
        pause(std::min<microseconds>(next, wait - waited));
        gives_way = false;
        try {
            locked = try_lock(range, mode);
        } catch (...) {
            mark(descriptor_, range, false);
            throw;
        }
        waited = duration_cast<microseconds>(steady_clock::now() - start);
    } while (!locked && waited < wait);
    mark(descriptor_, range, false);
    return locked;
}

void LockFile::unlock(Range range) noexcept {
    struct flock lock = byte_lock(byte_of(range), F_UNLCK);
    control(descriptor_.value(), F_OFD_SETLK, lock);
}

Descriptor LockFile::current() const {
    const bool replaced = !is_at_its_path();
    return replaced && check_file(path_) == PathProblem::none
               ? Descriptor::open(path_.c_str(), open_flags)
               : Descriptor{};
}

bool LockFile::held_by_other(Range range) const {
    const Descriptor replacement = current();
    const int descriptor = replacement.valid() ? replacement.value() : descriptor_.value();
    struct flock lock = byte_lock(byte_of(range), F_RDLCK);  // in its way: exclusive ones
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
    const Descriptor replacement = current();
    const int descriptor = replacement.valid() ? replacement.value() : descriptor_.value();
    const ssize_t n = ::pread(descriptor, bytes.data(), bytes.size(), 0);
    const auto end = bytes.begin() + std::max<ssize_t>(n, 0);
    return {bytes.begin(), std::find(bytes.begin(), end, '\0')};
}

}  // namespace agentsight::os
