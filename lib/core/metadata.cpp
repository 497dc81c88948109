#include "core/metadata.hpp"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "agentsight/detail/metadata.hpp"
#include "agentsight/error.hpp"
#include "core/json_text.hpp"
#include "core/text.hpp"

namespace agentsight::core {

namespace {

static_assert(max_metadata_levels == detail::max_metadata_depth);

/// Hears the parser's events and writes them down again, compactly. Each event answers
/// whether to go on; `problem()` says why not.
class Writer {
  public:
    Writer(std::size_t max_bytes, std::size_t likely) : max_bytes_(max_bytes) {
        out_.reserve(std::min(max_bytes, likely));
    }

    std::error_code problem() const { return problem_; }
    bool empty_object() const { return out_ == "{}"; }
    std::string take() { return std::move(out_); }

    bool null() {
        return scalar([this] { out_ += "null"; });
    }
    bool boolean(bool value) {
        return scalar([this, value] { out_ += value ? "true" : "false"; });
    }
    bool number_integer(std::int64_t value) {
        return scalar([this, value] { append_json_number(out_, value); });
    }
    bool number_unsigned(std::uint64_t value) {
        return scalar([this, value] { append_json_number(out_, value); });
    }
    bool number_float(double value, const std::string& given) {
        // The parser turns an integer that fits no 64 bits into a double: rounded.
        if (given.find_first_not_of("-0123456789") == std::string::npos) {
            return fail(errc::metadata_integer_out_of_range);
        }
        return scalar([this, value] { append_json_number(out_, value); });
    }
    bool string(std::string& value) {
        return scalar([this, &value] { append_json_string(out_, value); });
    }
    bool binary(std::vector<std::uint8_t>&) { return fail(errc::metadata_not_json); }

    bool start_object(std::size_t) { return open('{'); }
    bool start_array(std::size_t) { return levels_.empty() ? not_an_object() : open('['); }
    bool end_object() { return !name_twice() && close('}'); }
    bool end_array() { return close(']'); }

    bool key(std::string& name) {
        separate();
        const std::size_t begin = out_.size();
        append_json_string(out_, name);
        names_.emplace_back(begin, out_.size() - begin);
        out_ += ':';
        after_name_ = true;
        return in_size();
    }

    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) {
        constexpr int number_overflow = 406;
        return fail(error.id == number_overflow ? errc::metadata_integer_out_of_range
                                                : errc::metadata_not_json);
    }

  private:
    struct Level {
        std::size_t first_name;  ///< in names_
        bool has_elements = false;
    };

    bool fail(errc code) {
        problem_ = code;
        return false;
    }
    bool not_an_object() { return fail(errc::metadata_not_object); }
    bool in_size() { return out_.size() <= max_bytes_ || fail(errc::metadata_too_large); }

    void separate() {
        if (!std::exchange(after_name_, false) && !levels_.empty() &&
            std::exchange(levels_.back().has_elements, true)) {
            out_ += ',';
        }
    }

    template <class Write>
    bool scalar(Write write) {
        if (levels_.empty()) {
            return not_an_object();
        }
        separate();
        write();
        return in_size();
    }

    bool open(char bracket) {
        if (levels_.size() == max_metadata_levels) {
            return fail(errc::metadata_too_deep);
        }
        separate();
        out_ += bracket;
        levels_.push_back({names_.size()});
        return in_size();
    }

    bool close(char bracket) {
        out_ += bracket;
        names_.resize(levels_.back().first_name);
        levels_.pop_back();
        return in_size();
    }

    /// Names are compared as written: equal names have equal texts.
    bool name_twice() {
        const auto text = [this](const Name& name) {
            return std::string_view{out_}.substr(name.first, name.second);
        };
        const auto begin = names_.begin() + static_cast<std::ptrdiff_t>(levels_.back().first_name);
        std::sort(begin, names_.end(),
                  [&](const Name& a, const Name& b) { return text(a) < text(b); });
        const auto twice = std::adjacent_find(
            begin, names_.end(), [&](const Name& a, const Name& b) { return text(a) == text(b); });
        if (twice != names_.end()) {
            fail(errc::metadata_duplicate_name);
            return true;
        }
        return false;
    }

    using Name = std::pair<std::size_t, std::size_t>;  ///< begin and length in out_

    std::size_t max_bytes_;
    std::string out_;
    std::vector<Level> levels_;
    std::vector<Name> names_;  ///< of all objects that are open
    bool after_name_ = false;
    std::error_code problem_;
};

}  // namespace

std::error_code compact_metadata(std::string_view json, std::size_t max_bytes, std::string& text) {
    if (json.empty()) {
        text.clear();
        return {};
    }
    if (!count_code_points(json)) {
        return errc::metadata_not_utf8;
    }
    // The parser takes a NUL for the end and would not see what follows.
    if (json.find('\0') != std::string_view::npos) {
        return errc::metadata_not_json;
    }
    Writer writer{max_bytes, json.size()};
    if (!nlohmann::json::sax_parse(json, &writer)) {
        return writer.problem() ? writer.problem() : errc::metadata_not_json;
    }
    if (writer.empty_object()) {
        text.clear();
    } else {
        text = writer.take();
    }
    return {};
}

bool has_member(std::string_view object, std::string_view name) {
    std::string wanted;
    append_json_string(wanted, name);
    std::size_t depth = 0;
    for (std::size_t i = 0; i < object.size(); ++i) {
        const char c = object[i];
        if (c == '{' || c == '[') {
            ++depth;
        } else if (c == '}' || c == ']') {
            --depth;
        } else if (c == '"') {
            const std::size_t begin = i++;
            while (i < object.size() && object[i] != '"') {
                i += object[i] == '\\' ? 2 : 1;
            }
            // In compact text a colon follows a name at once, and never a value.
            if (depth == 1 && i + 1 < object.size() && object[i + 1] == ':' &&
                object.substr(begin, i + 1 - begin) == wanted) {
                return true;
            }
        }
    }
    return false;
}

}  // namespace agentsight::core
