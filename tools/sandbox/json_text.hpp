#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sandbox {

/// `text` as a JSON string. Bytes that are not UTF-8 pass as they are.
std::string json_string(std::string_view text);

/// Writes one JSON object member by member: the server answers thousands a second, and
/// a tree built only to be written costs more than all else it does.
class ObjectText {
  public:
    ObjectText& text(std::string_view name, std::string_view value);
    ObjectText& number(std::string_view name, std::int64_t value);
    ObjectText& boolean(std::string_view name, bool value);
    ObjectText& null(std::string_view name);
    /// `json` as it stands.
    ObjectText& raw(std::string_view name, std::string_view json);

    std::string take();

  private:
    void begin(std::string_view name);

    std::string out_ = "{";
};

}  // namespace sandbox
