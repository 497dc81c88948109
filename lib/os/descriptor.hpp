#pragma once

#include <cstdint>

namespace agentsight::os {

/// Owns one open descriptor, close-on-exec, and closes it. A child that fork(2) makes has it
/// closed at once (pthread_atfork), so that no child keeps a lock or a FIFO's end open; there
/// the handle is not valid and its close does nothing.
class Descriptor {
  public:
    Descriptor() = default;
    /// Takes over `value`; negative: none. Throws std::bad_alloc, then `value` is closed.
    explicit Descriptor(int value);
    ~Descriptor() { close(); }
    Descriptor(Descriptor&& other) noexcept;
    Descriptor& operator=(Descriptor&& other) noexcept;

    /// open(2) with O_CLOEXEC, repeated after EINTR; not valid where it failed (errno says why).
    static Descriptor open(const char* path, int flags, unsigned mode = 0);

    /// -1 where none is owned, or in a child of fork(2).
    int value() const noexcept;
    bool valid() const noexcept { return value() >= 0; }
    void close() noexcept;

  private:
    int value_ = -1;
    std::uint64_t generation_ = 0;
};

}  // namespace agentsight::os
