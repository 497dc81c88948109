#include "core/utf8.hpp"

namespace agentsight::core {

Decoded decode_utf8(std::string_view text) {
    const auto byte = [text](std::size_t i) -> unsigned char {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
    };
    const unsigned char lead = byte(0);
    if (lead < 0x80) {
        return {lead, 1};
    }
    // The second byte's range is what excludes overlong forms, surrogates and what lies
    // beyond U+10FFFF (RFC 3629, section 4).
    std::size_t length = 0;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
        length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        length = 3;
        low = lead == 0xe0 ? 0xa0 : 0x80;
        high = lead == 0xed ? 0x9f : 0xbf;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        length = 4;
        low = lead == 0xf0 ? 0x90 : 0x80;
        high = lead == 0xf4 ? 0x8f : 0xbf;
    } else {
        return {};
    }
    if (byte(1) < low || byte(1) > high) {
        return {};
    }
    char32_t code_point = lead & (0x7fU >> length);
    code_point = (code_point << 6) | (byte(1) & 0x3fU);
    for (std::size_t i = 2; i < length; ++i) {
        if ((byte(i) & 0xc0) != 0x80) {
            return {};
        }
        code_point = (code_point << 6) | (byte(i) & 0x3fU);
    }
    return {code_point, length};
}

}  // namespace agentsight::core
