#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "agentsight/conversation_manager.hpp"
#include "core/random.hpp"
#include "core/time.hpp"
#include "outbox/store.hpp"
#include "relay.hpp"
#include "settings.hpp"

namespace agentsight {

/// A feedback on its way to the disk by the worker's thread.
struct QueuedSubmit {
    outbox::Submission submission;
    ConversationManager::SubmitCallback callback;
};

/// The one thread that drains: it runs the engine's decisions over Asio, rings and hears
/// the bell, takes and gives the drain lock, commits asynchronous submits, and runs the
/// application's callbacks. Idle, it makes no system call and arms no timer.
///
/// Members are for any thread. The thread keeps the worker alive until it ends.
class Worker : public std::enable_shared_from_this<Worker> {
  public:
    Worker(const Settings& settings, std::shared_ptr<outbox::Store> store,
           std::shared_ptr<Relay> relay, const core::Clock& clock, core::Random& random);
    ~Worker();

    /// Starts the thread. Where that fails (a limit on threads), submits still work and
    /// nothing is sent: the log says so.
    void start();

    /// The store committed work: called before anybody is told, from any thread.
    void work_committed() noexcept;
    /// Something else happened that the thread should look at.
    void wake() noexcept;

    static constexpr std::size_t max_queued_submits = 1'024;
    /// False when full; the callback then was not taken. Throws errc::closed.
    bool enqueue(QueuedSubmit& submit);

    /// False at once on the worker's own thread, which cannot wait for itself.
    bool flush(std::chrono::milliseconds deadline);
    /// Counts what may have changed the outbox: read it, look, then wait_for_change().
    std::uint64_t changes();
    /// Returns when there was a change since `seen`, or at `deadline`; at once on the worker's
    /// own thread.
    void wait_for_change(std::uint64_t seen, std::chrono::steady_clock::time_point deadline);
    /// In a callback of the application that the worker runs.
    bool on_own_thread() const noexcept;
    /// False where no thread could be started: then nobody serves enqueue().
    bool has_thread() const noexcept { return running_; }

    void pause(bool paused);
    void set_credential(Credential credential);
    void network_changed();
    /// The earliest deadline anybody gave binds. On the worker's own thread it only asks for
    /// the end, and returns; in a forked child it does nothing.
    void close(std::chrono::milliseconds deadline);
    /// The same for the last owner: afterwards the thread keeps itself alive, if need be.
    void shut(std::chrono::milliseconds deadline);

  private:
    class Thread;  // what only the worker's thread touches

    struct Control {
        std::optional<Credential> credential;
        std::optional<bool> pause;
        bool network_changed = false;
        int flushes = 0;
        std::optional<std::chrono::steady_clock::time_point> close_at;
    };
    /// What the thread last published.
    struct View {
        std::uint64_t answered = 0;  ///< the newest request it has seen
        std::uint64_t changes = 0;   ///< commits of ours, and news of others'
        bool draining = false;
        bool settled = false;
        bool needs_person = false;
        bool ended = false;
        bool operator==(const View&) const = default;
    };

    std::uint64_t request();
    void ask_to_close(std::chrono::steady_clock::time_point at);
    void await_end(std::chrono::steady_clock::time_point deadline);
    bool drains();
    std::optional<bool> poll_until_drained(std::chrono::steady_clock::time_point deadline);

    const Settings settings_;
    const std::shared_ptr<outbox::Store> store_;
    const std::shared_ptr<Relay> relay_;
    const core::Clock& clock_;
    core::Random& random_;

    std::mutex mutex_;
    std::condition_variable changed_;
    Control control_;
    View view_;
    std::uint64_t requested_ = 0;
    std::vector<QueuedSubmit> submits_;
    std::atomic<bool> closed_ = false;
    std::atomic<bool> running_ = false;  ///< the thread was started
    std::atomic<std::thread::id> thread_id_;
    std::atomic<bool> news_ = true;        ///< somebody changed the outbox
    std::atomic<bool> submitted_ = false;  ///< this process has

    std::shared_ptr<Thread> loop_;
    std::thread thread_;
    bool left_ = true;  ///< no thread, or it is joined, or given up
    const std::uint64_t fork_generation_;
};

}  // namespace agentsight
