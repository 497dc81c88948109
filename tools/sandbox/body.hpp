#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace sandbox {

/// A request's body as Python's json module would read it, and what a careful client
/// would not have sent.
struct Body {
    nlohmann::ordered_json value;
    std::string error;  ///< why it is no JSON; empty: it is
    std::vector<std::string> duplicate_names;
};

/// A member as text: a string's own, else its JSON; empty where there is none.
std::string member_text(const Body& body, const char* name);

Body parse_body(std::string_view text);

/// Whether the text came from an escape of an unpaired surrogate, which Python reads and
/// no database stores. Body values hold a marker in its place.
bool has_unpaired_surrogate(std::string_view text);

}  // namespace sandbox
