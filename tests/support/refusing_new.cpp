#include "refusing_new.hpp"

#include <cstdlib>
#include <new>

void* operator new(std::size_t size) {
    void* const memory = agentsight::test::refuses_memory(__builtin_return_address(0))
                             ? nullptr
                             : std::malloc(size == 0 ? 1 : size);
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
