#pragma once

#include <string_view>

#include "agentsight/options.hpp"

namespace agentsight {

/// Options from the JSON object that agentsight_open() takes; the defaults for empty text.
/// Throws errc::invalid_option, naming the member and the rule, never its value.
Options options_from_json(std::string_view json);

}  // namespace agentsight
