#pragma once

#include <exception>
#include <string>

namespace agentsight::sqlite {

/// What a failure asks of the caller, coarser than SQLite's codes.
enum class Trouble {
    busy,  ///< a lock was not free within the busy timeout
    full,  ///< no space: the disk's, a quota's, or max_page_count
    no_memory,
    read_only,  ///< the file or its folder may not be written
    cannot_open,
    damaged,  ///< malformed, or not a database at all
    io,       ///< the storage failed; the outcome of a commit is then unknown
    constraint,
    interrupted,  ///< by Database::interrupt()
    other,
};

/// A failed call of SQLite: the extended code and the system's errno at that moment. Never
/// holds a bound value: SQLite's own messages name tables and columns only.
class Failure : public std::exception {
  public:
    Failure(int extended_code, int system_errno, std::string message);

    /// Of our own finding, as SQLite would report them.
    static Failure full(std::string message);
    static Failure io(std::string message);
    static Failure other(std::string message);

    int extended_code() const noexcept { return extended_code_; }
    int system_errno() const noexcept { return system_errno_; }
    Trouble trouble() const noexcept;
    const char* what() const noexcept override { return message_.c_str(); }

  private:
    int extended_code_;
    int system_errno_;
    std::string message_;
};

/// Of our own finding: the file is not as it was written.
[[noreturn]] void throw_damaged(const char* message);

}  // namespace agentsight::sqlite
