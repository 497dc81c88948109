#include <doctest/doctest.h>

#include "net/transport.hpp"
#include "os/clock.hpp"
#include "scripted_server.hpp"

using namespace agentsight;
using namespace agentsight::test;

TEST_CASE("a build without TLS refuses https in words, and writes nothing") {
    boost::asio::io_context context{1};
    const os::SystemClock clock;
    core::Url endpoint;
    endpoint.tls = true;
    endpoint.host = "127.0.0.1";
    endpoint.port = 443;
    net::Transport transport{context, options_for(endpoint), clock};
    const core::Evidence evidence = run(context, transport.send(post()));
    CHECK(evidence.failure == core::Failure::tls);
    CHECK_FALSE(evidence.request_written);
    CHECK(evidence.detail.find("this build was made without TLS") != std::string::npos);
}
