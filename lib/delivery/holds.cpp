#include "delivery/holds.hpp"

#include <algorithm>
#include <limits>

namespace agentsight::delivery {

namespace {

/// More steps than any backoff has between its base and its cap.
constexpr int max_step = 40;

bool by_backoff(HoldReason reason) {
    return reason == HoldReason::link_down || reason == HoldReason::outage ||
           reason == HoldReason::throttled;
}

/// HoldRow::step of a throttle.
int beyond(HoldTable::Throttle times) {
    return static_cast<int>(
        std::clamp<core::OutboxMs>(times.until - times.told, 0, std::numeric_limits<int>::max()));
}

}  // namespace

const outbox::HoldRow* HoldTable::find(HoldReason reason) const {
    const auto row = std::ranges::find(rows_, reason, &outbox::HoldRow::reason);
    return row == rows_.end() ? nullptr : &*row;
}

outbox::HoldRow* HoldTable::row_of(HoldReason reason) {
    const auto row = std::ranges::find(rows_, reason, &outbox::HoldRow::reason);
    return row == rows_.end() ? nullptr : &*row;
}

std::int64_t HoldTable::wait(HoldReason reason, int step, core::Random& random) const {
    return by_backoff(reason) ? full_jitter(backoff_, step, random)
                              : half_jitter(rarely, step, random);
}

bool HoldTable::enter(const HoldCause& cause, const core::Moment& moment, core::OutboxMs now,
                      core::Random& random) {
    if (outbox::HoldRow* const row = row_of(cause.reason)) {
        if (row->until && *row->until <= now) {
            prolong(*row, now, random);
            row->status = cause.status;
            row->detail = cause.detail;
        }
        return false;
    }
    outbox::HoldRow row;
    row.reason = cause.reason;
    row.since = moment.utc_ms;
    row.status = cause.status;
    row.detail = cause.detail;
    const auto remembered = std::ranges::find(steps_, cause.reason, &Step::reason);
    if (remembered != steps_.end()) {
        row.step = std::min(remembered->step + 1, max_step);
    }
    row.until = now + wait(cause.reason, row.step, random);
    rows_.push_back(std::move(row));
    return true;
}

bool HoldTable::enter_throttle(const HoldCause& cause, Throttle times, const core::Moment& moment) {
    outbox::HoldRow* row = row_of(HoldReason::throttled);
    const bool begins = row == nullptr;
    if (begins) {
        row = &rows_.emplace_back();
        row->reason = HoldReason::throttled;
        row->since = moment.utc_ms;
    } else {
        times.told = std::max(times.told, told().value_or(times.told));
        times.until = std::max(times.until, row->until.value_or(times.until));
    }
    row->until = times.until;
    row->step = beyond(times);
    row->status = cause.status;
    row->detail = cause.detail;
    return begins;
}

std::optional<core::OutboxMs> HoldTable::told() const {
    const outbox::HoldRow* const row = find(HoldReason::throttled);
    return row != nullptr ? row->told() : std::nullopt;
}

bool HoldTable::enter_for_good(const HoldCause& cause, const core::Moment& moment) {
    if (outbox::HoldRow* const row = row_of(cause.reason)) {
        row->until.reset();
        return false;
    }
    outbox::HoldRow row;
    row.reason = cause.reason;
    row.since = moment.utc_ms;
    row.status = cause.status;
    row.detail = cause.detail;
    rows_.push_back(std::move(row));
    return true;
}

bool HoldTable::leave(HoldReason reason) {
    return std::erase_if(rows_, [reason](const auto& row) { return row.reason == reason; }) > 0;
}

void HoldTable::probe_at_once(HoldReason reason, core::OutboxMs now) {
    outbox::HoldRow* const row = row_of(reason);
    if (row != nullptr && row->until && reason != HoldReason::throttled) {
        row->until = std::min(*row->until, now);
    }
}

void HoldTable::probe_all_at_once(core::OutboxMs now) {
    for (const outbox::HoldRow& row : rows_) {
        probe_at_once(row.reason, now);
    }
}

void HoldTable::hurry_throttle() {
    if (const auto said = told()) {
        outbox::HoldRow* const row = row_of(HoldReason::throttled);
        row->until = said;
        row->step = 0;
    }
}

void HoldTable::limit(core::OutboxMs latest) {
    for (outbox::HoldRow& row : rows_) {
        if (row.until) {
            row.until = std::min(*row.until, latest);
        }
    }
}

void HoldTable::prolong_due(core::OutboxMs now, core::Random& random) {
    for (outbox::HoldRow& row : rows_) {
        if (row.until && *row.until <= now) {
            prolong(row, now, random);
        }
    }
}

void HoldTable::prolong(outbox::HoldRow& row, core::OutboxMs now, core::Random& random) const {
    if (row.reason == HoldReason::throttled) {
        // What the server said is over, and something else is wrong now.
        row.until = now + wait(row.reason, max_step, random);
        row.step = beyond({.told = now, .until = *row.until});
        return;
    }
    row.step = std::min(row.step + 1, max_step);
    row.until = now + wait(row.reason, row.step, random);
}

std::optional<core::OutboxMs> HoldTable::until() const {
    core::OutboxMs latest = 0;
    for (const outbox::HoldRow& row : rows_) {
        if (!row.until) {
            return std::nullopt;
        }
        latest = std::max(latest, *row.until);
    }
    return latest;
}

std::optional<HoldReason> HoldTable::shown() const {
    const outbox::HoldRow* last = nullptr;
    for (const outbox::HoldRow& row : rows_) {
        const bool later =
            last == nullptr || !row.until || (last->until && *last->until < *row.until);
        if (later) {
            last = &row;
        }
    }
    return last == nullptr ? std::nullopt : std::optional{last->reason};
}

void HoldTable::remember_step(HoldReason reason, int step) {
    const auto known = std::ranges::find(steps_, reason, &Step::reason);
    if (known != steps_.end()) {
        known->step = step;
    } else {
        steps_.push_back({reason, step});
    }
}

bool needs_person(HoldReason reason) {
    switch (reason) {
        case HoldReason::person:
        case HoldReason::no_credential:
        case HoldReason::credential_refused:
        case HoldReason::account_unpaid:
            return true;
        default:
            return false;
    }
}

}  // namespace agentsight::delivery
