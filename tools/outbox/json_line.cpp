#include "json_line.hpp"

#include <charconv>
#include <nlohmann/json.hpp>

namespace agentsight::tool {
namespace {

/// Walks over text that is known to be valid JSON, so nothing here can be malformed.
class Walker {
  public:
    explicit Walker(std::string_view text) : text_(text) {}

    void skip_space() { at_ = text_.find_first_not_of(" \t\r\n", at_); }
    char here() const { return text_[at_]; }
    void step() { ++at_; }

    std::string_view value() {
        const std::size_t begin = at_;
        if (here() == '"') {
            skip_string();
        } else if (here() == '{' || here() == '[') {
            skip_structure();
        } else {
            at_ = text_.find_first_of(" \t\r\n,}]", at_);
        }
        return text_.substr(begin, at_ - begin);
    }

  private:
    void skip_string() {
        for (++at_; here() != '"'; ++at_) {
            if (here() == '\\') {
                ++at_;
            }
        }
        ++at_;
    }

    void skip_structure() {
        std::size_t depth = 0;
        do {
            if (here() == '"') {
                skip_string();
                continue;
            }
            if (here() == '{' || here() == '[') {
                ++depth;
            } else if (here() == '}' || here() == ']') {
                --depth;
            }
            ++at_;
        } while (depth > 0);
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace

bool has_half_a_pair(std::string_view line) {
    // 0xD800 for the first half, 0xDC00 for the second, 0 for anything else at `at`.
    const auto half_at = [&](std::size_t at) {
        unsigned value = 0;
        if (line.substr(at, 2) != "\\u" || line.size() < at + 6) {
            return 0U;
        }
        const auto [end, error] =
            std::from_chars(line.data() + at + 2, line.data() + at + 6, value, 16);
        return end == line.data() + at + 6 ? value & 0xFC00 : 0U;
    };
    std::string mended;
    bool found = false;
    for (std::size_t at = 0; at < line.size();) {
        const unsigned half = half_at(at);
        std::size_t size = line[at] == '\\' ? 2 : 1;
        if (half == 0xD800 && half_at(at + 6) == 0xDC00) {
            size = 12;
        } else if (half == 0xD800 || half == 0xDC00) {
            found = true;
            mended += '?';
            at += 6;
            continue;
        }
        mended += line.substr(at, size);
        at += size;
    }
    return found && nlohmann::json::accept(mended);
}

std::optional<std::vector<JsonMember>> object_members(std::string_view line) {
    if (!nlohmann::json::accept(line)) {
        return std::nullopt;
    }
    Walker walker(line);
    walker.skip_space();
    if (walker.here() != '{') {
        return std::nullopt;
    }
    std::vector<JsonMember> members;
    members.reserve(8);
    walker.step();
    walker.skip_space();
    while (walker.here() != '}') {
        JsonMember member;
        member.name = json_text(walker.value());
        walker.skip_space();
        walker.step();  // the colon
        walker.skip_space();
        member.raw = walker.value();
        members.push_back(std::move(member));
        walker.skip_space();
        if (walker.here() == ',') {
            walker.step();
            walker.skip_space();
        }
    }
    return members;
}

std::optional<std::vector<std::string_view>> array_elements(std::string_view text) {
    if (!text.starts_with('[')) {
        return std::nullopt;
    }
    Walker walker(text);
    std::vector<std::string_view> elements;
    walker.step();
    walker.skip_space();
    while (walker.here() != ']') {
        elements.push_back(walker.value());
        walker.skip_space();
        if (walker.here() == ',') {
            walker.step();
            walker.skip_space();
        }
    }
    return elements;
}

std::string json_text(std::string_view raw) {
    if (raw.find('\\') == raw.npos) {
        return std::string(raw.substr(1, raw.size() - 2));
    }
    return nlohmann::json::parse(raw).get<std::string>();
}

}  // namespace agentsight::tool
