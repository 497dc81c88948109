#pragma once

#include <string_view>

#include "agentsight/error.hpp"

namespace agentsight::core {

/// Throws Error. Not written as `throw` in every place: each brings 100 bytes along that make
/// the exception and clean up behind it.
[[noreturn]] void throw_error(errc code, std::string_view message, std::string_view record_id = {});

}  // namespace agentsight::core
