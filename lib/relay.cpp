#include "relay.hpp"

#include <utility>

#include "core/text.hpp"

namespace agentsight {
namespace {

struct Line {
    LogLevel level;
    std::string text;
};

std::string with_answer(std::string text, int status, const std::string& detail) {
    if (status != 0) {
        text +=
            core::joined({" (", std::to_string(status), detail.empty() ? "" : " ", detail, ")"});
    } else if (!detail.empty()) {
        text += core::joined({" (", detail, ")"});
    }
    return text;
}

/// The log's words for an event; they hold ids and the server's words, never feedback text.
struct Describe {
    Line operator()(const event::Submitted& e) const {
        return {LogLevel::debug, core::joined({"record ", e.id, " submitted"})};
    }
    Line operator()(const event::Delivered& e) const {
        return {LogLevel::debug, core::joined({"record ", e.id, " delivered as ", e.server_id})};
    }
    Line operator()(const event::AttemptFailed& e) const {
        return {LogLevel::info, with_answer(core::joined({"attempt for record ", e.id, " failed"}),
                                            e.status, e.detail)};
    }
    Line operator()(const event::Held& e) const {
        return {
            LogLevel::warning,
            with_answer(core::joined({"outbox holds: ", to_string(e.reason)}), e.status, e.detail)};
    }
    Line operator()(const event::Released& e) const {
        return {LogLevel::info, core::joined({"hold ended: ", to_string(e.reason)})};
    }
    Line operator()(const event::DeadLetter& e) const {
        return {LogLevel::warning, with_answer(core::joined({"record ", e.id, " is a dead letter"}),
                                               e.status, e.detail)};
    }
    Line operator()(const event::Salvaged& e) const {
        return {LogLevel::error,
                core::joined({"outbox was damaged: ", std::to_string(e.rescued),
                              " records rescued, the damaged file is kept as ", e.moved_to})};
    }
    Line operator()(const event::Dropped& e) const {
        return {LogLevel::warning,
                std::to_string(e.count) + " oldest records dropped: the outbox is full"};
    }
    Line operator()(const event::Alarm& e) const { return {LogLevel::error, e.detail}; }
};

}  // namespace

Relay::Item::Item(std::function<void()> given, std::atomic<std::size_t>* count)
    : call(std::move(given)), counted(count) {
    if (counted) {
        ++*counted;
    }
}

Relay::Item::~Item() {
    if (counted) {
        --*counted;
    }
}

Relay::Item::Item(Item&& other) noexcept
    : call(std::move(other.call)), counted(std::exchange(other.counted, nullptr)) {}

/// An item in the application's loop. It runs once, also where dispatch kept it and threw.
struct Relay::Task {
    Task(std::shared_ptr<Relay> owner, Item& given)
        : relay(std::move(owner)), item(std::move(given)) {}

    void run() noexcept {
        if (!begun.exchange(true)) {
            relay->invoke(item);
        }
    }

    const std::shared_ptr<Relay> relay;
    const Item item;
    std::atomic<bool> begun = false;
};

Relay::Relay(Observer observer, LogSink log, std::function<void(std::function<void()>)> dispatch)
    : observer_(std::move(observer)), log_(std::move(log)), dispatch_(std::move(dispatch)) {}

void Relay::describe(const Event& event) {
    if (log_) {
        const Line line = std::visit(Describe{}, event);
        log(line.level, line.text);
    }
}

void Relay::enqueue(Event event) {
    if (!observer_) {
        return;
    }
    const std::lock_guard lock(mutex_);
    if (events_queued_ >= max_queued) {
        ++dropped_;
        return;
    }
    queue_.emplace_back([this, event = std::move(event)] { observer_(event); }, &events_queued_);
}

void Relay::post(Event event) noexcept {
    try {
        describe(event);
        enqueue(std::move(event));
    } catch (...) {
        ++dropped_;
    }
}

void Relay::submitted(const core::Uuid& id) noexcept {
    try {
        enqueue(event::Submitted{id.text()});
    } catch (...) {
        ++dropped_;
    }
}

void Relay::log_submitted(const std::string& id) noexcept {
    try {
        describe(event::Submitted{id});
    } catch (...) {
        // A line less, of a sink that hears everything.
    }
}

void Relay::call(std::function<void()> callback) {
    const std::lock_guard lock(mutex_);
    queue_.emplace_back(std::move(callback), nullptr);
}

void Relay::run() noexcept {
    {
        const std::lock_guard lock(mutex_);
        ready_.swap(queue_);
    }
    for (Item& item : ready_) {
        hand_over(std::move(item));
    }
    ready_.clear();
    if (dropped_ != 0 && !tells_dropped_.exchange(true)) {
        hand_over({[this] { tell_dropped(); }, nullptr});
    }
}

/// One alarm at a time: it tells of all that were dropped until it runs.
void Relay::tell_dropped() {
    tells_dropped_ = false;
    const Event event = event::Alarm{std::to_string(dropped_.exchange(0)) +
                                     " events were dropped: the observer is slow"};
    describe(event);
    if (observer_) {
        observer_(event);
    }
}

void Relay::hand_over(Item item) noexcept {
    std::shared_ptr<Task> task;
    if (dispatch_) {
        try {
            task = std::make_shared<Task>(shared_from_this(), item);
            dispatch_([task] { task->run(); });
            return;
        } catch (...) {
            note_exception();
        }
    }
    task ? task->run() : invoke(item);
}

void Relay::invoke(const Item& item) noexcept {
    try {
        item.call();
    } catch (...) {
        note_exception();
    }
}

void Relay::note_exception() noexcept {
    ++exceptions_;
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

}  // namespace agentsight
