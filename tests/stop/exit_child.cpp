// An application that ends while it delivers.
//
//   exit-child WAY OUTBOX ENDPOINT CA_FILE MICROSECONDS [PLUGIN]
//
// WAY: static    a manager with static storage, destroyed by exit()
//      leaked    a manager that nobody destroys, exit() from main
//      thread    exit() on another thread while main submits
//      default   conversation_manager(), the library's own
//      static-openssl, default-openssl  the same, and the application uses OpenSSL in between
//      closed    closed and destroyed before main returns
//      unloaded  PLUGIN loaded, used, closed and unloaded again

#include <dlfcn.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
#endif

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "agentsight/agentsight.hpp"
#include "plugin.hpp"

namespace {

using namespace agentsight;

void submit(ConversationManager& manager) {
    for (int i = 0; i < 3; ++i) {
        manager.submit_feedback("conversation-" + std::to_string(i), "positive");
    }
}

/// An application that uses OpenSSL by itself once there is a manager: what it registers with
/// atexit() runs before what ends the manager.
void use_openssl([[maybe_unused]] bool uses) {
#ifdef WITH_TLS
    if (uses) {
        OPENSSL_init_ssl(0, nullptr);
    }
#endif
}

void let_pass(std::chrono::microseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < end) {
        std::this_thread::yield();
    }
}

void exit_by_thread(ConversationManager& manager, std::chrono::microseconds time) {
    std::thread{[time] {
        let_pass(time);
        std::exit(0);
    }}.detach();
    for (;;) {
        std::error_code error;
        manager.submit_feedback({"conversation", Sentiment::positive}, error);
    }
}

int load_and_unload(const char* path, const PluginWork& work) {
    void* const plugin = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin == nullptr) {
        std::fprintf(stderr, "exit-child: %s\n", ::dlerror());
        return 3;
    }
    const auto run = reinterpret_cast<PluginFunction>(::dlsym(plugin, "run_plugin"));
    const int code = run == nullptr ? 3 : run(work);
    ::dlclose(plugin);
    return code;
}

}  // namespace

int main(int count, char** words) try {
    if (count < 6) {
        return 2;
    }
    std::string_view way = words[1];
    const bool with_openssl = way.ends_with("-openssl");
    way = way.substr(0, way.size() - (with_openssl ? 8 : 0));
    const std::chrono::microseconds time{std::atoll(words[5])};
    if (way == "unloaded") {
        return count == 7 ? load_and_unload(words[6], {words[2], words[3], words[4], time}) : 2;
    }
    Options options;
    options.outbox_path = words[2];
    options.endpoint = words[3];
    options.ca_file = words[4];
    options.proxy = "direct";
    options.credential = ApiKey{"ags_exit_campaign"};
    options.close_deadline = std::chrono::milliseconds{50};
    if (way == "default") {
        ::setenv("AGENTSIGHT_OUTBOX", words[2], 1);
        ::setenv("AGENTSIGHT_API_ENDPOINT", words[3], 1);
        ::setenv("AGENTSIGHT_API_KEY", "ags_exit_campaign", 1);
        ::setenv("SSL_CERT_FILE", words[4], 1);
        submit(conversation_manager());
        use_openssl(with_openssl);
        let_pass(time);
        return 0;
    }
    if (way == "static") {
        static ConversationManager manager{options};
        submit(manager);
        use_openssl(with_openssl);
        let_pass(time);
        std::exit(0);
    }
    auto manager = std::make_unique<ConversationManager>(options);
    submit(*manager);
    if (way == "thread") {
        exit_by_thread(*manager.release(), time);
    }
    let_pass(time);
    if (way == "leaked") {
        static ConversationManager* const kept = manager.release();
        std::exit(kept != nullptr ? 0 : 3);
    }
    return way == "closed" ? 0 : 2;
} catch (const std::exception& error) {
    std::fprintf(stderr, "exit-child: %s\n", error.what());
    return 1;
}
