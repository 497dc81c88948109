#include "worker.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

#include "agentsight/error.hpp"
#include "core/throw_error.hpp"
#include "os/process.hpp"
#include "worker_thread.hpp"

namespace agentsight {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Where another process drains, its progress shows only in the file.
constexpr milliseconds follower_look{20};

/// Deadlines beyond this mean "for ever", those before 0 "now"; neither may overflow the clock.
constexpr std::chrono::hours longest_wait{24 * 365};

steady_clock::time_point after(milliseconds wait) {
    return steady_clock::now() + std::clamp<milliseconds>(wait, milliseconds{0}, longest_wait);
}

/// After close()'s deadline: what ending the aborted exchanges may take.
constexpr milliseconds close_grace{150};

}  // namespace

Worker::Worker(const Settings& settings, std::shared_ptr<outbox::Store> store,
               std::shared_ptr<Relay> relay, const core::Clock& clock, core::Random& random)
    : settings_(settings),
      store_(std::move(store)),
      relay_(std::move(relay)),
      clock_(clock),
      random_(random),
      loop_(std::make_shared<Thread>(*this)),
      fork_generation_(os::fork_generation()) {}

Worker::~Worker() = default;

void Worker::start() {
    left_ = false;
    try {
        const os::SignalsBlocked for_the_thread;
        thread_ = std::thread([self = shared_from_this()] {
            self->thread_id_ = std::this_thread::get_id();
            self->loop_->run();
        });
        running_ = true;
    } catch (const std::system_error&) {
        left_ = true;
        relay_->log(LogLevel::error,
                    "no thread could be started: feedback is kept, nothing is sent until the "
                    "application starts again");
    }
}

void Worker::work_committed() noexcept {
    submitted_ = true;
    loop_->tell_drainer();
}

void Worker::wake() noexcept {
    loop_->wake();
}

bool Worker::enqueue(QueuedSubmit& submit) {
    {
        const std::lock_guard lock(mutex_);
        if (closed_) {
            core::throw_error(errc::closed, "submitting feedback: the manager has been closed");
        }
        if (submits_.size() >= max_queued_submits) {
            return false;
        }
        submits_.push_back(std::move(submit));
    }
    wake();
    return true;
}

/// Numbers what the caller just asked for; the thread has seen it once it answers.
std::uint64_t Worker::request() {
    return ++requested_;
}

bool Worker::flush(milliseconds deadline) {
    if (on_own_thread()) {
        return false;
    }
    const auto until = after(deadline);
    news_ = true;
    std::unique_lock lock(mutex_);
    ++control_.flushes;
    const std::uint64_t asked = request();
    loop_->hurry();
    const auto seen = [&] { return view_.ended || view_.answered >= asked; };
    changed_.wait_until(lock, until, seen);
    bool settled = false;
    bool goes_on = seen();
    while (goes_on) {  // once more only where this process has become the drainer meanwhile
        changed_.wait_until(lock, until, [&] {
            return !view_.draining || view_.ended || view_.settled || view_.needs_person;
        });
        settled = view_.draining && !view_.ended && view_.settled;
        goes_on = !view_.draining && !view_.ended && !view_.needs_person;
        if (goes_on) {
            lock.unlock();
            const std::optional<bool> drained = poll_until_drained(until);
            lock.lock();
            settled = drained.value_or(false);
            goes_on = !drained;
        }
    }
    --control_.flushes;
    request();
    lock.unlock();
    wake();
    return settled;
}

/// Another process drains: looks into the file until nothing waits, or only a person can go
/// on. None: this process drains now.
std::optional<bool> Worker::poll_until_drained(steady_clock::time_point deadline) {
    while (true) {
        const std::uint64_t seen = changes();
        if (drains()) {
            return std::nullopt;
        }
        const Status status = store_->status();
        if (status.waiting == status.waiting_for_other_credential && status.claimed == 0) {
            return true;
        }
        const bool by_person = status.hold && !status.hold->until;
        const auto now = steady_clock::now();
        if (by_person || now >= deadline) {
            return false;
        }
        wait_for_change(seen, std::min(deadline, now + follower_look));
    }
}

bool Worker::on_own_thread() const noexcept {
    return thread_id_.load() == std::this_thread::get_id();
}

bool Worker::drains() {
    const std::lock_guard lock(mutex_);
    return view_.draining;
}

std::uint64_t Worker::changes() {
    const std::lock_guard lock(mutex_);
    return view_.changes;
}

void Worker::wait_for_change(std::uint64_t seen, steady_clock::time_point deadline) {
    if (on_own_thread()) {
        return;
    }
    std::unique_lock lock(mutex_);
    if (!view_.draining) {
        deadline = std::min(deadline, steady_clock::now() + follower_look);
    }
    changed_.wait_until(lock, deadline, [&] { return view_.changes != seen || view_.ended; });
}

void Worker::pause(bool paused) {
    {
        const std::lock_guard lock(mutex_);
        control_.pause = paused;
        request();
    }
    wake();
}

void Worker::set_credential(Credential credential) {
    {
        const std::lock_guard lock(mutex_);
        control_.credential = std::move(credential);
        request();
    }
    wake();
}

void Worker::network_changed() {
    {
        const std::lock_guard lock(mutex_);
        control_.network_changed = true;
        request();
    }
    wake();
}

void Worker::ask_to_close(steady_clock::time_point at) {
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        control_.close_at = control_.close_at ? std::min(*control_.close_at, at) : at;
        request();
    }
    wake();
}

/// Asks first: who closes with less patience than another binds both, and waits for neither.
void Worker::close(milliseconds deadline) {
    if (os::fork_generation() != fork_generation_) {
        return;  // the thread lives in the parent, and our mutex may have been held at the fork
    }
    const auto at = after(deadline);
    ask_to_close(at);
    if (!on_own_thread()) {
        await_end(at + close_grace);
    }
}

/// Of several who wait, the first joins the thread and the others see that done; at its
/// deadline the first gives it up: a callback of the application, or the disk, holds it.
void Worker::await_end(steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    if (left_) {
        return;
    }
    const bool ended = changed_.wait_until(lock, deadline, [&] { return view_.ended; });
    std::thread thread = std::move(thread_);
    if (!thread.joinable()) {
        changed_.wait_until(lock, deadline, [&] { return left_; });
        return;
    }
    lock.unlock();
    ended ? thread.join() : thread.detach();
    lock.lock();
    left_ = true;
    lock.unlock();
    changed_.notify_all();
}

void Worker::shut(milliseconds deadline) {
    close(deadline);
    if (os::fork_generation() == fork_generation_ && on_own_thread()) {
        const std::lock_guard lock(mutex_);
        if (thread_.joinable()) {
            thread_.detach();  // inside a callback: it ends by itself, and keeps us until then
        }
        left_ = true;
    }
}

}  // namespace agentsight
