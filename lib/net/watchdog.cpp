#include "net/watchdog.hpp"

#include <utility>

namespace agentsight::net {

/// Shared with the timer's handler, which may still be queued when the watchdog is gone.
struct Watchdog::State : std::enable_shared_from_this<State> {
    State(boost::asio::io_context& context, Look given) : timer(context), look(std::move(given)) {}

    void watch(SteadyTime at) {
        if (watching && *watching <= at) {
            return;
        }
        watching.reset();
        timer.expires_at(at);
        timer.async_wait([weak = weak_from_this()](const boost::system::error_code& cancelled) {
            const auto self = weak.lock();
            if (self && self->look && !cancelled) {
                self->fired();
            }
        });
        watching = at;  // not where there was no memory for it
    }

    void fired() {
        watching.reset();
        const SteadyTime next = look(std::chrono::steady_clock::now());
        if (next != SteadyTime::max()) {
            watch(next);
        }
    }

    void rest() noexcept {
        if (std::exchange(watching, std::nullopt)) {
            timer.cancel();
        }
    }

    boost::asio::steady_timer timer;
    Look look;
    std::optional<SteadyTime> watching;
};

Watchdog::Watchdog(boost::asio::io_context& context, Look look)
    : state_(std::make_shared<State>(context, std::move(look))) {}

Watchdog::~Watchdog() {
    state_->rest();
    state_->look = nullptr;
}

void Watchdog::watch(SteadyTime at) {
    state_->watch(at);
}

void Watchdog::rest() noexcept {
    state_->rest();
}

}  // namespace agentsight::net
