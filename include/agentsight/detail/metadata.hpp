#pragma once

#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <vector>

#include "agentsight/error.hpp"

/// JSON values cross the library's boundary as text, so that an application may
/// use another version of nlohmann::json than the library was built with.
namespace agentsight::detail {

/// Deepest nesting of metadata; the object itself is level 1.
inline constexpr std::size_t max_metadata_depth = 100;

/// Checks what JSON text can no longer show (NaN, infinity, bytes that are not
/// UTF-8, depth) and writes the text; empty for null and for an empty object.
template <class Json>
std::error_code metadata_text(const Json& metadata, std::string& text) {
    text.clear();
    if (metadata.is_null()) {
        return {};
    }
    if (!metadata.is_object()) {
        return errc::metadata_not_object;
    }
    if (metadata.empty()) {
        return {};
    }
    // By hand, not by recursion: a hostile depth must not reach the stack.
    struct Level {
        typename Json::const_iterator next, end;
    };
    std::vector<Level> levels;
    levels.push_back({metadata.cbegin(), metadata.cend()});
    while (!levels.empty()) {
        Level& level = levels.back();
        if (level.next == level.end) {
            levels.pop_back();
            continue;
        }
        const Json& value = *level.next;
        ++level.next;
        if (value.is_number_float() && !std::isfinite(value.template get<double>())) {
            return errc::metadata_not_finite;
        }
        if (value.is_binary()) {
            return errc::metadata_not_json;
        }
        if (value.is_structured()) {
            if (levels.size() == max_metadata_depth) {
                return errc::metadata_too_deep;
            }
            levels.push_back({value.cbegin(), value.cend()});
        }
    }
    try {
        text = metadata.dump();
    } catch (const typename Json::type_error&) {
        return errc::metadata_not_utf8;
    }
    return {};
}

}  // namespace agentsight::detail
