#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/exchange.hpp"
#include "core/feedback.hpp"

namespace agentsight::delivery {

/// What an attempt to create a feedback told us: the rows of the outcome table.
enum class Class {
    delivered,
    link_down,           ///< nothing of the request was written
    not_processed,       ///< 408, 421, 425
    throttled,           ///< 429; 503 with Retry-After and the API's JSON
    credential_refused,  ///< 401, 403 with the API's JSON
    account_unpaid,      ///< the 401 that no other key changes
    proxy,               ///< 407, 511
    route_lost,          ///< 405, 410, 501; 404 that is not the API's JSON
    not_found,           ///< 404 with the API's JSON: the conversation
    refused,             ///< 400, 413, 422, other 4xx, with the API's JSON
    intercepted,         ///< any other 4xx; 3xx but 303
    unknown,             ///< everything else once a byte was written
};

struct Outcome {
    Class what = Class::unknown;
    std::optional<std::int64_t> retry_after_ms;  ///< throttled
    std::string server_id;                       ///< delivered
    std::optional<core::UtcMs> server_time;      ///< delivered
    int status = 0;
    bool server_error = false;  ///< unknown by a 5xx
    std::string detail;         ///< the server's words or the failure; bounded, printable
};

/// What a request to create said: an answer that echoes something else is not about it.
struct Sent {
    Sentiment sentiment = Sentiment::neutral;
    core::ConversationKey conversation;
};

/// Total: every evidence has a class. Pure.
Outcome classify(const core::Evidence& evidence, const Sent& sent);

std::string_view to_string(Class what) noexcept;

/// What an attempt to read (a list of rows, a conversation) told us. Reading changes
/// nothing on the server, so nothing here is ever unknown.
enum class ReadClass {
    readable,            ///< 200 that says JSON; whether it is the API's the parser decides
    link_down,           ///< nothing of the request was written
    broken,              ///< cut, timed out, 5xx, 408: try again
    too_large,           ///< more than the transport takes: ask for less
    throttled,           ///< 429; 503 with Retry-After and the API's JSON
    credential_refused,  ///< 401 with the API's JSON
    account_unpaid,      ///< the 401 that no other key changes
    proxy,               ///< 407, 511
    route_lost,          ///< 405, 410, 501; 404 that is not the API's JSON
    not_found,           ///< 404 with the API's JSON
    refused,             ///< 403 and other 4xx with the API's JSON: this key may not read
    foreign,             ///< a portal's or a firewall's answer
};

struct ReadOutcome {
    ReadClass what = ReadClass::broken;
    std::optional<std::int64_t> retry_after_ms;
    int status = 0;
    std::string detail;
};

/// Total, as classify().
ReadOutcome classify_read(const core::Evidence& evidence);

}  // namespace agentsight::delivery
