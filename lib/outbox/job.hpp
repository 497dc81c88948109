#pragma once

#include <chrono>
#include <cstddef>
#include <exception>

#include "outbox/tables.hpp"

namespace agentsight::outbox {

/// One piece of work for a commit. It is applied inside a transaction and may be applied
/// again after a rollback, or after a commit whose outcome is unknown; so it starts from
/// scratch each time and finds what an earlier run may have left in the file.
class Job {
  public:
    enum class Kind {
        submit,  ///< may use space only within the quota, and not the ballast's
        drain,   ///< one a commit: its size sets a submitter's worst wait
        other,
    };

    explicit Job(Kind kind, std::size_t weight = 1, std::size_t bytes = 0)
        : kind_(kind), weight_(weight), bytes_(bytes) {}
    virtual ~Job() = default;
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;

    virtual void apply(Tables& tables) = 0;
    /// Once it is committed, before anybody is told of it and before the next commit.
    virtual void committed() noexcept {}

    Kind kind() const { return kind_; }
    /// In records.
    std::size_t weight() const { return weight_; }
    /// Of text, to tell a full outbox from a full disk.
    std::size_t bytes() const { return bytes_; }

    /// The drainer has news once this is committed.
    bool makes_work = false;
    /// Records dropped to make room, for the observer.
    std::uint64_t dropped = 0;
    /// Why it was not committed; none where it was.
    std::exception_ptr error;
    std::chrono::steady_clock::time_point deadline;

  private:
    Kind kind_;
    std::size_t weight_;
    std::size_t bytes_;
};

}  // namespace agentsight::outbox
