#include "sandbox/body.hpp"

#include <algorithm>
#include <optional>

#include "sandbox/text.hpp"

namespace sandbox {
namespace {

using Json = nlohmann::ordered_json;

/// Two noncharacters in a row: no text a person writes has them.
constexpr std::string_view marker = "\xEF\xB7\x90\xEF\xB7\x91";

/// Python gives up at its recursion limit; so do we, before our own stack does.
constexpr int max_depth = 500;

std::optional<unsigned> escape_at(std::string_view text, std::size_t at) {
    if (at + 6 > text.size() || text[at] != '\\' || text[at + 1] != 'u')
        return std::nullopt;
    unsigned value = 0;
    for (const char c : text.substr(at + 2, 4)) {
        const std::size_t digit = std::string_view{"0123456789abcdef"}.find(
            c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c);
        if (digit == std::string_view::npos)
            return std::nullopt;
        value = value * 16 + static_cast<unsigned>(digit);
    }
    return value;
}

/// The text with every unpaired surrogate escape replaced by the marker, because the JSON
/// library refuses what Python reads.
std::string mark_surrogates(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const auto unit = text[at] == '\\' ? escape_at(text, at) : std::nullopt;
        if (!unit) {
            const std::size_t length = text[at] == '\\' ? 2 : 1;
            out += text.substr(at, length);
            at += length;
            continue;
        }
        const auto next = escape_at(text, at + 6);
        const bool high = *unit >= 0xD800 && *unit <= 0xDBFF;
        const bool pair = high && next && *next >= 0xDC00 && *next <= 0xDFFF;
        const bool surrogate = *unit >= 0xD800 && *unit <= 0xDFFF;
        const std::size_t length = pair ? 12 : 6;
        out += surrogate && !pair ? marker : text.substr(at, length);
        at += length;
    }
    return out;
}

/// Collects member names that occur twice in one object, while the parser goes along.
class Watcher {
  public:
    bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
        if (depth > max_depth)
            throw std::length_error{"nested too deeply"};
        if (event == Json::parse_event_t::object_start)
            names_.emplace_back();
        else if (event == Json::parse_event_t::object_end)
            names_.pop_back();
        else if (event == Json::parse_event_t::key)
            note(parsed.get_ref<const std::string&>());
        return true;
    }

    std::vector<std::string> duplicates;

  private:
    void note(const std::string& name) {
        auto& names = names_.back();
        if (std::find(names.begin(), names.end(), name) != names.end())
            duplicates.push_back(name);
        else
            names.push_back(name);
    }

    std::vector<std::vector<std::string>> names_;
};

}  // namespace

Body parse_body(std::string_view text) {
    Body out;
    if (text.starts_with("\xEF\xBB\xBF") || !count_code_points(text)) {
        out.error = "not UTF-8 without a byte order mark";
        return out;
    }
    try {
        Watcher watcher;
        const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
            return watcher(depth, event, parsed);
        };
        const bool escapes = text.find("\\u") != std::string_view::npos;
        out.value = escapes ? Json::parse(mark_surrogates(text), watch) : Json::parse(text, watch);
        out.duplicate_names = std::move(watcher.duplicates);
    } catch (const std::exception&) {
        // The library's own words quote the body; feedback stays out of messages.
        out.error = "Expecting value: line 1 column 1 (char 0)";
    }
    return out;
}

std::string member_text(const Body& body, const char* name) {
    if (!body.value.is_object() || !body.value.contains(name))
        return {};
    const auto& value = body.value.at(name);
    return value.is_string() ? value.get<std::string>() : value.dump();
}

bool has_unpaired_surrogate(std::string_view text) {
    return text.find(marker) != std::string_view::npos;
}

}  // namespace sandbox
