#include "sandbox/fault_book.hpp"

#include <algorithm>

namespace sandbox {
namespace {

bool about_accepting(FaultKind kind) {
    return kind == FaultKind::hang_connect || kind == FaultKind::slow_accept ||
           kind == FaultKind::reset_accept;
}

/// The kinds that are told to a creation; a GET would use them up for nothing.
bool about_storing(FaultKind kind) {
    switch (kind) {
        case FaultKind::drop_before:
        case FaultKind::drop_after:
        case FaultKind::error_after_store:
        case FaultKind::late:
        case FaultKind::duplicate:
        case FaultKind::rewrite:
        case FaultKind::cut:
            return true;
        default:
            return false;
    }
}

bool method_matches(const Fault& fault, std::string_view method) {
    if (fault.method == "*")
        return true;
    if (fault.method.empty())
        return !about_storing(fault.kind) || method == "POST";
    return fault.method == method;
}

bool of_generation(const Fault& fault, std::string_view route) {
    const bool old = route == "old" || route == "lookup";
    const bool successor = route == "new" || route == "me";
    return fault.generation.empty() || (fault.generation == "old" && old) ||
           (fault.generation == "new" && successor);
}

bool matches(const Fault& fault, const Subject& subject) {
    return method_matches(fault, subject.method) &&
           (fault.route.empty() || fault.route == subject.route) &&
           subject.path.starts_with(fault.path) &&
           (fault.comment.empty() ||
            subject.comment.find(fault.comment) != std::string_view::npos) &&
           (fault.conversation_id.empty() || fault.conversation_id == subject.conversation_id) &&
           (fault.kind != FaultKind::route_removed || of_generation(fault, subject.route));
}

/// Counts a match, and says whether the fault's conditions on counts let it apply.
bool due(FaultState& state) {
    const Fault& fault = state.fault;
    const std::int64_t number = ++state.seen;
    if (fault.times >= 0 && state.hits >= fault.times)
        return false;
    if (fault.nth > 0 && number != fault.nth)
        return false;
    if (number <= fault.skip || (number - fault.skip - 1) % fault.every != 0)
        return false;
    if (fault.probability >= 1)
        return true;
    return std::uniform_real_distribution<>{}(state.random) < fault.probability;
}

/// Whole seconds until the window of a full throttle is over; 0: let through.
std::int64_t throttle(FaultState& state) {
    const Fault& fault = state.fault;
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::milliseconds window{fault.per_ms == Fault::unset ? 1000 : fault.per_ms};
    if (now - state.window_start >= window) {
        state.window_start = now;
        state.in_window = 0;
    }
    if (state.in_window++ < (fault.requests == Fault::unset ? 0 : fault.requests))
        return 0;
    const auto left = state.window_start + window - now;
    return std::max<std::int64_t>(1, std::chrono::ceil<std::chrono::seconds>(left).count());
}

std::optional<Fault>& group_of(Plan& plan, FaultKind kind) {
    switch (kind) {
        case FaultKind::latency:
            return plan.latency;
        case FaultKind::interim:
            return plan.interim;
        case FaultKind::stale_list:
            return plan.stale;
        case FaultKind::cut:
        case FaultKind::giant:
        case FaultKind::wrong_length:
        case FaultKind::close_delimited:
        case FaultKind::chunked:
        case FaultKind::gzip:
        case FaultKind::bad_json:
        case FaultKind::malformed:
            return plan.framing;
        case FaultKind::headers:
            return plan.headers;
        case FaultKind::drip:
            return plan.pace;
        case FaultKind::close_idle:
        case FaultKind::push_idle:
            return plan.after;
        default:
            return plan.outcome;
    }
}

}  // namespace

std::uint64_t FaultBook::add(Fault fault) {
    FaultState state;
    state.id = next_id_++;
    state.random.seed(fault.seed);
    state.fault = std::move(fault);
    faults_.push_back(std::move(state));
    return faults_.back().id;
}

bool FaultBook::remove(std::uint64_t id) {
    return std::erase_if(faults_, [&](const FaultState& state) { return state.id == id; }) > 0;
}

void FaultBook::clear() {
    faults_.clear();
}

Plan FaultBook::plan(const Subject& subject) {
    Plan plan;
    for (FaultState& state : faults_) {
        const FaultKind kind = state.fault.kind;
        auto& place = group_of(plan, kind);
        if (about_accepting(kind) || place || !matches(state.fault, subject) || !due(state))
            continue;
        if (kind == FaultKind::throttle) {
            plan.throttled_for_s = throttle(state);
            if (plan.throttled_for_s == 0)
                continue;
        }
        ++state.hits;
        place = state.fault;
        plan.ids.push_back(state.id);
    }
    return plan;
}

std::optional<Fault> FaultBook::plan_accept() {
    for (FaultState& state : faults_) {
        if (!about_accepting(state.fault.kind) || !due(state))
            continue;
        ++state.hits;
        return state.fault;
    }
    return std::nullopt;
}

}  // namespace sandbox
