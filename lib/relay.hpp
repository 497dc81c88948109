#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>

#include "agentsight/events.hpp"

namespace agentsight {

/// Carries events and callbacks to the application, one at a time and in order: queued by
/// any thread, run by the worker's (or handed to Options::dispatch there). Bounded: beyond
/// `max_queued` events are dropped and their number is told; callbacks are never dropped,
/// their number is bounded by the queue of submits they answer. Held by shared_ptr: what was
/// handed to the application's own loop may run after the manager is gone.
class Relay : public std::enable_shared_from_this<Relay> {
  public:
    static constexpr std::size_t max_queued = 65'536;

    Relay(Observer observer, LogSink log, std::function<void(std::function<void()>)> dispatch);

    /// Whether posting events is worth the trouble.
    bool listens() const { return observer_ != nullptr || log_ != nullptr; }

    void post(Event event);
    void call(std::function<void()> callback);
    /// Hands over all that is queued. Exceptions of the application stop here.
    void run();
    /// Any thread, at once; silent without a sink.
    void log(LogLevel level, std::string_view line) noexcept;

    /// How many exceptions the application's callbacks threw.
    std::uint64_t exceptions() const;

  private:
    void hand_over(std::function<void()> callback) noexcept;
    void note_exception() noexcept;

    const Observer observer_;
    const LogSink log_;
    const std::function<void(std::function<void()>)> dispatch_;
    mutable std::mutex mutex_;
    std::deque<std::function<void()>> queue_;
    std::size_t events_queued_ = 0;
    std::uint64_t dropped_ = 0;
    std::uint64_t exceptions_ = 0;
    std::mutex log_mutex_;
};

}  // namespace agentsight
