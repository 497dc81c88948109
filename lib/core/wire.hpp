#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agentsight/feedback.hpp"
#include "core/exchange.hpp"
#include "core/feedback.hpp"
#include "core/uuid.hpp"

/// The API's JSON, both ways (API contract). Knows no policy.
namespace agentsight::core {

/// Which of the API's two routes creates a feedback.
enum class Route { conversation_feedbacks, feedbacks };

/// The POST that creates `feedback`. `collected_at` (ISO 8601; empty: none) is added to the
/// metadata unless the caller's has such a member. Member order as the upstream client's.
/// The route `feedbacks` documents no metadata: there it stays at home.
HttpRequest create_request(Route route, const Feedback& feedback, const Uuid& id,
                           std::string_view collected_at);

/// GET /api/feedbacks/ for one conversation, newest first, rows created at or after `since`,
/// 100 a page. A server that does not know a filter ignores it: check the rows.
/// `page_size` up to 100; less where a page would be more than the transport takes.
HttpRequest list_feedbacks_request(const ConversationKey& conversation, UtcMs since, int page,
                                   int page_size = 100);
/// GET /api/conversations/?conversation_id=X&full=false&include_deleted=true&page_size=1
HttpRequest find_conversation_request(std::string_view business_id);
/// GET /api/conversations/{pk}/
HttpRequest conversation_request(std::string_view database_id);

/// A row of ours on the server, as the list or the conversation shows it.
struct ServerRow {
    std::string id;
    std::optional<Sentiment> sentiment;
    std::string comment;
    std::string source;  ///< empty: not shown
    std::optional<UtcMs> created_at;
    std::optional<std::string> conversation;     ///< the database id, where shown
    std::optional<std::string> conversation_id;  ///< the business id, where shown
    std::optional<std::string> kind;             ///< of a feedback, where shown

    /// False where the row shows that it is of another conversation, or of another kind
    /// than a conversation's feedback. Business ids are compared as the server trims them.
    bool may_be_of(const ConversationKey& key) const;
};

/// A list page or a conversation with its feedbacks.
struct ServerRows {
    std::vector<ServerRow> rows;
    bool more = false;  ///< a next page exists
};

/// None where the body is not the API's JSON of that kind, or a row lacks its id or has a
/// member of another type than documented.
std::optional<ServerRows> parse_feedback_list(std::string_view body);
std::optional<ServerRows> parse_conversation(std::string_view body);
/// The id of the row that shows the business id, else of a first row that shows none. Outer
/// none: not the API's JSON, or only rows of other conversations (the filter was ignored, so
/// they prove nothing); empty text: no such conversation.
std::optional<std::string> parse_found_conversation(std::string_view body,
                                                    std::string_view business_id);

/// What a create's 2xx body says.
struct Created {
    std::string id;  ///< never empty
    std::optional<UtcMs> created_at;
    std::optional<std::string> sentiment;        ///< where echoed
    std::optional<std::string> conversation;     ///< the database id, where echoed
    std::optional<std::string> conversation_id;  ///< the business id, where echoed

    /// False where it shows that it is about another conversation. As ServerRow::may_be_of.
    bool may_be_of(const ConversationKey& key) const;
};
/// None unless the body is one complete JSON object bearing an id: an integer, or text that
/// is not blank, of at most 255 bytes, without control characters.
std::optional<Created> parse_created(std::string_view body);

/// Whether an error's body is the API's: a JSON object. `detail` gets its words: detail,
/// error, or the fields' texts, bounded and printable.
bool parse_api_error(std::string_view body, std::string& detail);

}  // namespace agentsight::core
