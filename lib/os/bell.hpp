#pragma once

#include <filesystem>
#include <memory>

#include "os/descriptor.hpp"

namespace agentsight::os {

/// How processes wake the drainer, and learn that it is gone: two FIFOs beside the outbox.
/// Both descriptors become readable; whoever waits on them (an event loop) drains them.
/// `descriptor()` is -1 where the file system has no FIFOs: then a 30 s timer serves.
/// Any thread may call any member. Neither class works in a child of fork(2): there every
/// member does nothing.
class Bell {
  public:
    Bell() noexcept;
    /// Makes the FIFO 0600 where missing; opens it O_RDWR|O_NONBLOCK|O_CLOEXEC, so that a
    /// ring never raises SIGPIPE and never blocks. A file that is no FIFO is refused (-1).
    explicit Bell(const std::filesystem::path& path);
    ~Bell();
    Bell(Bell&&) noexcept;
    Bell& operator=(Bell&&) noexcept;

    /// One byte; a full FIFO has been rung already. Notices a replaced file, reopens.
    void ring() noexcept;
    /// As ring(), with the word that somebody waits for what the drainer does next. Where the
    /// FIFO is full, only the ring is heard.
    void ring_urgently() noexcept;
    /// Reads all that was rung, and reopens the FIFO where a cleaner took it away (which also
    /// makes the descriptor readable): call it, then scan for work, whatever woke the loop.
    /// Whether somebody rang urgently.
    bool silence() noexcept;
    /// To wait on; made at the first call, by whoever waits. It stays the same through a
    /// replaced FIFO. Lend it to an event loop, which must not close it.
    int descriptor() noexcept;
    /// After descriptor(), and after silence(): false where rings can be missed (no FIFO, or
    /// nothing that tells of its removal): wait with a timer as well.
    bool works() const noexcept;

  private:
    class Line;
    std::unique_ptr<Line> line_;
};

/// The drainer holds the write end of a FIFO; a follower's read end hangs up when it dies.
/// A stopped drainer (SIGSTOP) holds it still.
///
/// The follower: watch(), then try the drain lock once more, then wait. In this order a
/// drainer that dies at any moment is noticed: before watch() its lock is free at the try,
/// after it the descriptor hangs up. After a hang-up: unwatch(), and again from the start.
/// The drainer: take the lock, then raise(); once more whenever a lock file was found
/// replaced, as the cleaner that took it may have taken this file too. One thread.
class DrainerSign {
  public:
    DrainerSign() = default;
    explicit DrainerSign(const std::filesystem::path& path);

    void raise();  ///< become the drainer: hold the write end. Best effort, never throws
    void lower();  ///< close the write end: followers wake
    bool raised() const { return write_end_.valid(); }
    /// The read end for a follower (opened now, O_NONBLOCK): readable once the drainer is
    /// gone. -1 where it cannot be had. Stays this object's.
    int watch();
    void unwatch();
    /// Follower, after watch(): whether somebody holds the write end. False though another
    /// has the drain lock: it is about to raise, or could not: wait with a timer as well.
    bool drainer_seen() const noexcept;

  private:
    std::filesystem::path path_;
    Descriptor write_end_;
    Descriptor read_end_;
};

}  // namespace agentsight::os
