#include "sandbox/json_text.hpp"

#include <utility>

namespace sandbox {
namespace {

void append_quoted(std::string& out, std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    out += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte < 0x20) {
            out += "\\u00";
            out += digits[byte >> 4];
            out += digits[byte & 15];
        } else {
            out += c;
        }
    }
    out += '"';
}

}  // namespace

std::string json_string(std::string_view text) {
    std::string out;
    append_quoted(out, text);
    return out;
}

/// Names are ours and need no escaping.
void ObjectText::begin(std::string_view name) {
    if (out_.size() > 1)
        out_ += ',';
    out_.append("\"").append(name).append("\":");
}

ObjectText& ObjectText::text(std::string_view name, std::string_view value) {
    begin(name);
    append_quoted(out_, value);
    return *this;
}

ObjectText& ObjectText::number(std::string_view name, std::int64_t value) {
    return raw(name, std::to_string(value));
}

ObjectText& ObjectText::boolean(std::string_view name, bool value) {
    return raw(name, value ? "true" : "false");
}

ObjectText& ObjectText::null(std::string_view name) {
    return raw(name, "null");
}

ObjectText& ObjectText::raw(std::string_view name, std::string_view json) {
    begin(name);
    out_ += json;
    return *this;
}

std::string ObjectText::take() {
    out_ += '}';
    return std::move(out_);
}

}  // namespace sandbox
