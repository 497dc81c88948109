#include "core/json_tree.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace agentsight::core {
namespace {

using Json = nlohmann::json;

/// Hears of one token after the other, and puts each where it belongs.
class TreeBuilder {
  public:
    explicit TreeBuilder(Json& root) : root_(root) {}

    bool null() { return put(Json(nullptr)); }
    bool boolean(bool value) { return put(Json(value)); }
    bool number_integer(std::int64_t value) { return put(Json(value)); }
    bool number_unsigned(std::uint64_t value) { return put(Json(value)); }
    bool number_float(double value, const std::string&) { return put(Json(value)); }
    bool string(std::string& value) { return put(Json(std::move(value))); }
    bool binary(Json::binary_t&) { return false; }
    bool start_object(std::size_t) { return open(Json::value_t::object); }
    bool start_array(std::size_t) { return open(Json::value_t::array); }
    bool end_object() { return close(); }
    bool end_array() { return close(); }
    bool key(std::string& name) {
        member_ = &(*levels_.back())[name];
        return true;
    }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) {
        return false;
    }

  private:
    bool put(Json&& value) {
        *place() = std::move(value);
        return true;
    }
    bool open(Json::value_t kind) {
        Json* const container = place();
        *container = Json(kind);
        levels_.push_back(container);
        return true;
    }
    bool close() {
        levels_.pop_back();
        return true;
    }
    /// Where the next value goes. Stays where it is while the value is being built.
    Json* place() {
        if (levels_.empty()) {
            return &root_;
        }
        Json& container = *levels_.back();
        if (container.is_object()) {
            return member_;
        }
        container.push_back(Json());
        return &container.back();
    }

    Json& root_;
    std::vector<Json*> levels_;
    Json* member_ = nullptr;
};

}  // namespace

Json parse_json(std::string_view text) {
    Json root;
    TreeBuilder builder(root);
    // The parser takes a NUL for the end and would not see what follows.
    if (text.find('\0') != std::string_view::npos || !Json::sax_parse(text, &builder)) {
        return Json(Json::value_t::discarded);
    }
    return root;
}

}  // namespace agentsight::core
