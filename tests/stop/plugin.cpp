#include "plugin.hpp"

#include <exception>
#include <thread>

#include "agentsight/agentsight.hpp"

/// Delivers for a while, closes, and is then unloaded.
extern "C" __attribute__((visibility("default"))) int run_plugin(const PluginWork& work) try {
    agentsight::Options options;
    options.outbox_path = work.outbox;
    options.endpoint = work.endpoint;
    options.ca_file = work.ca_file;
    options.proxy = "direct";
    options.credential = agentsight::ApiKey{"ags_exit_campaign"};
    agentsight::ConversationManager manager{options};
    manager.submit_feedback("conversation", "positive");
    const auto end = std::chrono::steady_clock::now() + work.time;
    while (std::chrono::steady_clock::now() < end) {
        std::this_thread::yield();
    }
    manager.close(std::chrono::milliseconds{50});
    return 0;
} catch (const std::exception&) {
    return 1;
}
