#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "sandbox/row.hpp"

namespace sandbox {

/// One complete request, taken apart.
struct Request {
    std::uint64_t number = 0;
    std::uint64_t connection = 0;
    unsigned version = 11;
    std::string method;
    std::string target;
    std::string path;  ///< the target before its query, still percent-coded
    Fields query;      ///< decoded
    Fields headers;
    std::string body;

    std::string_view header(std::string_view name) const;
};

/// A reply before it becomes bytes. Date, Server and framing are the composer's.
struct Reply {
    int status = 200;
    std::string content_type;  ///< empty: no body worth a type
    Fields headers;
    std::string body;
};

Reply json_reply(int status, std::string body);
Reply html_reply(int status, std::string_view title);
/// {"detail": "..."}
Reply detail_reply(int status, std::string_view words);
/// The page Django shows for a path no route knows.
Reply no_route();

std::string_view reason_phrase(int status);

}  // namespace sandbox
