#include <functional>
#include <thread>

#include "e2e/support.hpp"
#include "support/child_process.hpp"
#include "support/own_network.hpp"

/// The link goes and comes back, as the kernel tells it.
using namespace agentsight;
using namespace agentsight::test;

namespace {

bool becomes_true(const std::function<bool()>& what) {
    const auto deadline = std::chrono::steady_clock::now() + 15s;
    while (!what()) {
        if (std::chrono::steady_clock::now() > deadline) {
            return false;
        }
        std::this_thread::yield();
    }
    return true;
}

}  // namespace

TEST_CASE("a link that comes up ends the hold, hours before the next probe") {
    const TemporaryFolder folder;
    auto child = ChildProcess::run([&](ParentLink&) {
        OwnNetwork network;
        if (!network.enter() || !network.loopback_up()) {
            return 77;
        }
        const std::uint16_t port = free_port();
        Options options = options_for(folder, url_of(port));
        options.backoff_base = options.backoff_cap = 24h;
        ConversationManager manager{options};
        const std::string id = manager.submit_feedback("c", "positive").id;
        const auto is_held = [&] {
            const auto hold = manager.stats().hold;
            return hold && hold->reason == HoldReason::link_down;
        };
        if (!becomes_true(is_held)) {
            return 1;
        }
        const sandbox::Server server{sandbox::ServerOptions{.port = port}};
        if (manager.wait(id, 300ms) == RecordState::delivered || !is_held()) {
            return 2;  // then it is something else that ends it
        }
        if (!network.up()) {
            return 3;
        }
        if (!becomes_true([&] { return !is_held(); })) {
            return 4;
        }
        // Nobody waits for the splay here.
        return manager.flush(15s) && server.row_count() == 1 ? 0 : 5;
    });
    const Ending ending = child.wait();
    if (ending.code == 77) {
        MESSAGE("skipped: no permission for a network of its own");
    } else {
        CHECK(ending == Ending{.code = 0});
    }
}
