#pragma once

#include <functional>

#include "sandbox/http.hpp"
#include "sandbox/hub.hpp"

namespace sandbox {

/// The control port's API, all JSON:
///
///   GET    /                        {"rows", "requests", "errors", "connections", "faults",
///   "clock_offset_ms"} GET    /rows?after=ID&limit=N   [rows]        GET /rows/count   {"count"}
///   GET    /requests?after=NUMBER   [requests]    GET /errors       [errors]
///   GET    /faults                  [faults, with id, seen, hits]
///   POST   /faults                  one fault, or a list   -> {"ids": [...]}
///   DELETE /faults, /faults/ID, /rows/ID
///   POST   /clock                   {"offset_ms"}
///   POST   /conversations           {"conversation_id", "id"}, the latter optional -> {"id"}
///   POST   /settings                any of Settings' members
///   POST   /link                    {"up": false}, or {"state": "up" | "refused" | "silent"}
///   POST   /reset, /clear           all of it; the journal only
class Control {
  public:
    Control(Hub& hub, std::function<void(Link)> set_link)
        : hub_{hub}, set_link_{std::move(set_link)} {}

    Reply handle(const Request& request);

  private:
    Reply get(const Request& request);
    Reply post(const Request& request);
    Reply remove(const Request& request);

    Hub& hub_;
    std::function<void(Link)> set_link_;
};

}  // namespace sandbox
