#pragma once

#include <filesystem>

namespace agentsight::os {

/// How processes wake the drainer, and learn that it is gone: two FIFOs beside the outbox.
/// Both descriptors become readable; whoever waits on them (an event loop) drains them.
/// `descriptor()` is -1 where the file system has no FIFOs: then a 30 s timer serves.
class Bell {
  public:
    Bell() = default;
    /// Makes the FIFO 0600 where missing; opens it O_RDWR|O_NONBLOCK|O_CLOEXEC, so that a
    /// ring never raises SIGPIPE and never blocks. A file that is no FIFO is refused (-1).
    explicit Bell(const std::filesystem::path& path);
    ~Bell();
    Bell(Bell&&) noexcept;
    Bell& operator=(Bell&&) noexcept;

    /// One byte; a full FIFO has been rung already. Notices a replaced file, reopens. Any
    /// thread, but one at a time.
    void ring() noexcept;
    /// Reads all that was rung.
    void silence() noexcept;
    int descriptor() const { return descriptor_; }

  private:
    std::filesystem::path path_;
    int descriptor_ = -1;
};

/// The drainer holds the write end of a FIFO; a follower's read end hangs up when it dies.
class DrainerSign {
  public:
    DrainerSign() = default;
    explicit DrainerSign(const std::filesystem::path& path);
    ~DrainerSign();
    DrainerSign(DrainerSign&&) noexcept;
    DrainerSign& operator=(DrainerSign&&) noexcept;

    void raise();   ///< become the drainer: hold the write end
    void lower();   ///< close the write end: followers wake
    /// The read end for a follower (opened now, O_NONBLOCK): readable once the drainer is
    /// gone. -1 where it cannot be had. Stays this object's.
    int watch();
    void unwatch();

  private:
    std::filesystem::path path_;
    int write_end_ = -1;
    int read_end_ = -1;
};

}  // namespace agentsight::os
