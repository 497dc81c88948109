#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sandbox {

/// One feedback the server stored. Rows stand in order of arrival; ids increase.
struct Row {
    std::int64_t id = 0;
    std::int64_t conversation = 0;  ///< the database id
    std::string conversation_id;    ///< the business id
    std::string sentiment;
    std::string comment;             ///< as stored: trimmed
    std::string metadata;            ///< JSON text; empty: none sent, or not kept
    std::string source;              ///< customer or platform
    std::string route;               ///< old or new: which of the two routes created it
    std::string idempotency_key;     ///< recorded for the tests; the server ignores it
    std::int64_t created_at_us = 0;  ///< by the server's clock, offset included
    std::chrono::steady_clock::time_point arrived;  ///< when it was stored, really
    bool deleted = false;                           ///< a moderator removed it
};

using Fields = std::vector<std::pair<std::string, std::string>>;

/// One request as it came, and what became of it.
struct RequestRecord {
    std::uint64_t number = 0;      ///< from 1, in the order the requests were complete
    std::uint64_t connection = 0;  ///< from 1, in the order of the accepts
    std::string method;
    std::string target;
    Fields headers;  ///< in the order and spelling of the client
    std::string body;
    std::int64_t received_us = 0;       ///< real time since 1970
    std::int64_t answered_us = 0;       ///< when the reply began; 0: never
    int status = 0;                     ///< of the reply; 0: none was given
    std::int64_t row_id = 0;            ///< the row this request created; 0: none
    std::vector<std::uint64_t> faults;  ///< those that applied

    /// The value of the first field of that name, whatever its case; empty: none.
    std::string header(std::string_view name) const;
};

/// Something a well-behaved client does not do.
struct ProtocolError {
    std::string kind;  ///< a stable word, such as "missing_host"
    std::string detail;
    std::uint64_t connection = 0;
    std::uint64_t request = 0;  ///< 0: not within a complete request
};

}  // namespace sandbox
