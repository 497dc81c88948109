#include <charconv>

#include "sandbox/api.hpp"
#include "sandbox/json_text.hpp"
#include "sandbox/text.hpp"

namespace sandbox {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t max_comment = 5000;
constexpr std::size_t max_conversation_id = 255;

/// Reads one creation the way a serializer does: every field is looked at, and every
/// field's failures are told together.
class Form {
  public:
    explicit Form(const Json& body) : body_{body} {}

    Json errors = Json::object();
    Row row;

    void read_kind() {
        const Json* kind = member("kind");
        if (kind == nullptr)
            fail("kind", "This field is required.");
        else if (*kind != "conversation")
            fail("kind", choice_error(*kind));
    }

    void read_sentiment() {
        const Json* value = member("sentiment");
        if (value == nullptr)
            return fail("sentiment", "This field is required.");
        if (value->is_null())
            return fail("sentiment", "This field may not be null.");
        if (*value != "positive" && *value != "neutral" && *value != "negative")
            return fail("sentiment", choice_error(*value));
        row.sentiment = value->get<std::string>();
    }

    void read_comment() {
        if (const Json* value = member("comment"))
            row.comment = text("comment", *value, max_comment);
    }

    void read_metadata(bool kept) {
        const Json* value = member("metadata");
        if (value == nullptr || value->is_null())
            return;
        if (!value->is_object())
            return fail("metadata", "Expected a dictionary of items.");
        row.metadata = value->dump();
        surrogate_in_metadata = has_unpaired_surrogate(row.metadata);
        if (!kept)
            row.metadata.clear();
    }

    /// Reads both names; the database id counts where both are given.
    void read_conversation() {
        const Json* name = member("conversation_id");
        if (name != nullptr && !name->is_null())
            row.conversation_id = text("conversation_id", *name, max_conversation_id);
        const Json* key = member("conversation");
        if (key != nullptr && !key->is_null())
            row.conversation = database_id(*key);
        if (errors.empty() && row.conversation == 0 && row.conversation_id.empty())
            fail("conversation_id", "Either conversation or conversation_id is required.");
    }

    bool surrogate_in_metadata = false;

  private:
    const Json* member(const char* name) const {
        const auto at = body_.find(name);
        return at == body_.end() ? nullptr : &*at;
    }

    void fail(const char* field, const std::string& words) { errors[field] = Json::array({words}); }

    static std::string shown(const Json& value) {
        return value.is_string() ? value.get<std::string>() : value.dump();
    }

    static std::string choice_error(const Json& value) {
        return "\"" + shown(value) + "\" is not a valid choice.";
    }

    std::string text(const char* field, const Json& value, std::size_t limit) {
        if (value.is_null() || (!value.is_string() && !value.is_number())) {
            fail(field, value.is_null() ? "This field may not be null." : "Not a valid string.");
            return {};
        }
        const std::string whole = shown(value);
        const std::string_view trimmed = strip(whole);
        if (trimmed.find('\0') != std::string_view::npos)
            fail(field, "Null characters are not allowed.");
        else if (has_unpaired_surrogate(trimmed))
            fail(field, "Surrogate characters are not allowed.");
        else if (count_code_points(trimmed).value_or(0) > limit)
            fail(field,
                 "Ensure this field has no more than " + std::to_string(limit) + " characters.");
        return std::string{trimmed};
    }

    std::int64_t database_id(const Json& value) {
        std::int64_t key = 0;
        const std::string digits = shown(value);
        const char* end = digits.data() + digits.size();
        const auto [stop, error] = std::from_chars(digits.data(), end, key);
        if (value.is_boolean() || error != std::errc{} || stop != end || key <= 0)
            fail("conversation", "A valid integer is required.");
        return key;
    }

    const Json& body_;
};

std::optional<Reply> refuse_body(const Request& request, const Body& body) {
    const std::string_view type = request.header("Content-Type");
    if (!equal_ignoring_case(strip(type.substr(0, type.find(';'))), "application/json"))
        return detail_reply(415,
                            "Unsupported media type \"" + std::string{type} + "\" in request.");
    if (!body.error.empty())
        return detail_reply(400, "JSON parse error - " + body.error);
    if (body.value.is_object())
        return std::nullopt;
    const Json errors{{"non_field_errors", Json::array({"Invalid data. Expected a dictionary."})}};
    return json_reply(400, errors.dump());
}

/// Fills in both ids of the row's conversation; false: there is none.
bool place(Row& row, const ApiContext& context) {
    const bool by_key = row.conversation != 0;
    Store& store = context.store;
    Conversation* found =
        by_key ? store.find(row.conversation) : store.find(std::string_view{row.conversation_id});
    if (found == nullptr && context.settings.strict_conversations)
        return false;
    if (found == nullptr)
        found = &store.create(row.conversation_id, row.conversation);
    row.conversation = found->id;
    row.conversation_id = found->conversation_id;
    return true;
}

bool is_bearer(const Request& request) {
    return equal_ignoring_case(request.header("Authorization").substr(0, 7), "Bearer ");
}

std::string older_created(const Row& row, const Settings& settings) {
    ObjectText out;
    out.number("id", row.id)
        .number("conversation", row.conversation)
        .text("sentiment", row.sentiment)
        .text("source", row.source)
        .text("comment", row.comment)
        .raw("metadata", row.metadata.empty() ? "{}" : row.metadata)
        .text("created_at", iso8601(row.created_at_us, settings.whole_seconds));
    return out.take();
}

/// A header may hold any bytes; a row holds text.
std::string key_of(const Request& request) {
    const std::string_view key = request.header("Idempotency-Key");
    return count_code_points(key) ? std::string{key} : std::string{"(not UTF-8)"};
}

}  // namespace

Prepared prepare_creation(const Request& request, std::string_view route, const Body& body,
                          const ApiContext& context) {
    if (auto refused = refuse_body(request, body))
        return {.reply = std::move(*refused)};
    const bool older = route == "old";
    Form form{body.value};
    if (!older)
        form.read_kind();
    form.read_sentiment();
    form.read_comment();
    form.read_metadata(older && !context.settings.discard_metadata);
    form.read_conversation();
    if (!form.errors.empty())
        return {.reply = json_reply(400, form.errors.dump())};
    Row row = std::move(form.row);
    if (!place(row, context))
        return {.reply = detail_reply(404, "Conversation not found.")};
    row.source = is_bearer(request) ? "platform" : "customer";
    row.route = route;
    row.idempotency_key = key_of(request);
    row.created_at_us = context.now_us;
    return {.draft = std::move(row), .fails_after_store = form.surrogate_in_metadata};
}

Reply created_reply(const Row& row, const Settings& settings) {
    return json_reply(201,
                      row.route == "old" ? older_created(row, settings) : newer_row(row, settings));
}

}  // namespace sandbox
