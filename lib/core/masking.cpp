#include "core/masking.hpp"

#include <algorithm>
#include <vector>

#include "core/json_tree.hpp"

namespace agentsight::core {
namespace {

constexpr std::string_view mask = "***";

/// Shorter ones, "ok" or "5", are in anybody's words.
constexpr std::size_t least_whole = 4;
/// Of a text that was cut, or quoted in part; shorter ones are phrases that any two texts share.
constexpr std::size_t least_part = 16;

/// All texts in it, whatever the depth.
void collect(const nlohmann::json& json, std::vector<std::string>& texts) {
    std::vector<const nlohmann::json*> left{&json};
    while (!left.empty()) {
        const nlohmann::json& value = *left.back();
        left.pop_back();
        if (value.is_string()) {
            texts.push_back(value.get_ref<const std::string&>());
        } else if (value.is_structured()) {
            for (const nlohmann::json& member : value) {
                left.push_back(&member);
            }
        }
    }
}

/// As printable() writes down what a server says: on one line.
std::string on_one_line(std::string text) {
    for (char& c : text) {
        const auto byte = static_cast<unsigned char>(c);
        c = (byte >= '\t' && byte <= '\r') ? ' ' : byte < 0x20 || byte == 0x7F ? '?' : c;
    }
    return text;
}

std::vector<std::string> texts_of(const Feedback& feedback) {
    std::vector<std::string> texts;
    if (!feedback.metadata.empty()) {
        collect(parse_json(feedback.metadata), texts);
    }
    texts.push_back(feedback.comment);
    for (std::string& text : texts) {
        text = on_one_line(std::move(text));
    }
    std::erase_if(texts, [](const std::string& text) { return text.size() < least_whole; });
    return texts;
}

/// Which bytes of `words` stand in `text` too.
void mark(std::string_view words, std::string_view text, std::vector<bool>& marks) {
    const auto cover = [&](std::size_t at, std::size_t size) {
        std::fill_n(marks.begin() + static_cast<std::ptrdiff_t>(at), size, true);
    };
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

std::string without(std::string_view words, const std::vector<bool>& marks) {
    std::string result;
    for (std::size_t at = 0; at < words.size();) {
        if (!marks[at]) {
            result += words[at++];
            continue;
        }
        while (at < words.size() && (marks[at] || is_inside_of_a_code_point(words[at]))) {
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
    std::vector<bool> marks(words.size(), false);
    for (const std::string& text : texts_of(feedback)) {
        mark(words, text, marks);
    }
    return without(words, marks);
}

}  // namespace agentsight::core
