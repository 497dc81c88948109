#pragma once

#include <string>
#include <vector>

namespace sandbox {

/// What becomes of a client's attempt to connect.
enum class Link {
    up,
    refused,  ///< refused; connections that stand are reset
    silent,   ///< neither accepted nor refused, as where packets are dropped; connections
              ///< that stand go on
};

/// How the API behaves where it is not at fault. Changeable while it runs.
struct Settings {
    std::vector<std::string> api_keys;   ///< that may write; empty: any that is not empty
    std::vector<std::string> read_keys;  ///< keys with the role `read`: writing is a 403
    std::vector<std::string> jwts;       ///< empty: any
    bool unpaid = false;                 ///< 401 for the account's sake, whatever the key
    /// Only conversations made on the control port exist; else a creation makes its own.
    bool strict_conversations = false;
    bool older_envelope = false;    ///< lists without page_size, total_pages, current_page
    bool discard_metadata = false;  ///< as the older route has been observed to
    bool whole_seconds = false;     ///< timestamps without a fraction
    bool hide_source = false;       ///< conversations show their feedbacks without it
    int keep_alive_ms = 75'000;     ///< idle connections are closed after this
};

}  // namespace sandbox
