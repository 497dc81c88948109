#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "delivery/engine.hpp"
#include "net/transport.hpp"
#include "os/bell.hpp"
#include "os/boot_timer.hpp"
#include "os/link_watch.hpp"
#include "os/lock_file.hpp"
#include "worker.hpp"

namespace agentsight {

/// The shell around the engine: executes its tasks, waits for what may happen, and steps
/// it again. Everything happens in tick(), posted at most once at a time; between ticks
/// only exchanges are in progress. All members but wake(), hurry() and tell_drainer(): the
/// worker's thread.
class Worker::Thread {
  public:
    Thread(Worker& worker);
    ~Thread();

    void run();  ///< returns when closed; nothing leaves it but by design

    // Any thread.
    void wake() noexcept;
    void tell_drainer() noexcept;  ///< wherever it is, that there is work
    void hurry() noexcept;         ///< that somebody waits; this thread looks at what was asked

  private:
    /// A descriptor of lib/os that the loop watches without owning it.
    class Readable {
      public:
        Readable(boost::asio::io_context& context, std::function<void()> ready);
        ~Readable();
        void watch(int descriptor);
        void unwatch() noexcept;

      private:
        void arm();
        boost::asio::posix::stream_descriptor stream_;
        std::function<void()> ready_;
        std::uint64_t watch_ = 0;
    };

    void tick() noexcept;
    void tick_or_throw();
    template <class Step>
    bool guarded(Step&& step) noexcept;
    void recover(const char* what) noexcept;
    std::chrono::milliseconds pause_left() const;
    void tell_recovery(const char* what, std::chrono::milliseconds pause) noexcept;
    void take_control();
    void commit_queued_submits() noexcept;
    void answer(ConversationManager::SubmitCallback& callback,
                const outbox::SubmitResult& result) noexcept;
    void notice_suspend();

    bool may_drain() const;
    void drain();
    bool become_drainer();
    void watch_links();
    void follow();
    void unfollow() noexcept;
    bool should_make_room() const;
    void resign() noexcept;
    void start_tasks(std::vector<delivery::Task> tasks);
    class Flight;
    boost::asio::awaitable<void> perform(Flight flight, delivery::Task task,
                                         std::uint64_t generation);
    void finish(const delivery::Task& task, std::optional<core::Evidence> evidence,
                std::uint64_t generation) noexcept;
    core::Evidence failed_by_itself(const delivery::Task& task) const;
    void relay_events();
    void arm(std::optional<core::OutboxMs> at);
    void arm_in(std::chrono::milliseconds wait);
    void disarm();
    bool hear_timer() noexcept;
    void time_has_come() noexcept;
    void plan_tidying();
    void tidy_if_idle();
    bool idle() const;

    void begin_close(std::chrono::steady_clock::time_point at);
    void finish_close() noexcept;
    void publish() noexcept;

    Worker& worker_;
    outbox::Store& store_;
    boost::asio::io_context context_{1};
    /// Keeps the loop waiting where nothing is watched (no credential, a follower).
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
    boost::asio::steady_timer timer_;  ///< where there is no boot timer
    os::BootTimer boot_timer_;
    boost::asio::steady_timer close_timer_;
    boost::asio::steady_timer tidy_timer_;

    os::Bell bell_;
    os::DrainerSign sign_;
    os::LockFile queue_;  ///< only to say, or to ask, who waits for the drain lock
    std::optional<os::LinkWatch> link_watch_;
    Readable bell_rung_;
    Readable drainer_gone_;
    Readable link_changed_;
    Readable timer_rang_;

    net::Transport transport_;
    std::unique_ptr<delivery::Engine> engine_;

    std::atomic<bool> tick_posted_ = false;
    std::atomic<bool> tick_owed_ = false;  ///< there was no memory to post it
    bool starved_ = false;                 ///< there was none to set the timer
    std::atomic<bool> draining_ = false;
    bool started_ = false;  ///< the engine has been started since we became the drainer
    int sign_descriptor_ = -1;
    bool following_ = false;                   ///< another drains, and its sign is watched
    std::chrono::milliseconds sign_pause_{0};  ///< until the next look at one without a sign
    bool link_is_watched_ = false;
    bool paused_ = false;
    bool closing_ = false;
    bool ended_ = false;
    bool bell_is_polled_ = false;
    bool no_credential_told_ = false;
    int flushes_ = 0;
    bool hurried_ = false;          ///< by another process: somebody waits there
    std::uint64_t generation_ = 0;  ///< counts engines
    int in_flight_ = 0;
    bool flight_lost_ = false;  ///< one ended before it told what became of it
    int failures_in_row_ = 0;
    std::chrono::steady_clock::time_point not_before_{};  ///< the pause after a failure ends then
    Credential::Kind kind_;
    std::uint64_t seen_request_ = 0;
    std::uint64_t news_heard_ = 0;
    std::uint64_t tidied_ = 0;  ///< the store's commits when it was last tidied
    bool tidying_planned_ = false;
    std::chrono::steady_clock::time_point close_at_;
    std::int64_t suspend_offset_ = 0;
};

}  // namespace agentsight
