#include <agentsight/agentsight.hpp>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <variant>
#include <vector>

// The application of tools/demo: four threads that take feedback and keep a journal of what
// the library has acknowledged. It may be killed at any moment and started again: it then
// submits again whatever the journal does not name, under the same ids, which stores nothing
// twice.

using namespace std::chrono_literals;

namespace {

constexpr int threads = 4;

/// A record's own name, the same at every start: the number in a version 4 UUID's form.
std::string id_of(int number) {
    std::array<char, 40> id{};
    std::snprintf(id.data(), id.size(), "5eedf00d-0000-4000-8000-%012d", number);
    return id.data();
}

/// What has been acknowledged, one number a line, flushed line by line.
class Journal {
  public:
    explicit Journal(const std::string& file) {
        std::ifstream old(file);
        for (int number = 0; old >> number;) {
            known_.insert(number);
        }
        out_.open(file, std::ios::app);
    }
    bool knows(int number) const { return known_.contains(number); }
    void add(int number) {
        const std::lock_guard lock(mutex_);
        out_ << number << std::endl;
    }

  private:
    std::mutex mutex_;
    std::set<int> known_;  ///< as it was at the start
    std::ofstream out_;
};

void submit_share(agentsight::ConversationManager& manager, Journal& journal, int first,
                  int count) {
    for (int number = first; number <= count; number += threads) {
        if (journal.knows(number)) {
            continue;
        }
        manager.submit_feedback(
            agentsight::RecordId{id_of(number)}, "visitor-" + std::to_string(number % 50),
            agentsight::Sentiment::positive, "Feedback number " + std::to_string(number),
            {{"rating", 1 + number % 5}, {"desk", "lobby"}});
        journal.add(number);
        std::this_thread::sleep_for(2ms);  // visitors take their time
    }
}

/// Says what a kiosk's log would say.
void observe(const agentsight::Event& event) {
    const auto say = [](const char* what, std::string_view reason, const std::string& detail) {
        std::printf("    kiosk: %s: %.*s%s%s\n", what, static_cast<int>(reason.size()),
                    reason.data(), detail.empty() ? "" : " - ", detail.c_str());
        std::fflush(stdout);
    };
    if (const auto* held = std::get_if<agentsight::event::Held>(&event)) {
        say("sending waits", agentsight::to_string(held->reason), held->detail);
    } else if (const auto* released = std::get_if<agentsight::event::Released>(&event)) {
        say("sending goes on, it was", agentsight::to_string(released->reason), {});
    }
}

int run(const std::string& journal_file, int count) {
    agentsight::Options options;  // outbox, endpoint and key from the environment
    options.observer = observe;
    options.reconcile_after = 4s;  // the sandbox answers at once; a real server is given 120 s
    agentsight::ConversationManager manager(options);
    Journal journal(journal_file);
    std::vector<std::jthread> visitors;
    for (int i = 1; i <= threads; ++i) {
        visitors.emplace_back([&, i] { submit_share(manager, journal, i, count); });
    }
    visitors.clear();  // joins
    std::puts("    kiosk: all feedback is submitted");
    std::fflush(stdout);
    // Until everything is delivered, or somebody loses patience.
    const auto deadline = std::chrono::steady_clock::now() + 90s;
    while (std::chrono::steady_clock::now() < deadline) {
        manager.flush(1s);
        const agentsight::Status status = manager.stats();
        if (status.waiting + status.claimed + status.unknown == 0) {
            std::puts("    kiosk: the outbox is empty");
            return 0;
        }
        std::this_thread::sleep_for(50ms);
    }
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fputs("usage: demo-kiosk JOURNAL COUNT\n", stderr);
        return 2;
    }
    try {
        return run(argv[1], std::stoi(argv[2]));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "demo-kiosk: %s\n", error.what());
        return 1;
    }
}
