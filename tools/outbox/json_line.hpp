#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace agentsight::tool {

/// A member of a JSON object: its name, and its value as the text it was written in. Parsing
/// into numbers and maps would round large integers and swallow repeated names.
struct JsonMember {
    std::string name;
    std::string_view raw;
};

/// The members of the one JSON object that `line` holds; none where it holds anything else.
/// The views point into `line`.
std::optional<std::vector<JsonMember>> object_members(std::string_view line);

/// The elements of the one JSON array that `text` holds, valid JSON; none where it is no array.
std::optional<std::vector<std::string_view>> array_elements(std::string_view text);

/// Whether it would be JSON but for the escape of half a surrogate pair, which is no text
/// (RFC 8259, section 8.2).
bool has_half_a_pair(std::string_view line);

/// What a member's JSON string says.
std::string json_text(std::string_view raw);

}  // namespace agentsight::tool
