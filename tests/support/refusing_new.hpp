#pragma once

namespace agentsight::test {

/// For refusing_new.cpp, the program's own operator new: whether the allocation asked for at
/// `place` in the code fails. Each program that links it has its own.
bool refuses_memory(const void* place);

}  // namespace agentsight::test
