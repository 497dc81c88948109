#include "net/turns.hpp"

#include <algorithm>

#include "core/text.hpp"
#include "net/wording.hpp"

namespace agentsight::net {

namespace asio = boost::asio;
using core::Failure;
using std::chrono::milliseconds;

struct Turns::Waiter {
    Waiter(const asio::any_io_executor& executor, bool& slot) : gate(executor), granted(slot) {}
    Gate gate;
    bool& granted;  ///< the turn's
};

Turns::Turns(asio::io_context& context, Watchdog& watchdog, std::size_t slots, Timeouts timeouts)
    : context_(context),
      watchdog_(watchdog),
      timeouts_(timeouts),
      free_slots_(std::max<std::size_t>(slots, 1)) {}

SteadyTime Turns::look(SteadyTime now) {
    SteadyTime next = SteadyTime::max();
    for (Turn* turn : turns_) {
        if (turn->leash.deadline <= now) {
            turn->leash.pull(Failure::timeout);
        } else {
            next = std::min(next, turn->leash.deadline);
        }
    }
    return next;
}

void Turns::abort() {
    // Pulling resumes nothing now: what it ends is posted, so the list stays as it is.
    for (Turn* turn : turns_) {
        turn->leash.pull(Failure::aborted);
    }
}

void Turns::release_slot() {
    if (waiting_.empty()) {
        ++free_slots_;
        return;
    }
    Waiter* next = waiting_.front();
    waiting_.erase(waiting_.begin());
    next->granted = true;
    next->gate.open();
}

Turn::Turn(Turns& all) : all_(all), began_(std::chrono::steady_clock::now()) {
    all_.turns_.push_back(this);
    if (all_.shut_) {
        leash.pull(Failure::aborted);
    }
    try {
        limit(all_.timeouts_.request);
    } catch (...) {
        std::erase(all_.turns_, this);
        throw;
    }
}

Turn::~Turn() {
    std::erase(all_.turns_, this);
    if (has_slot_) {
        all_.release_slot();
    }
}

bool Turn::try_slot() noexcept {
    if (all_.free_slots_ > 0) {
        --all_.free_slots_;
        has_slot_ = true;
    }
    return has_slot_;
}

/// A place in the queue; a slot granted while it is left goes to the turn all the same.
struct Turns::Place {
    Place(Turns& turns, Waiter& one) : all(turns), waiter(one) { all.waiting_.push_back(&waiter); }
    ~Place() { std::erase(all.waiting_, &waiter); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    Turns& all;
    Waiter& waiter;
};

asio::awaitable<void> Turn::wait_for_slot() {
    Turns::Waiter waiter{all_.context_.get_executor(), has_slot_};
    const Tie tie{leash, waiter.gate};
    const Turns::Place place{all_, waiter};
    co_await waiter.gate.wait();
}

void Turn::connecting() {
    const auto spent =
        std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began_);
    limit(std::min(spent + all_.timeouts_.connect, all_.timeouts_.request));
}

void Turn::connected() {
    limit(all_.timeouts_.request);
}

void Turn::limit(milliseconds timeout) {
    timeout_ = timeout;
    leash.deadline = began_ + timeout;
    if (!all_.shut_) {
        all_.watchdog_.watch(leash.deadline);
    }
}

void Turn::explain(core::Evidence& evidence, const std::string& whom) const {
    const std::string where = core::joined({" (", stage, ", ", whom, ")"});
    if (leash.why() == Failure::timeout) {
        fail(evidence, Failure::timeout,
             core::joined({"not done within ", in_words(timeout_), where}));
    } else {
        fail(evidence, leash.why(), "stopped" + where);
    }
}

}  // namespace agentsight::net
