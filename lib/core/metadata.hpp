#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>

namespace agentsight::core {

/// Deepest nesting; the object itself is level 1. The public header has it too.
inline constexpr std::size_t max_metadata_levels = 100;

/// Checks metadata given as JSON text and writes it compactly to `text`: members in the
/// order given, integers exact, doubles shortest. Empty `json` and an empty object leave it
/// empty. The size counts the compact text. Needs no stack for a hostile depth.
///
/// A number no double can hold (1e999) is metadata_integer_out_of_range, as a huge integer
/// is; an unpaired surrogate escape is metadata_not_json. The text null is not an object.
std::error_code compact_metadata(std::string_view json, std::size_t max_bytes, std::string& text);

/// Whether `object`, as compact_metadata writes it, has a member `name` at its top level.
bool has_member(std::string_view object, std::string_view name);

}  // namespace agentsight::core
