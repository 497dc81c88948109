#include "failing_new.hpp"

#include <cstdlib>
#include <new>

namespace agentsight::test {

namespace {

struct State {
    Fault fault;
    bool armed = false;
    bool failed = false;
    std::uint64_t calls = 0;
};
thread_local State state;

bool refuses() {
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

}  // namespace

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

void* operator new(std::size_t size) {
    void* memory = agentsight::test::refuses() ? nullptr : std::malloc(size == 0 ? 1 : size);
    if (memory == nullptr) {
        throw std::bad_alloc{};
    }
    return memory;
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}
