#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// Stands between lib/os and the C library in this test program: records what is synced and
/// made, in order; makes the n-th call fail; answers statfs(2) as another file system would.
/// What it is told, by one thread while no other calls; without that any may call.
namespace agentsight::test {

/// "mkdir PATH" and "fsync PATH" while it lives.
class CallRecord {
  public:
    CallRecord();
    ~CallRecord();
    CallRecord(const CallRecord&) = delete;
    CallRecord& operator=(const CallRecord&) = delete;
    const std::vector<std::string>& calls() const { return calls_; }
    void add(std::string call) { calls_.push_back(std::move(call)); }

  private:
    std::vector<std::string> calls_;
};

/// How often a file's times were asked for so far, by any of the calls that tell them.
int times_asked_for();

/// The call number `at` (from 0), and with `for_ever` all after it, fail with `error`.
class Fault {
  public:
    Fault(int at, int error, bool for_ever = false);
    ~Fault();
    Fault(const Fault&) = delete;
    Fault& operator=(const Fault&) = delete;
    /// Whether a call has failed: false means that there were fewer.
    bool struck() const { return struck_; }
    bool strikes();
    int error() const { return error_; }

  private:
    int left_;
    int error_;
    bool for_ever_;
    bool struck_ = false;
};

/// What statfs(2) says while it lives.
class FakeFileSystem {
  public:
    explicit FakeFileSystem(std::uint64_t type);
    ~FakeFileSystem();
    FakeFileSystem(const FakeFileSystem&) = delete;
    FakeFileSystem& operator=(const FakeFileSystem&) = delete;
};

}  // namespace agentsight::test
