#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/time.hpp"

namespace agentsight::core {

/// Lets a request go out until whoever gave it takes back all it has given: it has learnt
/// something meanwhile (a hold, a new credential), and to make a connection takes its time.
struct Permit {
    std::shared_ptr<const std::uint64_t> withdrawals;  ///< counted by the giver; null: for ever
    std::uint64_t given_at = 0;
    bool is_withdrawn() const noexcept { return withdrawals && *withdrawals != given_at; }
};

/// One HTTP request of ours, without host and credential, which the transport adds.
struct HttpRequest {
    enum class Method { get, post };
    Method method = Method::get;
    std::string target;           ///< origin form without the endpoint's prefix: "/api/..."
    std::string body;             ///< JSON; empty for get
    std::string idempotency_key;  ///< the record's id; empty: none
    Permit permit;                ///< asked for before the first byte goes out
    /// By how much the answer's body may exceed what the transport takes of any answer.
    std::size_t more_answer = 0;
};

/// Why an exchange has no complete response.
enum class Failure {
    none,        ///< there is a complete response
    resolve,     ///< no address for the name
    connect,     ///< no connection
    tls,         ///< handshake or certificate
    clock,       ///< the certificate is not valid at this device's time, which is doubtful
    proxy,       ///< the proxy refused CONNECT other than by 407
    proxy_auth,  ///< the proxy answered 407
    timeout,     ///< a deadline passed
    cut,         ///< reset or end of file
    malformed,   ///< not HTTP, or not what a limit of ours allows (encoding, two lengths)
    too_large,   ///< header or body beyond the limit
    aborted,     ///< we stopped it (close, suspend, a permit withdrawn)
};

/// What one exchange told us: facts, not judgements.
struct Evidence {
    /// False: nothing of the request was given to the kernel, so the server cannot have
    /// seen it. True: it may have, in whole or in part.
    bool request_written = false;
    Failure failure = Failure::none;
    int status = 0;                          ///< of the final response; 0: none complete
    bool json = false;                       ///< Content-Type says JSON, or nothing
    std::optional<std::string> retry_after;  ///< the raw field
    std::optional<UtcMs> date;               ///< the Date field, parsed
    std::string location;                    ///< of a redirect; bounded
    std::string body;                        ///< at most the transport's limit
    std::string detail;                      ///< for people: bounded, printable, no secret
    Moment began;                            ///< before the first byte, or the call
    Moment ended;
};

}  // namespace agentsight::core
