#include "os/bell.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>
#include <mutex>
#include <optional>
#include <string_view>

#include "os/fifo.hpp"
#include "os/file.hpp"
#include "os/process.hpp"

namespace agentsight::os {
namespace {

constexpr int max_attempts = 4;

constexpr char stroke = '!';
constexpr char urgent_stroke = '>';

/// Reads until there is no more; whether an urgent stroke was among it. Bounded: a FIFO holds
/// 64 KiB, and who rings meanwhile leaves the descriptor readable.
bool read_all(const Descriptor& descriptor) noexcept {
    alignas(inotify_event) std::array<char, 4096> buffer;
    bool urgent = false;
    for (int reads = 0; reads < 64 && descriptor.valid(); ++reads) {
        const ssize_t n = ::read(descriptor.value(), buffer.data(), buffer.size());
        if (n == 0 || (n < 0 && errno != EINTR)) {
            break;
        }
        const std::string_view rung(buffer.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
        urgent = urgent || rung.find(urgent_stroke) != rung.npos;
    }
    return urgent;
}

void wait_also_on(const Descriptor& waiting, const Descriptor& source) noexcept {
    if (waiting.valid() && source.valid()) {
        epoll_event event{.events = EPOLLIN, .data = {.fd = source.value()}};
        ::epoll_ctl(waiting.value(), EPOLL_CTL_ADD, source.value(), &event);
    }
}

std::optional<FileIdentity> identity_of(const Descriptor& opened) noexcept {
    struct stat found {};
    if (!opened.valid() || ::fstat(opened.value(), &found) != 0) {
        return std::nullopt;
    }
    return FileIdentity{.device = found.st_dev, .inode = found.st_ino};
}

}  // namespace

/// A Bell's descriptors. After fork(2) another thread may hold the mutex for ever: the child
/// asks forked() before it.
class Bell::Line {
  public:
    explicit Line(const std::filesystem::path& path)
        : path_{std::filesystem::absolute(path)}, generation_{fork_generation()} {
        follow_path();
    }

    bool forked() const noexcept { return generation_ != fork_generation(); }

    void ring(char with) noexcept {
        const std::lock_guard lock{mutex_};
        if (is_replaced()) {
            strike(with);  // who waits on the old file is told as well, and finds the new one
            follow_path();
        }
        strike(with);
    }

    bool silence() noexcept {
        const std::lock_guard lock{mutex_};
        read_all(removal_);
        bool urgent = false;
        if (is_replaced()) {
            urgent = read_all(fifo_);
            follow_path();
        }
        return read_all(fifo_) || urgent;
    }

    int descriptor() noexcept {
        const std::lock_guard lock{mutex_};
        if (fifo_.valid() && !waiting_.valid()) {
            start_waiting();
        }
        return waiting_.value();
    }

    bool works() const noexcept {
        const std::lock_guard lock{mutex_};
        return fifo_.valid() && removal_watched_;
    }

  private:
    bool is_replaced() const noexcept { return !identity_ || identity(path_) != identity_; }

    void strike(char with) noexcept {
        ssize_t written = 0;
        do {
            written = ::write(fifo_.value(), &with, 1);  // EAGAIN: full, so it is rung
        } while (written < 0 && errno == EINTR);
    }

    void start_waiting() noexcept {
        try {
            removal_ = Descriptor{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
            waiting_ = Descriptor{::epoll_create1(EPOLL_CLOEXEC)};
        } catch (const std::exception&) {
            return;
        }
        wait_also_on(waiting_, fifo_);
        wait_also_on(waiting_, removal_);
        watch_for_removal();
        if (is_replaced()) {
            follow_path();
        }
    }

    /// Again where the path changes under it: the watch is set after the file is opened.
    void follow_path() noexcept {
        for (int attempt = 0; attempt < max_attempts; ++attempt) {
            fifo_ = open_or_make_fifo(path_, O_RDWR);  // the old one leaves the epoll set itself
            identity_ = identity_of(fifo_);
            wait_also_on(waiting_, fifo_);
            watch_for_removal();
            if (!fifo_.valid() || !is_replaced()) {
                return;
            }
        }
    }

    void watch_for_removal() noexcept {
        // An unlinked file that is still open changes its count of names only: IN_ATTRIB.
        removal_watched_ =
            removal_.valid() &&
            ::inotify_add_watch(removal_.value(), path_.c_str(),
                                IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF | IN_DONT_FOLLOW) >= 0;
    }

    const std::filesystem::path path_;
    const std::uint64_t generation_;
    mutable std::mutex mutex_;
    Descriptor fifo_;
    std::optional<FileIdentity> identity_;
    Descriptor waiting_;  ///< epoll over fifo_ and removal_: one descriptor for the loop
    Descriptor removal_;  ///< inotify on the FIFO
    bool removal_watched_ = false;
};

Bell::Bell() noexcept = default;
Bell::Bell(const std::filesystem::path& path) : line_{std::make_unique<Line>(path)} {}
Bell::~Bell() = default;
Bell::Bell(Bell&&) noexcept = default;
Bell& Bell::operator=(Bell&&) noexcept = default;

void Bell::ring() noexcept {
    if (line_ && !line_->forked()) {
        line_->ring(stroke);
    }
}

void Bell::ring_urgently() noexcept {
    if (line_ && !line_->forked()) {
        line_->ring(urgent_stroke);
    }
}

bool Bell::silence() noexcept {
    return line_ && !line_->forked() && line_->silence();
}

int Bell::descriptor() noexcept {
    return line_ && !line_->forked() ? line_->descriptor() : -1;
}

bool Bell::works() const noexcept {
    return line_ && !line_->forked() && line_->works();
}

}  // namespace agentsight::os
