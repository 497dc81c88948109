#include "outbox/commit_queue.hpp"

#include <algorithm>
#include <utility>

#include "agentsight/error.hpp"
#include "core/throw_error.hpp"
#include "os/process.hpp"

namespace agentsight::outbox {

namespace {

/// Records a commit; sets the worst wait of those that come while it runs.
constexpr std::size_t max_batch_weight = 64;

}  // namespace

CommitQueue::CommitQueue(Writer& writer, std::function<void()> on_work,
                         std::function<void(const Event&)> on_event)
    : writer_(writer), on_work_(std::move(on_work)), on_event_(std::move(on_event)) {
    batch_.reserve(max_batch_weight);
    jobs_.reserve(max_batch_weight);
}

CommitQueue::Place CommitQueue::enter(Job* job) {
    const std::lock_guard lock{mutex_};
    if (closed_) {
        core::throw_error(errc::closed, "the outbox has been closed");
    }
    if (free_waiters_.empty()) {
        waiters_.emplace_back();
        free_waiters_.reserve(waiters_.size());
        free_waiters_.push_back(&waiters_.back());
    }
    Waiter* waiter = free_waiters_.back();
    waiter->word.reset(static_cast<int>(Word::waiting));
    const bool leads = !std::exchange(led_, true);
    try {
        if (job != nullptr || !leads) {
            entries_.push_back({job, waiter});
        }
    } catch (...) {
        led_ = !leads && led_;
        throw;
    }
    free_waiters_.pop_back();
    return {waiter, leads};
}

void CommitQueue::leave(Waiter* waiter) noexcept {
    const std::lock_guard lock{mutex_};
    free_waiters_.push_back(waiter);  // room was reserved when it was made
}

void CommitQueue::run(Job& job) {
    const Place place = enter(&job);
    bool leads = place.leads;
    if (!leads) {
        leads = place.waiter->wait() == Word::leads;
    }
    if (leads) {
        lead(place.waiter, job.weight() >= max_batch_weight);  // an import is a batch by itself
    }
    leave(place.waiter);
    if (leads) {
        report();
    }
}

void CommitQueue::run_alone(const std::function<void()>& work) {
    const Place place = enter(nullptr);
    if (!place.leads) {
        place.waiter->wait();
    }
    std::exception_ptr error;
    try {
        work();
    } catch (...) {
        error = std::current_exception();
    }
    hand_over();
    leave(place.waiter);
    report();
    if (error) {
        std::rethrow_exception(error);
    }
}

void CommitQueue::lead(Waiter* own, bool fills_a_batch) noexcept {
    // Bounded: every job's own deadline ends its waiting for the lock.
    while (!lead_once(own, fills_a_batch)) {
    }
    hand_over();
}

/// True once the leader's own job is done.
bool CommitQueue::lead_once(Waiter* own, bool fills_a_batch) {
    if (!fills_a_batch) {
        // Those just told come back within this one turn of the processor: fuller batches, and
        // nothing lost for a lone caller.
        os::yield_processor();
    }
    take_batch();
    std::vector<Job*> later;
    try {
        later = writer_.commit(jobs_, on_work_);
    } catch (...) {
        for (Job* job : jobs_) {
            job->error = std::current_exception();
        }
    }
    take_out_all_but(later);
    bool own_done = false;
    for (const Entry& entry : batch_) {
        if (std::find(later.begin(), later.end(), entry.job) != later.end()) {
            continue;
        }
        if (entry.waiter == own) {
            own_done = true;
            continue;
        }
        entry.waiter->tell(Word::done);
    }
    writer_.after_telling();
    return own_done;
}

void CommitQueue::take_batch() {
    const std::lock_guard lock{mutex_};
    batch_.clear();
    jobs_.clear();
    std::size_t weight = 0;
    bool drains = false;
    for (const Entry& entry : entries_) {
        if (entry.job == nullptr || batch_.size() == max_batch_weight) {
            break;  // it wants to lead by itself, at its turn
        }
        const bool drain = entry.job->kind() == Job::Kind::drain;
        weight += entry.job->weight();
        if (!batch_.empty() && (weight > max_batch_weight || (drain && drains))) {
            break;
        }
        drains = drains || drain;
        batch_.push_back(entry);
        jobs_.push_back(entry.job);
    }
}

/// The batch stood at the front all the while: what is put off keeps its place, and nothing can
/// fail between a commit and the word of it.
void CommitQueue::take_out_all_but(const std::vector<Job*>& later) noexcept {
    const std::lock_guard lock{mutex_};
    const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(batch_.size());
    // Moved backwards, as a deque gives up its front without moving the rest.
    auto first_kept = end;
    for (auto entry = end; entry != entries_.begin();) {
        --entry;
        if (std::find(later.begin(), later.end(), entry->job) != later.end()) {
            *--first_kept = *entry;
        }
    }
    entries_.erase(entries_.begin(), first_kept);
}

void CommitQueue::hand_over() noexcept {
    const std::lock_guard lock{mutex_};
    if (entries_.empty()) {
        led_ = false;
        idle_.notify_all();
        return;
    }
    const Entry next = entries_.front();
    if (next.job == nullptr) {
        entries_.pop_front();
    }
    next.waiter->tell(Word::leads);
}

void CommitQueue::report() {
    if (!on_event_) {
        return;
    }
    std::vector<Event> events;
    {
        const std::lock_guard lock{mutex_};
        if (led_ || entries_.size() > 0) {
            return;  // the next leader will
        }
        events = writer_.take_events();
    }
    for (const Event& event : events) {
        on_event_(event);
    }
}

std::size_t CommitQueue::waiting() {
    const std::lock_guard lock{mutex_};
    return entries_.size();
}

void CommitQueue::close() noexcept {
    std::unique_lock lock{mutex_};
    closed_ = true;
    idle_.wait(lock, [this] { return !led_ && entries_.empty(); });
}

}  // namespace agentsight::outbox
