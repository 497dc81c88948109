#include "core/json_text.hpp"

#include <array>
#include <charconv>
#include <cmath>

namespace agentsight::core {

namespace {

/// The letter after the backslash; 0 where there is no short form.
char short_escape(char c) {
    switch (c) {
        case '"':
        case '\\':
            return c;
        case '\b':
            return 'b';
        case '\f':
            return 'f';
        case '\n':
            return 'n';
        case '\r':
            return 'r';
        case '\t':
            return 't';
        default:
            return 0;
    }
}

void append_escape(std::string& out, char c) {
    out.push_back('\\');
    if (const char letter = short_escape(c)) {
        out.push_back(letter);
        return;
    }
    constexpr std::string_view digits = "0123456789abcdef";
    out.append("u00");
    out.push_back(digits[static_cast<unsigned char>(c) >> 4]);
    out.push_back(digits[static_cast<unsigned char>(c) & 0x0f]);
}

template <class Number, class... Format>
void append_chars(std::string& out, Number value, Format... format) {
    std::array<char, 64> buffer;
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format...);
    out.append(buffer.data(), end.ptr);
}

}  // namespace

void append_json_string(std::string& out, std::string_view utf8) {
    out.push_back('"');
    std::size_t plain = 0;
    for (std::size_t i = 0; i < utf8.size(); ++i) {
        const char c = utf8[i];
        if (static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        out.append(utf8, plain, i - plain);
        append_escape(out, c);
        plain = i + 1;
    }
    out.append(utf8, plain);
    out.push_back('"');
}

void append_json_number(std::string& out, std::int64_t value) {
    append_chars(out, value);
}
void append_json_number(std::string& out, std::uint64_t value) {
    append_chars(out, value);
}

void append_json_number(std::string& out, double value) {
    const double size = std::fabs(value);
    // The same bounds as Python's, whose floats the API's server prints.
    if (size >= 1e16 || (size != 0 && size < 1e-4)) {
        append_chars(out, value, std::chars_format::scientific);
        return;
    }
    const std::size_t begin = out.size();
    append_chars(out, value, std::chars_format::fixed);
    if (out.find('.', begin) == std::string::npos) {
        out.append(".0");
    }
}

}  // namespace agentsight::core
