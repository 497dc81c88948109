#pragma once

#include "net/transport.hpp"
#include "settings.hpp"

namespace agentsight {

/// What of the settings the transport needs; one place for the worker and the client.
net::TransportOptions transport_options(const Settings& settings);

}  // namespace agentsight
