#pragma once

#include <chrono>

#include "core/exchange.hpp"

namespace agentsight::net {

/// Something a coroutine waits on that can be made to end at once.
class Stoppable {
  public:
    virtual void stop() noexcept = 0;

  protected:
    ~Stoppable() = default;
};

/// What one exchange is held by: its deadline, and abort(). Pulled once, it ends whatever
/// the exchange waits on at that moment; the exchange asks why() afterwards. This is used
/// instead of Asio's cancellation slots because a resolver's thread knows none.
class Leash {
  public:
    std::chrono::steady_clock::time_point deadline;

    void pull(core::Failure why) noexcept {
        if (pulled()) {
            return;
        }
        why_ = why;
        if (tied_ != nullptr) {
            tied_->stop();
        }
    }
    bool pulled() const noexcept { return why_ != core::Failure::none; }
    core::Failure why() const noexcept { return why_; }

  private:
    friend class Tie;
    Stoppable* tied_ = nullptr;
    core::Failure why_ = core::Failure::none;
};

/// For its lifetime, pulling `leash` stops `what`; at once where it was pulled before.
class Tie {
  public:
    Tie(Leash& leash, Stoppable& what) noexcept : leash_(leash), outer_(leash.tied_) {
        leash_.tied_ = &what;
        if (leash_.pulled()) {
            what.stop();
        }
    }
    ~Tie() { leash_.tied_ = outer_; }
    Tie(const Tie&) = delete;
    Tie& operator=(const Tie&) = delete;

  private:
    Leash& leash_;
    Stoppable* outer_;
};

}  // namespace agentsight::net
