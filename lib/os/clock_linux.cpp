#include "os/clock.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <optional>
#include <string>
#include <string_view>

#include "os/descriptor.hpp"
#include "os/file.hpp"

namespace agentsight::os {
namespace {

std::int64_t milliseconds(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

/// FNV-1a, 64 bits; never 0.
std::uint64_t hash(std::string_view text) {
    std::uint64_t value = 0xCBF29CE484222325ULL;
    for (const char c : text) {
        value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
    }
    return value == 0 ? 1 : value;
}

std::optional<std::string> kernel_text(const char* path, std::size_t max_bytes) {
    try {
        return read_small_file(path, max_bytes);
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

/// Names this boot: the kernel's random id. Where /proc does not show it, the second of the
/// boot, which changes when the wall clock is set: then waits are judged as after a restart.
std::uint64_t read_boot_id() {
    const auto id = kernel_text("/proc/sys/kernel/random/boot_id", 128);
    if (id && !id->empty()) {
        return hash(*id);
    }
    const auto statistics = kernel_text("/proc/stat", 4 * 1024 * 1024);
    const std::size_t at = statistics ? statistics->find("\nbtime ") : std::string::npos;
    if (at != std::string::npos) {
        return hash(std::string_view{*statistics}.substr(at, statistics->find('\n', at + 1) - at));
    }
    const std::int64_t booted = milliseconds(CLOCK_REALTIME) - milliseconds(CLOCK_BOOTTIME);
    return hash(std::to_string(booted / 1000));
}

/// Whole up to 256 bytes, says getrandom(2).
bool from_kernel(std::span<std::uint64_t> words, unsigned flags) {
    for (int attempt = 0; attempt < 100; ++attempt) {
        const ssize_t n = ::getrandom(words.data(), words.size_bytes(), flags);
        if (n == static_cast<ssize_t>(words.size_bytes())) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
    }
    return false;
}

/// /dev/urandom never waits, not even on a device that has just booted.
bool from_device(std::uint64_t& value) {
    const Descriptor device = Descriptor::open("/dev/urandom", O_RDONLY | O_NOFOLLOW);
    return device.valid() &&
           ::read(device.value(), &value, sizeof value) == static_cast<ssize_t>(sizeof value);
}

/// The last resort of a process that may neither call nor open: numbers differ, no more.
std::uint64_t from_clocks() {
    static std::uint64_t count = 0;
    timespec time{};
    ::clock_gettime(CLOCK_REALTIME, &time);
    std::uint64_t seed = static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
                         static_cast<std::uint64_t>(time.tv_nsec);
    seed ^= static_cast<std::uint64_t>(::getpid()) << 40;
    seed += 0x9E3779B97F4A7C15ULL * __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    seed = (seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9ULL;
    seed = (seed ^ (seed >> 27)) * 0x94D049BB133111EBULL;
    return seed ^ (seed >> 31);
}

}  // namespace

SystemClock::SystemClock() : boot_id_{read_boot_id()} {}

core::Moment SystemClock::now() const {
    return {.utc_ms = milliseconds(CLOCK_REALTIME),
            .boot_ms = milliseconds(CLOCK_BOOTTIME),
            .boot_id = boot_id_};
}

std::uint64_t SystemRandom::next() {
    std::uint64_t value = 0;
    // Without waiting: before the kernel has its entropy a submit must not hang.
    if (from_kernel({&value, 1}, GRND_NONBLOCK) || from_device(value)) {
        return value;
    }
    return from_clocks();
}

void SystemRandom::fill(std::span<std::uint64_t> words) {
    if (words.size_bytes() > 256 || !from_kernel(words, GRND_NONBLOCK)) {
        core::Random::fill(words);
    }
}

}  // namespace agentsight::os
