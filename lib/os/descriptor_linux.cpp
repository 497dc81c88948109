#include "os/descriptor.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <utility>
#include <vector>

#include "os/no_fork.hpp"
#include "os/process.hpp"

namespace agentsight::os {
namespace {

std::atomic<std::uint64_t> generation{0};

/// The open descriptors. The lock is held across open(2) and across fork(2), so that no
/// child ever inherits one that the table does not know.
class Table {
  public:
    Table() {
        pthread_atfork(
            [] {
                begin_fork();
                Table::instance().mutex_.lock();
            },
            [] {
                Table::instance().mutex_.unlock();
                end_fork_in_parent();
            },
            [] {
                Table::instance().in_child();
                end_fork_in_child();
            });
    }
    /// Never destroyed: static objects of the application may still own descriptors at exit.
    static Table& instance() {
        static Table* const table = new Table;
        return *table;
    }

    int open(const char* path, int flags, unsigned mode) {
        const std::lock_guard lock{mutex_};
        int value = -1;
        do {
            value = ::open(path, flags | O_CLOEXEC, static_cast<mode_t>(mode));
        } while (value < 0 && errno == EINTR);
        if (value >= 0) {
            keep(value);
        }
        return value;
    }
    void adopt(int value) {
        const std::lock_guard lock{mutex_};
        keep(value);
    }
    void close(int value) noexcept {
        const std::lock_guard lock{mutex_};
        std::erase(values_, value);
        ::close(value);  // not repeated after EINTR: on Linux the descriptor is gone by then
    }

  private:
    void keep(int value) {
        try {
            values_.push_back(value);
        } catch (...) {
            ::close(value);
            throw;
        }
    }
    void in_child() {
        for (const int value : values_) {
            ::close(value);
        }
        values_.clear();
        generation.fetch_add(1, std::memory_order_relaxed);
        mutex_.unlock();
    }

    std::mutex mutex_;
    std::vector<int> values_;
};

}  // namespace

std::uint64_t fork_generation() noexcept {
    Table::instance();  // registers the handlers
    return generation.load(std::memory_order_relaxed);
}

Descriptor::Descriptor(int value) : value_{value}, generation_{fork_generation()} {
    if (value_ >= 0) {
        Table::instance().adopt(value_);
    }
}

Descriptor::Descriptor(Descriptor&& other) noexcept
    : value_{std::exchange(other.value_, -1)}, generation_{other.generation_} {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    if (this != &other) {
        close();
        value_ = std::exchange(other.value_, -1);
        generation_ = other.generation_;
    }
    return *this;
}

Descriptor Descriptor::open(const char* path, int flags, unsigned mode) {
    Descriptor opened;
    opened.generation_ = fork_generation();
    opened.value_ = Table::instance().open(path, flags, mode);
    return opened;
}

int Descriptor::value() const noexcept {
    return generation_ == generation.load(std::memory_order_relaxed) ? value_ : -1;
}

void Descriptor::close() noexcept {
    const int value = this->value();
    value_ = -1;
    if (value >= 0) {
        Table::instance().close(value);
    }
}

}  // namespace agentsight::os
