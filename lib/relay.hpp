#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "agentsight/events.hpp"
#include "core/uuid.hpp"

namespace agentsight {

/// Carries events and callbacks to the application, one at a time and in order: queued by
/// any thread, run by the worker's (or handed to Options::dispatch there). Bounded: beyond
/// `max_queued` events that have not run, here or in the application's loop, more are dropped
/// and their number is told; callbacks are never dropped, their number is bounded by the queue
/// of submits they answer. Held by shared_ptr: what was handed to the application's own loop
/// may run after the manager is gone.
class Relay : public std::enable_shared_from_this<Relay> {
  public:
    static constexpr std::size_t max_queued = 65'536;

    Relay(Observer observer, LogSink log, std::function<void(std::function<void()>)> dispatch);

    /// Whether posting events is worth the trouble.
    bool listens() const { return observer_ != nullptr || log_ != nullptr; }

    /// Where there is no memory for it, it counts as dropped.
    void post(Event event) noexcept;
    /// Posts event::Submitted, with nothing of the application's run here: the outbox is locked.
    void submitted(const core::Uuid& id) noexcept;
    /// The log's line for it, when the outbox is not.
    void log_submitted(const std::string& id) noexcept;
    void call(std::function<void()> callback);
    /// Hands over all that is queued. Exceptions of the application stop here; what its
    /// dispatch refuses by one runs here. The worker's thread.
    void run() noexcept;
    /// Any thread, at once; silent without a sink.
    void log(LogLevel level, std::string_view line) noexcept;

    /// How many exceptions the application's callbacks threw.
    std::uint64_t exceptions() const noexcept { return exceptions_; }

  private:
    /// Something for the application, and what counts it as long as it exists.
    struct Item {
        Item(std::function<void()> given, std::atomic<std::size_t>* count);
        ~Item();
        Item(Item&& other) noexcept;
        Item& operator=(Item&&) = delete;
        std::function<void()> call;
        std::atomic<std::size_t>* counted;
    };
    struct Task;

    void describe(const Event& event);
    void enqueue(Event event);
    void hand_over(Item item) noexcept;
    void invoke(const Item& item) noexcept;
    void tell_dropped();
    void note_exception() noexcept;

    const Observer observer_;
    const LogSink log_;
    const std::function<void(std::function<void()>)> dispatch_;
    std::atomic<std::size_t> events_queued_ = 0;
    std::atomic<std::uint64_t> dropped_ = 0;
    std::atomic<std::uint64_t> exceptions_ = 0;
    std::atomic<bool> tells_dropped_ = false;  ///< an alarm about them is on its way
    std::mutex mutex_;
    std::deque<Item> queue_;
    std::deque<Item> ready_;  ///< of run(), kept so that it needs no memory
    std::mutex log_mutex_;
};

}  // namespace agentsight
