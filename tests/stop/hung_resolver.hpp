#pragma once

#include <string_view>

namespace agentsight::test {

/// In a program that links hung_resolver.cpp, getaddrinfo(3) never answers for this name; all
/// others it looks up as ever.
inline constexpr std::string_view hung_host = "hang.invalid";

/// Ends the lookups that hang now, each with EAI_AGAIN.
void release_hung_lookups();

}  // namespace agentsight::test
