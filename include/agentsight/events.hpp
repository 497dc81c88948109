#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>

#include "agentsight/export.hpp"

namespace agentsight {

enum class HoldReason {
    person,              ///< `hold`; ends by `release`
    no_credential,       ///< ends by set_credential
    credential_refused,  ///< 401, 403: ends by set_credential; probed rarely
    account_unpaid,      ///< 401 that no other key changes
    link_down,           ///< no way to the server: backoff
    throttled,           ///< the server said when to come back
    route_lost,          ///< neither of the API's routes answers
    endpoint,            ///< misconfigured or intercepted
    proxy,               ///< a proxy or portal wants to be answered first
    refusals,            ///< five refusals in a row: the API changed
    outage,              ///< 5xx for everything
};

/// The reason's name as `status --json` prints it.
AGENTSIGHT_API std::string_view to_string(HoldReason reason) noexcept;

/// What an observer sees. Ids name records; no event holds feedback text.
namespace event {
struct Submitted {
    std::string id;
};
struct Delivered {
    std::string id;
    std::string server_id;
};
struct AttemptFailed {
    std::string id;
    int status;          ///< 0 without a response
    std::string detail;  ///< bounded, printable
};
struct Held {
    HoldReason reason;
    int status;
    std::string detail;
};
struct Released {
    HoldReason reason;
};
struct DeadLetter {
    std::string id;
    int status;
    std::string detail;
};
struct Salvaged {
    std::uint64_t rescued;
    std::string moved_to;
};
struct Dropped {
    std::uint64_t count;
};
struct Alarm {  ///< something a person should look at
    std::string detail;
};
}  // namespace event

using Event =
    std::variant<event::Submitted, event::Delivered, event::AttemptFailed, event::Held,
                 event::Released, event::DeadLetter, event::Salvaged, event::Dropped, event::Alarm>;
using Observer = std::function<void(const Event&)>;

enum class LogLevel { debug, info, warning, error };
using LogSink = std::function<void(LogLevel, std::string_view)>;

}  // namespace agentsight
