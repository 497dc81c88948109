#include "failing_memory.hpp"

#include <algorithm>
#include <array>
#include <atomic>

#include "support/refusing_new.hpp"

namespace agentsight::test {
namespace {

thread_local bool counts_here = false;
std::atomic<bool> armed = false;
std::atomic<std::uint64_t> first = 0;
std::atomic<std::uint64_t> end = 0;
std::atomic<std::uint64_t> count = 0;

thread_local bool learns_here = false;
std::array<const void*, 64> spared{};
std::size_t spared_count = 0;

}  // namespace

bool refuses_memory(const void* place) {
    const auto end_of_spared = spared.begin() + spared_count;
    const bool is_spared = std::find(spared.begin(), end_of_spared, place) != end_of_spared;
    if (learns_here && !is_spared && spared_count < spared.size()) {
        spared[spared_count++] = place;
    }
    if (!counts_here || !armed || is_spared) {
        return false;
    }
    const std::uint64_t nth = ++count;
    return nth >= first && nth < end;
}

void FailingMemory::here(bool counts) noexcept {
    counts_here = counts;
}

void FailingMemory::arm(std::uint64_t from, std::uint64_t to) noexcept {
    count = 0;
    first = from;
    end = to;
    armed = true;
}

void FailingMemory::learn(bool learns) noexcept {
    learns_here = learns;
}

std::uint64_t FailingMemory::disarm() noexcept {
    armed = false;
    return count;
}

}  // namespace agentsight::test
