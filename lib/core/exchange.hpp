#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "agentsight/options.hpp"
#include "core/time.hpp"

namespace agentsight::core {

/// One HTTP request of ours, without host and credential, which the transport adds.
struct HttpRequest {
    enum class Method { get, post };
    Method method = Method::get;
    std::string target;           ///< origin form without the endpoint's prefix: "/api/..."
    std::string body;             ///< JSON; empty for get
    std::string idempotency_key;  ///< the record's id; empty: none
    /// Goes out under a credential of this kind or not at all; none: under any.
    Credential::Kind kind = Credential::Kind::none;
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
    aborted,     ///< we stopped it (close, suspend, another kind of credential)
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
