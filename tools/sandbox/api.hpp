#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "sandbox/body.hpp"
#include "sandbox/http.hpp"
#include "sandbox/settings.hpp"
#include "sandbox/store.hpp"

namespace sandbox {

/// Which route a path names; words as in Fault::route, empty where no route does.
struct RouteMatch {
    std::string_view route;
    std::int64_t key = 0;  ///< of a conversation
};
RouteMatch match_route(std::string_view path);

/// What the API makes of a request before anything is stored.
struct Prepared {
    Reply reply;               ///< final, unless there is a draft
    std::optional<Row> draft;  ///< the row to store; then created_reply is the answer
    bool fails_after_store = false;
};

struct ApiContext {
    Store& store;
    const Settings& settings;
    std::int64_t now_us = 0;    ///< by the server's clock
    std::int64_t stale_ms = 0;  ///< rows younger than this are not shown
};

/// The API's judgement. Knows no connection and no fault but staleness.
Prepared prepare(const Request& request, const Body& body, const ApiContext& context);
/// The 201 for a row as its route tells it.
Reply created_reply(const Row& row, const Settings& settings);

// The halves, in their own files.
Prepared prepare_creation(const Request& request, std::string_view route, const Body& body,
                          const ApiContext& context);
Reply list_feedbacks(const Request& request, const ApiContext& context);
Reply list_conversations(const Request& request, const ApiContext& context);
Reply lookup_conversation(const Request& request, const ApiContext& context);
Reply show_conversation(std::int64_t key, const ApiContext& context);

/// A row as the newer route tells it: one JSON object.
std::string newer_row(const Row& row, const Settings& settings);

/// The names the API knows for a list's filters, for the inspection.
bool is_list_filter(std::string_view route, std::string_view name);

}  // namespace sandbox
