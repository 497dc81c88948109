#include "core/masking.hpp"

#include <cstring>
#include <vector>

#include "core/json_text.hpp"
#include "core/json_tree.hpp"

namespace agentsight::core {
namespace {

constexpr std::string_view mask = "***";
constexpr char marked = 'x';

/// Shorter ones, "ok" or "5", are in anybody's words.
constexpr std::size_t least_whole = 4;
/// Of a text that was cut, or quoted in part; shorter ones are phrases that any two texts share.
constexpr std::size_t least_part = 8;

std::string number_text(const nlohmann::json& number) {
    std::string text;
    if (number.is_number_unsigned()) {
        append_json_number(text, number.get_ref<const std::uint64_t&>());
    } else if (number.is_number_integer()) {
        append_json_number(text, number.get_ref<const std::int64_t&>());
    } else {
        append_json_number(text, number.get_ref<const double&>());
    }
    return text;
}

/// All texts and numbers in it, whatever the depth.
void collect(const nlohmann::json& json, std::vector<std::string>& texts) {
    std::vector<const nlohmann::json*> left{&json};
    while (!left.empty()) {
        const nlohmann::json& value = *left.back();
        left.pop_back();
        if (value.is_string()) {
            texts.push_back(value.get_ref<const std::string&>());
        } else if (value.is_number()) {
            texts.push_back(number_text(value));
        } else if (value.is_structured()) {
            for (const nlohmann::json& member : value) {
                left.push_back(&member);
            }
        }
    }
}

/// As printable() writes down what a server says, on one line; in lower case.
std::string comparable(std::string_view given) {
    std::string text{given};
    for (char& c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool is_space = byte >= '\t' && byte <= '\r';
        const bool is_upper = c >= 'A' && c <= 'Z';
        c = is_space                      ? ' '
            : byte < 0x20 || byte == 0x7F ? '?'
            : is_upper                    ? static_cast<char>(c | 0x20)
                                          : c;
    }
    return text;
}

std::string in_json(const std::string& text) {
    std::string escaped;
    append_json_string(escaped, text);
    return escaped.substr(1, escaped.size() - 2);
}

std::string in_html(const std::string& text, std::string_view apostrophe) {
    std::string escaped;
    for (const char c : text) {
        switch (c) {
            case '&':
                escaped += "&amp;";
                break;
            case '<':
                escaped += "&lt;";
                break;
            case '>':
                escaped += "&gt;";
                break;
            case '"':
                escaped += "&quot;";
                break;
            case '\'':
                escaped += apostrophe;
                break;
            default:
                escaped += c;
        }
    }
    return escaped;
}

std::vector<std::string> texts_of(const Feedback& feedback) {
    std::vector<std::string> texts;
    if (!feedback.metadata.empty()) {
        collect(parse_json(feedback.metadata), texts);
    }
    texts.push_back(feedback.comment);
    for (std::size_t i = 0, given = texts.size(); i < given; ++i) {
        const std::string text = texts[i];
        texts.push_back(in_json(text));
        texts.push_back(in_html(text, "&#x27;"));
        texts.push_back(in_html(text, "&#39;"));
    }
    for (std::string& text : texts) {
        text = comparable(text);
    }
    return texts;
}

/// Which bytes of `words` stand in `text` too.
void mark(std::string_view words, std::string_view text, std::string& marks) {
    const auto cover = [&](std::size_t at, std::size_t size) {
        std::memset(marks.data() + at, marked, size);
    };
    if (text.size() < least_whole) {
        return;
    }
    for (std::size_t at = 0; (at = words.find(text, at)) != words.npos; ++at) {
        cover(at, text.size());
    }
    for (std::size_t at = 0; at + least_part <= words.size(); ++at) {
        if (text.find(words.substr(at, least_part)) != text.npos) {
            cover(at, least_part);
        }
    }
}

bool is_inside_of_a_code_point(char c) {
    return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

std::string without(std::string_view words, std::string_view marks) {
    std::string result;
    for (std::size_t at = 0; at < words.size();) {
        if (marks[at] != marked) {
            result += words[at++];
            continue;
        }
        while (at < words.size() && (marks[at] == marked || is_inside_of_a_code_point(words[at]))) {
            ++at;
        }
        result += mask;
    }
    return result;
}

}  // namespace

std::string masked(std::string_view words, const Feedback& feedback) {
    if (words.size() < least_whole) {
        return std::string(words);
    }
    std::string marks(words.size(), ' ');
    const std::string compared = comparable(words);
    for (const std::string& text : texts_of(feedback)) {
        mark(compared, text, marks);
    }
    return without(words, marks);
}

}  // namespace agentsight::core
