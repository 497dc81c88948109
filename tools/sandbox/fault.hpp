#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "sandbox/row.hpp"

namespace sandbox {

/// What goes wrong. Of several faults that match one request, the first added of each
/// group below applies; groups combine.
enum class FaultKind {
    // How a connection begins (matched by nothing but counts).
    hang_connect,  ///< accepted, never read
    slow_accept,   ///< accepted `ms` late
    reset_accept,  ///< accepted and reset
    // Before anything else.
    latency,  ///< waits `ms` before the request is looked at
    interim,  ///< `status` (100, 103; 101 too) `count` times before the reply
    // What becomes of the request.
    status,             ///< answers `status`, stores nothing (`store`: does)
    error_after_store,  ///< stores, then answers `status` (500)
    drop_before,        ///< closes before the row is stored
    drop_after,         ///< stores, closes without a reply
    hang,               ///< reads, never answers (`store`: after storing)
    late,               ///< answers `status` (504; 0: closes), stores `ms` later
    throttle,           ///< 429 after `requests` in `per_ms`
    route_removed,      ///< a 404 page for the `generation` "old" or "new"
    captive_portal,     ///< a 200 page, or with `status` 302 a redirect to `location`
    duplicate,          ///< stores two rows, as a proxy that repeats does
    rewrite,            ///< stores (and echoes) `body` as the comment
    // How rows are read.
    stale_list,  ///< rows younger than `ms` are not shown
    // What the bytes of the reply look like.
    cut,              ///< only the first `at` bytes; negative: all but the last -at
    giant,            ///< a body of `bytes`; variant "header": a header of `bytes`
    wrong_length,     ///< Content-Length off by `bytes` (may be negative), then closed
    close_delimited,  ///< no length; the end is the end of the connection
    chunked,          ///< a chunked reply; variant "cut": without the last chunk
    gzip,             ///< Content-Encoding: gzip
    bad_json,         ///< the body without its last character
    malformed,        ///< no HTTP: `variant`, or `body` as the raw bytes
    // Fields of the reply.
    headers,  ///< replaces or adds `headers`; an empty value removes the field
    // How fast it comes.
    drip,  ///< `bytes` (1) every `interval_ms`, from byte `at` on
    // What happens after it.
    close_idle,  ///< closes `ms` after the reply, unannounced
    push_idle,   ///< `ms` after the reply sends an unasked 408 and closes
};

/// One fault on demand: what to match, how often, and its parameters. Every member has
/// a JSON member of the same name on the control port.
struct Fault {
    static constexpr std::int64_t unset = std::numeric_limits<std::int64_t>::min();

    FaultKind kind = FaultKind::status;

    // Match: all that are set must.
    std::string route;            ///< old, new, conversation, conversations, lookup, me; empty: any
    std::string method;           ///< empty: POST for the kinds about storing, else any; "*": any
    std::string path;             ///< a prefix of the path
    std::string comment;          ///< a part of the comment
    std::string conversation_id;  ///< the business id, or the database id as text

    // How often.
    std::int64_t skip = 0;    ///< the first matches pass unharmed
    std::int64_t nth = 0;     ///< only the n-th match, from 1; 0: any
    std::int64_t every = 1;   ///< every n-th match after `skip`
    std::int64_t times = -1;  ///< then it is used up; -1: never
    double probability = 1;
    std::uint64_t seed = 1;

    // Parameters; see the kinds.
    std::int64_t status = unset;
    std::string body;  ///< "json", "html", "empty", or the text itself
    Fields headers;
    std::string retry_after;  ///< short for the header
    std::string location;     ///< short for the header
    std::int64_t at = unset;
    std::int64_t bytes = unset;
    std::int64_t ms = unset;
    std::int64_t interval_ms = unset;
    std::int64_t count = unset;
    std::int64_t requests = unset;
    std::int64_t per_ms = unset;
    bool store = false;      ///< status, hang: the row is stored first
    bool reset = false;      ///< closing is a RST instead of a FIN
    std::string generation;  ///< route_removed
    std::string variant;
};

std::string_view name_of(FaultKind kind);
/// All kinds' names, for a help text.
std::string kind_names();
/// A line and an example for each kind.
std::string kinds_help();

/// From a JSON object, or from "kind,member=value,...". Throws std::invalid_argument with
/// words fit for a person; an unknown member is an error.
Fault parse_fault(std::string_view spec);
std::string fault_json(const Fault& fault);

}  // namespace sandbox
