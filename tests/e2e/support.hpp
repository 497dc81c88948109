#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "agentsight/agentsight.hpp"
#include "sandbox/server.hpp"
#include "support/temporary_folder.hpp"

namespace agentsight::test {

using namespace std::chrono_literals;

/// What the tests wait at most for something that happens at once when all is well.
inline constexpr std::chrono::seconds patience{30};

/// Options for an outbox in `folder` and a server at `url`.
inline Options options_for(const TemporaryFolder& folder, const std::string& url) {
    Options options;
    options.outbox_path = folder.path() / "feedback.db";
    options.endpoint = url;
    options.credential = ApiKey{"ags_0123456789abcdef0123456789abcdef_012345"};
    return options;
}

/// A port of loopback at which nobody listens now, and a server may later.
inline std::uint16_t free_port() {
    sandbox::Server server{sandbox::ServerOptions{}};
    const std::uint16_t port = server.port();
    server.stop();
    return port;
}

inline std::string url_of(std::uint16_t port) {
    return "http://127.0.0.1:" + std::to_string(port);
}

/// Until each of them is settled, the unknown ones too: what flush does not wait for.
inline bool settle_all(ConversationManager& manager, const std::vector<std::string>& ids,
                       std::chrono::seconds bound = 2 * patience) {
    const auto deadline = std::chrono::steady_clock::now() + bound;
    for (const std::string& id : ids) {
        RecordState state = manager.wait(id, 0ms);
        while (state != RecordState::delivered && state != RecordState::dead) {
            if (std::chrono::steady_clock::now() > deadline) {
                return false;
            }
            manager.flush(1s);
            state = manager.wait(id, 500ms);
        }
    }
    return true;
}

/// How often each comment arrived.
inline std::map<std::string, int> count_by_comment(const std::vector<sandbox::Row>& rows) {
    std::map<std::string, int> counts;
    for (const sandbox::Row& row : rows) {
        ++counts[row.comment];
    }
    return counts;
}

inline void check_ledger(const Status& s) {
    CHECK(s.accepted ==
          s.delivered + s.waiting + s.claimed + s.unknown + s.dead + s.discarded + s.dropped);
}

inline std::chrono::milliseconds since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                 start);
}

}  // namespace agentsight::test
