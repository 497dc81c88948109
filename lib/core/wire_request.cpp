#include <algorithm>

#include "core/json_text.hpp"
#include "core/metadata.hpp"
#include "core/text.hpp"
#include "core/wire.hpp"

namespace agentsight::core {

namespace {

constexpr int rows_a_page = 100;  // The most the API gives.

/// The answer to a create repeats what was sent. UTF-8 written as \uXXXX is three times as long
/// at most: two bytes become six, four become twelve.
constexpr std::size_t most_growth = 3;

/// A conversation comes with all that was said in it. Bounded, as it is held in memory.
constexpr std::size_t long_conversation_bytes = std::size_t{1} << 20;

/// Appends members to an object's text.
class ObjectText {
  public:
    void string(std::string_view name, std::string_view value) {
        member(name);
        append_json_string(text_, value);
    }
    /// `value` is JSON already.
    void json(std::string_view name, std::string_view value) {
        member(name);
        text_ += value;
    }
    std::string finish() && { return std::move(text_ += '}'); }

  private:
    void member(std::string_view name) {
        if (text_.size() > 1) {
            text_ += ',';
        }
        append_json_string(text_, name);
        text_ += ':';
    }

    std::string text_ = "{";
};

std::string metadata_with(std::string_view metadata, std::string_view collected_at) {
    constexpr std::string_view name = "collected_at";
    std::string text{metadata};
    if (collected_at.empty() || has_member(metadata, name)) {
        return text;
    }
    if (text.empty()) {
        text = "{";
    } else {
        text.back() = ',';  // In place of the closing brace.
    }
    append_json_string(text, name);
    text += ':';
    append_json_string(text, collected_at);
    text += '}';
    return text;
}

/// Everything but RFC 3986's unreserved characters, so that a text can neither end its
/// parameter nor break the request line.
std::string percent_encode(std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                           (c >= 'A' && c <= 'Z') ||
                           std::string_view{"-._~"}.find(c) != std::string_view::npos;
        if (plain) {
            out.push_back(c);
            continue;
        }
        out.push_back('%');
        out.push_back(digits[static_cast<unsigned char>(c) >> 4]);
        out.push_back(digits[static_cast<unsigned char>(c) & 0x0f]);
    }
    return out;
}

HttpRequest get(std::string target) {
    HttpRequest request;
    request.target = std::move(target);
    return request;
}

/// "conversation=42" or "conversation_id=support-session-456", as the server keeps it
std::string conversation_filter(const ConversationKey& conversation) {
    return (conversation.is_number() ? "conversation=" : "conversation_id=") +
           percent_encode(strip(conversation.name()));
}

}  // namespace

HttpRequest create_request(Route route, const Feedback& feedback, const Uuid& id,
                           std::string_view collected_at) {
    const bool older = route == Route::conversation_feedbacks;
    ObjectText body;
    if (!older) {
        body.string("kind", "conversation");
    }
    body.string("sentiment", to_string(feedback.sentiment));
    if (feedback.conversation.is_number()) {
        body.json("conversation", feedback.conversation.name());
    } else {
        body.string("conversation_id", feedback.conversation.name());
    }
    if (!feedback.comment.empty()) {
        body.string("comment", feedback.comment);
    }
    // The successor documents no metadata; an undocumented member could be refused.
    if (older) {
        const std::string metadata = metadata_with(feedback.metadata, collected_at);
        if (!metadata.empty()) {
            body.json("metadata", metadata);
        }
    }
    HttpRequest request;
    request.method = HttpRequest::Method::post;
    request.target = older ? "/api/conversation-feedbacks/" : "/api/feedbacks/";
    request.body = std::move(body).finish();
    request.idempotency_key = id.text();
    request.more_answer = most_growth * request.body.size();
    return request;
}

// No filter by kind or sentiment: a row we need as a proof must not be lost to a filter that
// a server understands in its own way.
HttpRequest list_feedbacks_request(const ConversationKey& conversation, UtcMs since, int page,
                                   int page_size) {
    return get(joined({"/api/feedbacks/?", conversation_filter(conversation),
                       "&created_at_after=", percent_encode(iso8601(since)),
                       "&ordering=-created_at&page=", std::to_string(page),
                       "&page_size=", std::to_string(std::min(page_size, rows_a_page))}));
}

HttpRequest find_conversation_request(std::string_view business_id) {
    return get(joined({"/api/conversations/?conversation_id=", percent_encode(strip(business_id)),
                       "&full=false&include_deleted=true&page_size=1"}));
}

HttpRequest conversation_request(std::string_view database_id) {
    HttpRequest request = get(joined({"/api/conversations/", percent_encode(database_id), "/"}));
    request.more_answer = long_conversation_bytes;
    return request;
}

}  // namespace agentsight::core
