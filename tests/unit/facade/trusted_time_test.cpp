#include <doctest/doctest.h>

#include <chrono>
#include <future>
#include <memory>
#include <utility>
#include <variant>

#include "outbox/store.hpp"
#include "relay.hpp"
#include "sandbox/server.hpp"
#include "settings.hpp"
#include "store_options.hpp"
#include "support/identity.hpp"
#include "support/temporary_folder.hpp"
#include "support/test_clock.hpp"
#include "support/test_random.hpp"
#include "worker.hpp"

using namespace agentsight;
using namespace agentsight::test;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t day_s = 86'400;

/// A device whose clock says 1970 after each start, and an API behind certificates.
struct Device {
    Device() {
        clock.set_utc(0);
        authority.save_certificate(folder.path() / "authority.pem");
    }

    /// One start: a record is submitted, to a server whose certificate is valid from `valid_from_s`
    /// after the release on, and which says it is `date`. Whether it arrives, or the outbox holds.
    bool delivers(std::int64_t valid_from_s, const std::string& date) {
        const Identity identity = make_identity(
            {.alternative_names = "IP:127.0.0.1", .valid_from_s = valid_from_s}, &authority);
        sandbox::ServerOptions serving;
        serving.certificate = folder.path() / "server.pem";
        serving.private_key = folder.path() / "server.key";
        identity.save_certificate(serving.certificate);
        identity.save_key(serving.private_key);
        sandbox::Server server{serving};
        server.add_fault({.kind = sandbox::FaultKind::headers, .headers = {{"Date", date}}});

        Options options;
        options.outbox_path = folder.path() / "feedback.db";
        options.endpoint = server.url();
        options.credential = ApiKey{"ags_0123456789"};
        options.proxy = "direct";
        options.ca_file = folder.path() / "authority.pem";
        const auto store = std::make_shared<outbox::Store>(
            store_options(options.outbox_path, OutboxMode::create, options), clock, random);
        std::promise<bool> ending;
        const auto tell = [&, told = false](const Event& event) mutable {
            const bool arrived = std::holds_alternative<event::Delivered>(event);
            if ((arrived || std::holds_alternative<event::Held>(event)) &&
                !std::exchange(told, true)) {
                ending.set_value(arrived);
            }
        };
        const auto worker = std::make_shared<Worker>(
            resolve(options), store, std::make_shared<Relay>(tell, LogSink{}, nullptr), clock,
            random);
        outbox::Submission given;
        given.feedback.conversation = {"=conv"};
        given.feedback.sentiment = Sentiment::positive;
        given.kind = Credential::Kind::api_key;
        store->submit(given);
        worker->start();
        std::future<bool> ended = ending.get_future();
        REQUIRE(ended.wait_for(10s) == std::future_status::ready);
        worker->shut(2s);
        clock.reboot();
        clock.set_utc(0);
        return ended.get();
    }

    TemporaryFolder folder;
    TestClock clock;
    TestRandom random;
    Identity authority = make_identity({.common_name = "Test Authority", .authority = true});
};

}  // namespace

TEST_CASE("H24: the newest time over verified TLS judges certificates after the next start too") {
    Device device;
    REQUIRE(device.delivers(0, "Mon, 21 Sep 2026 12:00:00 GMT"));
    CHECK(device.delivers(19 * day_s, "Tue, 22 Sep 2026 12:00:00 GMT"));
    CHECK_FALSE(device.delivers(40 * day_s, "Sun, 11 Oct 2026 12:00:00 GMT"));
}
