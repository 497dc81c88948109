#include "failing_new.hpp"

#include "support/refusing_new.hpp"

namespace agentsight::test {

namespace {

struct State {
    Fault fault;
    bool armed = false;
    bool failed = false;
    std::uint64_t calls = 0;
};
thread_local State state;

}  // namespace

bool refuses_memory(const void*) {
    if (!state.armed || InShim::here()) {
        return false;
    }
    ++state.calls;
    const std::uint64_t nth = state.fault.nth;
    const bool refused =
        nth != 0 && (state.fault.for_ever ? state.calls >= nth : state.calls == nth);
    state.failed = state.failed || refused;
    return refused;
}

void FailingNew::arm(Fault fault) {
    state = {.fault = fault, .armed = true};
}
void FailingNew::disarm() {
    state.armed = false;
}
std::uint64_t FailingNew::calls() {
    return state.calls;
}
bool FailingNew::has_failed() {
    return state.failed;
}

}  // namespace agentsight::test
