#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "os/word.hpp"
#include "outbox/job.hpp"
#include "outbox/writer.hpp"

namespace agentsight::outbox {

/// Group commit: the caller that finds the writer free leads, commits for all that wait,
/// and hands the lead to the first of those that came meanwhile. No thread of its own, no
/// added wait for a lone caller. Any thread. The queue's mutex is never held across I/O.
class CommitQueue {
  public:
    CommitQueue(Writer& writer, std::function<void()> on_work,
                std::function<void(const Event&)> on_event);

    /// Returns once the job is committed or has its error. Throws Error (closed).
    void run(Job& job);

    /// Does `work` as the leader, with nobody committing meanwhile. Throws Error (closed).
    void run_alone(const std::function<void()>& work);

    /// What is queued is still committed; then every call fails with errc::closed.
    void close() noexcept;

    /// Tells what happened, unless somebody commits: then the last of those does.
    void report();

    /// Calls that are queued, those being committed included.
    std::size_t waiting();

  private:
    enum class Word : int { waiting, leads, done };
    /// Each waits on a word of its own. The words are the queue's, not the caller's: a
    /// leader may still be waking one whose caller has returned.
    struct Waiter {
        void tell(Word news) noexcept { word.tell(static_cast<int>(news)); }
        Word wait() noexcept {
            return static_cast<Word>(word.wait_while(static_cast<int>(Word::waiting)));
        }
        os::Word word;
    };
    struct Entry {
        Job* job = nullptr;  ///< none: only wants to lead
        Waiter* waiter = nullptr;
    };

    struct Place {
        Waiter* waiter = nullptr;
        bool leads = false;
    };
    Place enter(Job* job);
    void leave(Waiter* waiter) noexcept;
    void lead(Waiter* own, bool fills_a_batch) noexcept;
    bool lead_once(Waiter* own, bool fills_a_batch);
    void take_batch();
    void take_out_all_but(const std::vector<Job*>& later) noexcept;
    void hand_over() noexcept;

    Writer& writer_;
    std::function<void()> on_work_;
    std::function<void(const Event&)> on_event_;
    std::mutex mutex_;
    std::condition_variable idle_;
    std::deque<Entry> entries_;  ///< the leader's batch first, until it is done
    std::deque<Waiter> waiters_;
    std::vector<Waiter*> free_waiters_;
    std::vector<Entry> batch_;  ///< the leader's; here so that leading allocates nothing
    std::vector<Job*> jobs_;
    bool led_ = false;
    bool closed_ = false;
};

}  // namespace agentsight::outbox
