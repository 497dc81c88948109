#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "os/descriptor.hpp"
#include "os/file.hpp"

namespace agentsight::os {

/// A file whose bytes are locks between processes, as open-file-description locks
/// (F_OFD_SETLK): they die with the process, and a close elsewhere in it drops none. Not
/// for threads of one process: the owner serialises them. After every lock the file's
/// identity is compared with the path's: a file deleted or replaced by a cleaner is
/// reopened and locked again, and `replaced()` counts it (locks on the old file are void).
/// In a child of fork(2) it has no locks, and no use of it succeeds.
class LockFile {
  public:
    enum class Range : std::uint8_t { commit = 0, drain = 1, presence = 2, migrate = 3 };
    enum class Mode { shared, exclusive };

    LockFile() = default;
    explicit LockFile(std::filesystem::path path);  ///< makes it 0600 where missing; CLOEXEC
    /// Waits at most `wait`: retries with pauses that grow from 50 us to 500 us, after letting
    /// those go first who wait already; 0 tries once. False: not free in time. Throws
    /// std::system_error for anything else.
    bool lock(Range range, Mode mode, std::chrono::milliseconds wait);
    void unlock(Range range) noexcept;

    /// Whether another process holds `range` exclusively.
    bool held_by_other(Range range) const;

    /// Says, until unsaid or this process's death, that it would like `range`; and whether
    /// another says so. Best effort; a lock() that waits says it for as long, and unsays it.
    void say_waiting(Range range, bool waiting) noexcept;
    bool others_wait(Range range) const noexcept;

    /// Whether others find this file by its path; else its locks are void. One look at the path.
    bool is_at_its_path() const noexcept { return identity(path_) == identity_; }
    /// How often the file was found replaced since it was opened.
    std::uint64_t replaced() const { return replaced_; }

    /// A few bytes beside the locks: who drains. Best effort.
    void write_note(std::string_view note) noexcept;
    std::string read_note() const;

  private:
    void reopen();
    bool try_lock(Range range, Mode mode);
    bool lock_patiently(Range range, Mode mode, std::chrono::milliseconds wait, bool gives_way);
    /// The file that others find by the path now; not valid where it is still ours.
    Descriptor current() const;

    std::filesystem::path path_;
    Descriptor descriptor_;
    FileIdentity identity_;
    std::uint64_t replaced_ = 0;
};

}  // namespace agentsight::os
