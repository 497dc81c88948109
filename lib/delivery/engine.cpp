#include "delivery/engine.hpp"

#include <utility>

#include "delivery/engine_impl.hpp"

namespace agentsight::delivery {

namespace {

/// A hold read back from the file may not wait longer than any that is ever made: a day as
/// told and as much again as jitter.
constexpr std::int64_t longest_hold_ms = 2 * 24 * 3'600'000;

/// As long as `drain` waits by itself: who waits longer rings again, or has patience.
constexpr std::int64_t hurry_lasts_ms = 30'000;

}  // namespace

Engine::Engine(outbox::Store& store, Policy policy, core::Random& random)
    : impl_(std::make_unique<Impl>(store, std::move(policy), random)) {}
Engine::~Engine() = default;

void Engine::start() {
    impl_->start();
}
void Engine::stop() {
    impl_->stop();
}
Engine::Step Engine::step() {
    return impl_->step();
}
void Engine::finished(std::uint64_t task, core::Evidence evidence) {
    impl_->finished(task, std::move(evidence));
}
void Engine::trust_time(core::UtcMs time) noexcept {
    impl_->trust_time(time);
}

core::UtcMs Engine::trusted_time() const noexcept {
    return impl_->trusted_time();
}

void Engine::rung() noexcept {
    impl_->rung();
}
void Engine::submitted() noexcept {
    impl_->submitted();
}
void Engine::set_credential(Credential::Kind kind) {
    impl_->set_credential(kind);
}
void Engine::network_changed() {
    impl_->network_changed();
}
void Engine::release() {
    impl_->release();
}
void Engine::pause(bool paused) {
    impl_->pause(paused);
}
void Engine::full_speed(bool on) {
    impl_->full_speed(on);
}
void Engine::hurry() {
    impl_->hurry();
}
void Engine::resumed() {
    impl_->resumed();
}
bool Engine::settled() const {
    return impl_->settled();
}
std::optional<HoldReason> Engine::held() const {
    return impl_->held();
}
bool Engine::needs_person() const {
    return impl_->needs_person();
}
std::vector<Event> Engine::take_events() {
    return impl_->take_events();
}

Engine::Impl::Impl(outbox::Store& store, Policy policy, core::Random& random)
    : store_(store),
      policy_(std::move(policy)),
      random_(random),
      holds_({.base_ms = policy_.backoff_base_ms, .cap_ms = policy_.backoff_cap_ms}),
      pacer_(policy_.connections) {}

void Engine::Impl::start() {
    saved_ = store_.begin_draining();
    now_ = store_.now();
    moment_ = store_.moment();
    drain_began_ = moment_;
    server_date_ = saved_.server_date;
    trusted_time_ = std::max(trusted_time_, saved_.trusted_time);
    refusals_in_row_ = saved_.refusals_in_row;
    route_ = saved_.route == 1 ? core::Route::feedbacks : core::Route::conversation_feedbacks;
    if (policy_.dialect != Dialect::automatic) {
        route_ = policy_.dialect == Dialect::feedbacks ? core::Route::feedbacks
                                                       : core::Route::conversation_feedbacks;
    }
    holds_.restore(saved_.holds);
    holds_.probe_all_at_once(now_);
    holds_.limit(now_ + longest_hold_ms);
    running_ = true;
    if (policy_.mutant == Mutant::claim_after_send) {
        forget_claims();
    }
    if (policy_.kind == Credential::Kind::none) {
        hold_for_credential();
    } else {
        unhold(HoldReason::no_credential, false);
    }
    rung_ = true;
}

/// The mutant: as if no claim had been written before sending.
void Engine::Impl::forget_claims() {
    for (const outbox::ClaimedRecord& record : store_.due_unknowns(1'000)) {
        if (!record.attempt_ended) {
            send_again(record, false);
        }
    }
}

void Engine::Impl::hold_for_credential() {
    const HoldCause cause{.reason = HoldReason::no_credential, .detail = "no credential is set"};
    if (holds_.enter_for_good(cause, moment_)) {
        tell(event::Held{cause.reason, 0, cause.detail});
    }
}

void Engine::Impl::stop() {
    if (!running_) {
        return;
    }
    now_ = store_.now();
    moment_ = store_.moment();
    withdraw();
    flights_.clear();
    readings_.clear();
    if (!pending_.empty() || state_changed()) {
        commit(0);
    }
    running_ = false;
}

void Engine::Impl::set_credential(Credential::Kind kind) {
    policy_.kind = kind;
    ++credential_;
    now_ = store_.now();
    withdraw();
    rung_ = true;
    if (kind == Credential::Kind::none) {
        hold_for_credential();
        return;
    }
    unhold(HoldReason::no_credential, false);
    unhold(HoldReason::credential_refused, false);
    unhold(HoldReason::account_unpaid, false);
    // Another key may be another account, where the feedback is welcome; but if it is not,
    // ending the hold would bury five more records.
    for (const HoldReason reason :
         {HoldReason::refusals, HoldReason::endpoint, HoldReason::route_lost, HoldReason::outage}) {
        holds_.probe_at_once(reason, now_);
    }
}

void Engine::Impl::network_changed() {
    const core::OutboxMs now = store_.now();
    for (const HoldReason reason :
         {HoldReason::link_down, HoldReason::proxy, HoldReason::endpoint, HoldReason::outage,
          HoldReason::route_lost}) {  // a portal's answers may look like any of them
        holds_.probe_at_once(reason, now);
    }
    last_contact_boot_ms_.reset();
    ++network_;
}

void Engine::Impl::release() {
    end_holds();
    rung_ = true;
}

void Engine::Impl::end_holds() {
    now_ = store_.now();
    pacer_.off();
    const std::vector<outbox::HoldRow> rows = holds_.rows();
    for (const outbox::HoldRow& row : rows) {
        const bool binding = row.reason == HoldReason::no_credential ||
                             (row.reason == HoldReason::throttled && holds_.told() > now_);
        if (!binding) {
            unhold(row.reason, false);
        }
    }
    holds_.forget_steps();
    holds_.hurry_throttle();
    refusals_in_row_ = 0;
    unknowns_in_row_ = 0;
    not_processed_in_row_ = 0;
}

/// Nothing but records has changed. While nothing may be claimed, each look would be a
/// transaction for nothing that the next submit had to wait for.
void Engine::Impl::submitted() noexcept {
    claimable_ = true;
    now_ = store_.now();
    submitted_ = submitted_ || backlog_waits();
}

void Engine::Impl::pause(bool paused) {
    paused_ = paused;
    rung_ = rung_ || !paused;
    if (paused) {
        now_ = store_.now();
        withdraw();
    }
}

void Engine::Impl::full_speed(bool on) {
    if (on == full_speed_) {
        return;
    }
    full_speed_ = on;
    on ? speed_up() : slow_down();
}

void Engine::Impl::hurry() {
    speed_up();
    hurried_until_ = now_ + hurry_lasts_ms;
}

bool Engine::Impl::at_full_speed() const {
    return full_speed_ || (hurried_until_ && now_ < *hurried_until_);
}

/// Once around for what follows closely, as the flushes of one `drain` do: the backoff that a
/// record earns meanwhile binds.
void Engine::Impl::speed_up() {
    now_ = store_.now();
    if (!was_fast_ || now_ - *was_fast_ >= hurry_lasts_ms) {
        ignore_due_ = true;
        retried_.clear();
    }
    was_fast_ = now_;
    pacer_.off();
    holds_.probe_all_at_once(now_);
    holds_.hurry_throttle();
    rung_ = true;
}

void Engine::Impl::slow_down() {
    hurried_until_.reset();
    was_fast_ = store_.now();
}

void Engine::Impl::resumed() {
    last_contact_boot_ms_.reset();
    holds_.probe_at_once(HoldReason::link_down, store_.now());
}

bool Engine::Impl::settled() const {
    const bool due = next_due_ && *next_due_ <= store_.now();
    return running_ && flights_.empty() && ready_.empty() && pending_.empty() && !rung_ && !due &&
           !claimable_ && due_unknowns_.empty();
}

std::optional<HoldReason> Engine::Impl::held() const {
    if (person_hold_) {
        return HoldReason::person;
    }
    if (!holds_.any() || probing()) {
        return std::nullopt;
    }
    const auto until = holds_.until();
    return until && *until <= store_.now() ? std::nullopt : holds_.shown();
}

bool Engine::Impl::needs_person() const {
    if (person_hold_) {
        return true;
    }
    if (probing()) {
        return false;
    }
    const core::OutboxMs now = store_.now();
    for (const outbox::HoldRow& row : holds_.rows()) {
        if (delivery::needs_person(row.reason) && (!row.until || *row.until > now)) {
            return true;
        }
    }
    return false;
}

void Engine::Impl::tell(Event event) {
    events_.push_back(std::move(event));
}

/// What happened to a record is told when it is durable.
void Engine::Impl::tell_once_committed(Event event) {
    uncommitted_events_.push_back(std::move(event));
}

std::vector<Event> Engine::Impl::take_events() {
    return std::exchange(events_, {});
}

}  // namespace agentsight::delivery
