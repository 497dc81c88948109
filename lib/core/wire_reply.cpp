#include <nlohmann/json.hpp>
#include <utility>

#include "core/json_tree.hpp"
#include "core/text.hpp"
#include "core/wire.hpp"

namespace agentsight::core {

namespace {

using Json = nlohmann::json;

constexpr std::size_t max_id_bytes = 255;

const Json* member(const Json& object, const char* name) {
    const auto found = object.find(name);
    return found == object.end() || found->is_null() ? nullptr : &*found;
}

/// Digits of an integer; none for another type.
std::optional<std::string> integer_text(const Json& value) {
    if (value.is_number_unsigned()) {
        return std::to_string(value.get<std::uint64_t>());
    }
    if (value.is_number_integer()) {
        return std::to_string(value.get<std::int64_t>());
    }
    return std::nullopt;
}

bool is_usable_id(const std::string& text) {
    return text.size() <= max_id_bytes && !strip(text).empty() &&
           printable(text, max_id_bytes) == text;
}

std::optional<std::string> read_id(const Json& object) {
    const Json* const value = member(object, "id");
    if (value == nullptr) {
        return std::nullopt;
    }
    if (value->is_string() && is_usable_id(value->get_ref<const std::string&>())) {
        return value->get_ref<const std::string&>();
    }
    return integer_text(*value);
}

/// Reads the members of a row; `ok()` turns false at the first of a wrong type.
class RowReader {
  public:
    explicit RowReader(const Json& row) : row_(row) {}

    bool ok() const { return ok_; }

    std::optional<std::string> string(const char* name) {
        const Json* const value = member(row_, name);
        if (value == nullptr) {
            return std::nullopt;
        }
        if (!value->is_string()) {
            ok_ = false;
            return std::nullopt;
        }
        return value->get_ref<const std::string&>();
    }

    std::optional<std::string> integer(const char* name) {
        const Json* const value = member(row_, name);
        if (value == nullptr) {
            return std::nullopt;
        }
        auto text = integer_text(*value);
        ok_ = ok_ && text.has_value();
        return text;
    }

  private:
    const Json& row_;
    bool ok_ = true;
};

std::optional<ServerRow> parse_row(const Json& json) {
    if (!json.is_object()) {
        return std::nullopt;
    }
    auto id = read_id(json);
    if (!id) {
        return std::nullopt;
    }
    ServerRow row;
    row.id = std::move(*id);
    RowReader reader{json};
    if (const auto sentiment = reader.string("sentiment")) {
        row.sentiment = parse_sentiment(*sentiment);
    }
    row.comment = reader.string("comment").value_or("");
    row.source = reader.string("source").value_or("");
    if (const auto created_at = reader.string("created_at")) {
        row.created_at = parse_iso8601(*created_at);
    }
    row.conversation = reader.integer("conversation");
    row.conversation_id = reader.string("conversation_id");
    row.kind = reader.string("kind");
    return reader.ok() ? std::optional{std::move(row)} : std::nullopt;
}

std::optional<std::vector<ServerRow>> parse_rows(const Json& array) {
    std::vector<ServerRow> rows;
    rows.reserve(array.size());
    for (const Json& json : array) {
        auto row = parse_row(json);
        if (!row) {
            return std::nullopt;
        }
        rows.push_back(std::move(*row));
    }
    return rows;
}

/// A page number or a count; none where missing. `ok` turns false for another type.
std::optional<std::uint64_t> read_count(const Json& envelope, const char* name, bool& ok) {
    const Json* const value = member(envelope, name);
    if (value == nullptr) {
        return std::nullopt;
    }
    if (!value->is_number_unsigned()) {
        ok = false;
        return std::nullopt;
    }
    return value->get<std::uint64_t>();
}

/// Whether a list's envelope says that a page follows; none where it is not an envelope.
std::optional<bool> read_more(const Json& envelope) {
    if (!envelope.is_object()) {
        return std::nullopt;
    }
    bool ok = true;
    const auto count = read_count(envelope, "count", ok);
    const auto page = read_count(envelope, "current_page", ok);
    const auto pages = read_count(envelope, "total_pages", ok);
    const Json* const next = member(envelope, "next");
    const Json* const results = member(envelope, "results");
    if (!ok || !count || (next != nullptr && !next->is_string()) || results == nullptr ||
        !results->is_array()) {
        return std::nullopt;
    }
    return next != nullptr || (page && pages && *page < *pages);
}

/// "text" or "text text": what the API says about one field.
void append_words(std::string& out, const Json& value) {
    // Bounded: printable() cuts the whole anyway.
    constexpr std::size_t max_texts = 8;
    if (value.is_string()) {
        out += value.get_ref<const std::string&>();
    } else if (value.is_array()) {
        for (std::size_t i = 0; i < value.size() && i < max_texts; ++i) {
            if (value[i].is_string()) {
                out += i == 0 ? "" : " ";
                out += value[i].get_ref<const std::string&>();
            }
        }
    }
}

std::string words(const Json& error) {
    constexpr std::size_t max_fields = 8;
    std::string text;
    for (const char* const name : {"detail", "error"}) {
        if (const Json* const value = member(error, name)) {
            append_words(text, *value);
        }
        if (!text.empty()) {
            return text;
        }
    }
    std::size_t fields = 0;
    for (const auto& [name, value] : error.items()) {
        std::string of_field;
        append_words(of_field, value);
        if (of_field.empty()) {
            continue;
        }
        text += (text.empty() ? "" : "; ") + name + ": " + of_field;
        if (++fields == max_fields) {
            break;
        }
    }
    return text;
}

/// What it shows of the form that was sent is the same; the other form says nothing.
template <class Shown>
bool shows_no_other(const Shown& shown, const ConversationKey& key) {
    if (key.is_number()) {
        return !shown.conversation || *shown.conversation == key.name();
    }
    return !shown.conversation_id || strip(*shown.conversation_id) == strip(key.name());
}

}  // namespace

bool ServerRow::may_be_of(const ConversationKey& key) const {
    return (!kind || *kind == "conversation") && shows_no_other(*this, key);
}

bool Created::may_be_of(const ConversationKey& key) const {
    return shows_no_other(*this, key);
}

std::optional<ServerRows> parse_feedback_list(std::string_view body) {
    const Json envelope = parse_json(body);
    const auto more = read_more(envelope);
    if (!more) {
        return std::nullopt;
    }
    auto rows = parse_rows(envelope["results"]);
    if (!rows) {
        return std::nullopt;
    }
    return ServerRows{std::move(*rows), *more};
}

std::optional<ServerRows> parse_conversation(std::string_view body) {
    const Json conversation = parse_json(body);
    if (!conversation.is_object() || !read_id(conversation)) {
        return std::nullopt;
    }
    const Json* const feedbacks = member(conversation, "feedbacks");
    if (feedbacks == nullptr || !feedbacks->is_array()) {
        return std::nullopt;
    }
    auto rows = parse_rows(*feedbacks);
    if (!rows) {
        return std::nullopt;
    }
    return ServerRows{std::move(*rows), false};
}

std::optional<std::string> parse_found_conversation(std::string_view body,
                                                    std::string_view business_id) {
    const Json envelope = parse_json(body);
    if (!read_more(envelope)) {
        return std::nullopt;
    }
    const Json& results = envelope["results"];
    if (results.empty()) {
        return std::string{};
    }
    for (const Json& row : results) {
        if (!row.is_object()) {
            return std::nullopt;
        }
        RowReader reader{row};
        const auto shown = reader.string("conversation_id");
        if (!reader.ok()) {
            return std::nullopt;
        }
        if (!shown || strip(*shown) == strip(business_id)) {
            return read_id(row);
        }
    }
    return std::nullopt;
}

std::optional<Created> parse_created(std::string_view body) {
    const Json json = parse_json(body);
    if (!json.is_object()) {
        return std::nullopt;
    }
    auto id = read_id(json);
    if (!id) {
        return std::nullopt;
    }
    Created created;
    created.id = std::move(*id);
    // Only the id makes it a create's answer; the rest helps where it is as documented.
    if (const Json* const at = member(json, "created_at"); at != nullptr && at->is_string()) {
        created.created_at = parse_iso8601(at->get_ref<const std::string&>());
    }
    if (const Json* const echo = member(json, "sentiment"); echo != nullptr && echo->is_string()) {
        created.sentiment = echo->get_ref<const std::string&>();
    }
    if (const Json* const echo = member(json, "conversation"); echo != nullptr) {
        created.conversation = integer_text(*echo);
    }
    if (const Json* const echo = member(json, "conversation_id");
        echo != nullptr && echo->is_string()) {
        created.conversation_id = echo->get_ref<const std::string&>();
    }
    return created;
}

bool parse_api_error(std::string_view body, std::string& detail) {
    detail.clear();
    const Json json = parse_json(body);
    if (!json.is_object()) {
        return false;
    }
    detail = printable(words(json));
    return true;
}

}  // namespace agentsight::core
