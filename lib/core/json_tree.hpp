#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace agentsight::core {

/// The whole text as one JSON value; discarded where it is not. Of members with one name the
/// last counts. Neither the parser nor the destructor recurses, so that the depth is bounded
/// by the text's size alone. (json::parse brings two parsers more: 10 kB of the library.)
nlohmann::json parse_json(std::string_view text);

}  // namespace agentsight::core
