#pragma once

#include <cstddef>
#include <string_view>

namespace agentsight::core {

/// The character at the front of a text.
struct Decoded {
    static constexpr char32_t none = 0xffffffff;
    char32_t code_point = none;
    std::size_t length = 1;  ///< in bytes; 1 where it is not UTF-8, so that a reader goes on
    bool valid() const { return code_point != none; }
};

/// Decodes by RFC 3629: no surrogates, no overlong forms, nothing over U+10FFFF. `text` must
/// not be empty.
Decoded decode_utf8(std::string_view text);

}  // namespace agentsight::core
