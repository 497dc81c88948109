#pragma once

#include <string>

#include "agentsight/export.hpp"

namespace agentsight {

/// "0.1.0", as built.
AGENTSIGHT_API const char* version() noexcept;

/// What goes out as User-Agent: "agentsight-outbox/0.1.0".
AGENTSIGHT_API std::string user_agent();

}  // namespace agentsight
