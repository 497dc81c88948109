#include "relay.hpp"

#include <string>
#include <utility>

namespace agentsight {
namespace {

struct Line {
    LogLevel level;
    std::string text;
};

std::string with_answer(std::string text, int status, const std::string& detail) {
    if (status != 0) {
        text += " (" + std::to_string(status) + (detail.empty() ? "" : " " + detail) + ')';
    } else if (!detail.empty()) {
        text += " (" + detail + ')';
    }
    return text;
}

/// The log's words for an event; they hold ids and the server's words, never feedback text.
struct Describe {
    Line operator()(const event::Submitted& e) const {
        return {LogLevel::debug, "record " + e.id + " submitted"};
    }
    Line operator()(const event::Delivered& e) const {
        return {LogLevel::debug, "record " + e.id + " delivered as " + e.server_id};
    }
    Line operator()(const event::AttemptFailed& e) const {
        return {LogLevel::info,
                with_answer("attempt for record " + e.id + " failed", e.status, e.detail)};
    }
    Line operator()(const event::Held& e) const {
        return {LogLevel::warning, with_answer("outbox holds: " + std::string(to_string(e.reason)),
                                               e.status, e.detail)};
    }
    Line operator()(const event::Released& e) const {
        return {LogLevel::info, "hold ended: " + std::string(to_string(e.reason))};
    }
    Line operator()(const event::DeadLetter& e) const {
        return {LogLevel::warning,
                with_answer("record " + e.id + " is a dead letter", e.status, e.detail)};
    }
    Line operator()(const event::Salvaged& e) const {
        return {LogLevel::error, "outbox was damaged: " + std::to_string(e.rescued) +
                                     " records rescued, the damaged file is kept as " + e.moved_to};
    }
    Line operator()(const event::Dropped& e) const {
        return {LogLevel::warning,
                std::to_string(e.count) + " oldest records dropped: the outbox is full"};
    }
    Line operator()(const event::Alarm& e) const { return {LogLevel::error, e.detail}; }
};

}  // namespace

Relay::Relay(Observer observer, LogSink log, std::function<void(std::function<void()>)> dispatch)
    : observer_(std::move(observer)), log_(std::move(log)), dispatch_(std::move(dispatch)) {}

void Relay::post(Event event) {
    if (log_) {
        const Line line = std::visit(Describe{}, event);
        log(line.level, line.text);
    }
    if (!observer_) {
        return;
    }
    const std::lock_guard lock(mutex_);
    if (events_queued_ >= max_queued) {
        ++dropped_;
        return;
    }
    ++events_queued_;
    queue_.emplace_back([this, event = std::move(event)] { observer_(event); });
}

void Relay::call(std::function<void()> callback) {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(callback));
}

void Relay::run() {
    std::deque<std::function<void()>> ready;
    std::uint64_t dropped = 0;
    {
        const std::lock_guard lock(mutex_);
        ready.swap(queue_);
        events_queued_ = 0;
        dropped = std::exchange(dropped_, 0);
    }
    for (std::function<void()>& callback : ready) {
        hand_over(std::move(callback));
    }
    if (dropped != 0) {
        post(event::Alarm{std::to_string(dropped) + " events were dropped: the observer is slow"});
    }
}

void Relay::hand_over(std::function<void()> callback) noexcept {
    try {
        if (dispatch_) {
            dispatch_([self = shared_from_this(), callback = std::move(callback)] {
                try {
                    callback();
                } catch (...) {
                    self->note_exception();
                }
            });
        } else {
            callback();
        }
    } catch (...) {
        note_exception();
    }
}

void Relay::note_exception() noexcept {
    {
        const std::lock_guard lock(mutex_);
        ++exceptions_;
    }
    log(LogLevel::error, "a callback of the application threw an exception: it was ignored");
}

void Relay::log(LogLevel level, std::string_view line) noexcept {
    // A sink that calls the library would otherwise wait for itself, or recurse for ever.
    thread_local bool logging = false;
    if (!log_ || logging) {
        return;
    }
    logging = true;
    try {
        const std::lock_guard lock(log_mutex_);
        log_(level, line);
    } catch (...) {
        // A sink that throws has nowhere to be reported.
    }
    logging = false;
}

std::uint64_t Relay::exceptions() const {
    const std::lock_guard lock(mutex_);
    return exceptions_;
}

}  // namespace agentsight
