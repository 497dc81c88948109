#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>

#include "outbox/store.hpp"
#include "relay.hpp"
#include "settings.hpp"
#include "store_options.hpp"
#include "support/temporary_folder.hpp"
#include "support/test_clock.hpp"
#include "support/test_random.hpp"
#include "worker.hpp"

using namespace agentsight;
using namespace agentsight::test;
using namespace std::chrono_literals;

namespace {

/// A server that reads and never answers, in the hands of the test's own thread.
class SilentServer {
  public:
    SilentServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        const timeval patience{.tv_sec = 30, .tv_usec = 0};
        ::setsockopt(listener_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        REQUIRE(::bind(listener_, generic, size) == 0);
        REQUIRE(::listen(listener_, 8) == 0);
        REQUIRE(::getsockname(listener_, generic, &size) == 0);
        url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    }
    ~SilentServer() {
        ::close(connection_);
        ::close(listener_);
    }
    SilentServer(const SilentServer&) = delete;
    SilentServer& operator=(const SilentServer&) = delete;

    const std::string& url() const { return url_; }

    /// The first bytes of the next connection's request.
    std::string read_request() {
        connection_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        std::array<char, 1'024> buffer;
        const ssize_t size = ::recv(connection_, buffer.data(), buffer.size(), 0);
        return {buffer.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
    }

  private:
    int listener_;
    int connection_ = -1;
    std::string url_;
};

}  // namespace

TEST_CASE("H33: after a suspend what was in flight is unknown at once, and is not sent again") {
    const TemporaryFolder folder;
    TestClock clock;
    TestRandom random;
    SilentServer server;
    Options options;
    options.outbox_path = folder.path() / "feedback.db";
    options.endpoint = server.url();
    options.credential = ApiKey{"ags_suspended"};
    options.proxy = "direct";
    options.request_timeout = 10min;  // so that no deadline is what ends it
    const Settings settings = resolve(options);
    const auto store = std::make_shared<outbox::Store>(
        store_options(options.outbox_path, OutboxMode::create, options), clock, random);
    const auto relay = std::make_shared<Relay>(Observer{}, LogSink{}, nullptr);
    const auto worker = std::make_shared<Worker>(settings, store, relay, clock, random);
    outbox::Submission given;
    given.feedback.conversation = {"=conv"};
    given.feedback.sentiment = Sentiment::positive;
    given.kind = Credential::Kind::api_key;
    const std::string id = store->submit(given).id.text();
    worker->start();
    CHECK(server.read_request().starts_with("POST "));
    CHECK(store->state_of(id) == RecordState::claimed);

    SUBCASE("time that passes while awake ends nothing") {
        worker->wake();
        CHECK_FALSE(worker->flush(50ms));
        CHECK(store->state_of(id) == RecordState::claimed);
    }
    SUBCASE("a machine that slept ten minutes") {
        clock.advance(600'000);
        worker->wake();
        const auto end = std::chrono::steady_clock::now() + 30s;
        std::uint64_t seen = worker->changes();
        while (store->state_of(id) == RecordState::claimed &&
               std::chrono::steady_clock::now() < end) {
            worker->wait_for_change(seen, end);
            seen = worker->changes();
        }
        CHECK(store->state_of(id) == RecordState::unknown);
    }
    worker->shut(0ms);
}
