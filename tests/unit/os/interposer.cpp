#include "interposer.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>

namespace agentsight::test {
namespace {

CallRecord* record = nullptr;
std::atomic<int> times_asked = 0;
Fault* fault = nullptr;
std::optional<std::uint64_t> file_system;

/// True, with errno set, where this call is to fail.
bool fails() {
    if (fault == nullptr || !fault->strikes()) {
        return false;
    }
    errno = fault->error();
    return true;
}

std::string path_of(int descriptor) {
    std::array<char, 4096> buffer;
    const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
    const ssize_t n = ::readlink(link.c_str(), buffer.data(), buffer.size());
    return {buffer.data(), n > 0 ? static_cast<std::size_t>(n) : 0};
}

template <typename Function>
Function real(const char* name) {
    void* const found = ::dlsym(RTLD_NEXT, name);
    return reinterpret_cast<Function>(found);
}

}  // namespace

int times_asked_for() {
    return times_asked;
}

CallRecord::CallRecord() {
    record = this;
}
CallRecord::~CallRecord() {
    record = nullptr;
}

Fault::Fault(int at, int error, bool for_ever) : left_{at}, error_{error}, for_ever_{for_ever} {
    fault = this;
}
Fault::~Fault() {
    fault = nullptr;
}

bool Fault::strikes() {
    const bool now = left_ == 0 || (left_ < 0 && for_ever_);
    --left_;
    struck_ = struck_ || now;
    return now;
}

FakeFileSystem::FakeFileSystem(std::uint64_t type) {
    file_system = type;
}
FakeFileSystem::~FakeFileSystem() {
    file_system.reset();
}

}  // namespace agentsight::test

namespace t = agentsight::test;

// The C library's names, defined in the program, take precedence over the library's own.
extern "C" {

int open64(const char* path, int flags, ...) {
    mode_t mode = 0;
    if ((flags & O_CREAT) != 0) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    static const auto next = t::real<int (*)(const char*, int, ...)>("open64");
    return t::fails() ? -1 : next(path, flags, mode);
}

/// Recorded, not done: what these tests ask is when it is called and what its failure does.
int fsync(int descriptor) {
    if (t::record != nullptr) {
        t::record->add("fsync " + t::path_of(descriptor));
    }
    return t::fails() ? -1 : 0;
}

int mkdir(const char* path, mode_t mode) noexcept {
    static const auto next = t::real<int (*)(const char*, mode_t)>("mkdir");
    if (t::fails()) {
        return -1;
    }
    const int result = next(path, mode);
    if (result == 0 && t::record != nullptr) {
        t::record->add(std::string{"mkdir "} + path);
    }
    return result;
}

int mkfifo(const char* path, mode_t mode) noexcept {
    static const auto next = t::real<int (*)(const char*, mode_t)>("mkfifo");
    return t::fails() ? -1 : next(path, mode);
}

int fchmod(int descriptor, mode_t mode) noexcept {
    static const auto next = t::real<int (*)(int, mode_t)>("fchmod");
    return t::fails() ? -1 : next(descriptor, mode);
}

int stat64(const char* path, struct stat64* found) noexcept {
    static const auto next = t::real<int (*)(const char*, struct stat64*)>("stat64");
    ++t::times_asked;
    return t::fails() ? -1 : next(path, found);
}

int lstat64(const char* path, struct stat64* found) noexcept {
    static const auto next = t::real<int (*)(const char*, struct stat64*)>("lstat64");
    ++t::times_asked;
    return t::fails() ? -1 : next(path, found);
}

int statx(int folder, const char* path, int flags, unsigned mask, struct statx* found) noexcept {
    static const auto next =
        t::real<int (*)(int, const char*, int, unsigned, struct statx*)>("statx");
    t::times_asked += (mask & (STATX_MTIME | STATX_CTIME)) != 0 ? 1 : 0;
    return t::fails() ? -1 : next(folder, path, flags, mask, found);
}

int fstat64(int descriptor, struct stat64* found) noexcept {
    static const auto next = t::real<int (*)(int, struct stat64*)>("fstat64");
    ++t::times_asked;
    return t::fails() ? -1 : next(descriptor, found);
}

int fcntl64(int descriptor, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void* const argument = va_arg(arguments, void*);
    va_end(arguments);
    static const auto next = t::real<int (*)(int, int, ...)>("fcntl64");
    return t::fails() ? -1 : next(descriptor, command, argument);
}

int fallocate64(int descriptor, int mode, off64_t offset, off64_t length) {
    static const auto next = t::real<int (*)(int, int, off64_t, off64_t)>("fallocate64");
    return t::fails() ? -1 : next(descriptor, mode, offset, length);
}

ssize_t pwrite64(int descriptor, const void* bytes, size_t size, off64_t offset) {
    static const auto next = t::real<ssize_t (*)(int, const void*, size_t, off64_t)>("pwrite64");
    return t::fails() ? -1 : next(descriptor, bytes, size, offset);
}

int inotify_init1(int flags) noexcept {
    static const auto next = t::real<int (*)(int)>("inotify_init1");
    return t::fails() ? -1 : next(flags);
}

int inotify_add_watch(int descriptor, const char* path, uint32_t mask) noexcept {
    static const auto next = t::real<int (*)(int, const char*, uint32_t)>("inotify_add_watch");
    return t::fails() ? -1 : next(descriptor, path, mask);
}

int epoll_create1(int flags) noexcept {
    static const auto next = t::real<int (*)(int)>("epoll_create1");
    return t::fails() ? -1 : next(flags);
}

int statfs64(const char* path, struct statfs64* found) noexcept {
    static const auto next = t::real<int (*)(const char*, struct statfs64*)>("statfs64");
    const int result = t::fails() ? -1 : next(path, found);
    if (result == 0 && t::file_system) {
        found->f_type = static_cast<decltype(found->f_type)>(*t::file_system);
    }
    return result;
}

}  // extern "C"
