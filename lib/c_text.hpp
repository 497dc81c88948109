#pragma once

#include <string>

#include "agentsight/events.hpp"
#include "agentsight/status.hpp"

namespace agentsight {

/// An event as one JSON object: {"event": "delivered", "id": ..., ...}.
std::string event_json(const Event& event);

/// The outbox as `agentsight-outbox status --json` prints it.
std::string status_json(const Status& status);

}  // namespace agentsight
