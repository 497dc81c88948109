#include "sandbox/tail.hpp"

#include <nlohmann/json.hpp>

#include "sandbox/text.hpp"

namespace sandbox {
namespace {

/// As JSON text, so that nothing in it acts on the terminal.
std::string quoted(const std::string& text) {
    return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string masked(const std::string& text, bool reveal) {
    if (text.empty())
        return "-";
    return reveal ? quoted(text) : "\"***\"";
}

}  // namespace

std::string tail_line(const Row& row, bool reveal) {
    return iso8601(row.created_at_us, false) + "  #" + std::to_string(row.id) + "  " +
           quoted(row.conversation_id) + "  " + row.sentiment + "  " + row.source + "  " +
           masked(row.comment, reveal);
}

}  // namespace sandbox
