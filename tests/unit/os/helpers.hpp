#pragma once

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace agentsight::test {

/// Whether the descriptor is readable or hung up, now or within `wait`.
inline bool readable(int descriptor, std::chrono::milliseconds wait = {}) {
    pollfd entry{.fd = descriptor, .events = POLLIN, .revents = 0};
    int n = 0;
    do {
        n = ::poll(&entry, 1, static_cast<int>(wait.count()));
    } while (n < 0 && errno == EINTR);
    return n > 0;
}

/// How long a test waits for what must come.
inline constexpr std::chrono::milliseconds soon{20'000};

inline unsigned mode_of(const std::filesystem::path& path) {
    struct stat found {};
    return ::lstat(path.c_str(), &found) == 0 ? found.st_mode & 07777U : 0;
}

inline uid_t owner_of(const std::filesystem::path& path) {
    struct stat found {};
    return ::lstat(path.c_str(), &found) == 0 ? found.st_uid : static_cast<uid_t>(-1);
}

inline void write_file(const std::filesystem::path& path, const std::string& text) {
    std::ofstream{path, std::ios::binary} << text;
}

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream source{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{source}, {}};
}

inline std::size_t open_descriptors() {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, {}));
}

/// For as long as it lives, what is made has the permissions this mask leaves.
class Umask {
  public:
    explicit Umask(mode_t mask) : before_{::umask(mask)} {}
    ~Umask() { ::umask(before_); }
    Umask(const Umask&) = delete;
    Umask& operator=(const Umask&) = delete;

  private:
    mode_t before_;
};

inline constexpr uid_t nobody = 65534;

/// In a child process: gives root's rights up, so that permissions mean something. Without
/// them the process is an ordinary one already.
inline bool become_ordinary() {
    return ::geteuid() != 0 ||
           (::setresgid(nobody, nobody, nobody) == 0 && ::setresuid(nobody, nobody, nobody) == 0);
}

}  // namespace agentsight::test
