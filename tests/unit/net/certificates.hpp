#pragma once

#include "scripted_server.hpp"
#include "support/identity.hpp"

namespace boost::asio::ssl {
class context;
}

namespace agentsight::test {

boost::asio::ssl::context server_context(const ServerTls& tls);

}  // namespace agentsight::test
