// Stops managers at random moments of deliveries that stand still in every way there is, and
// measures how long that takes: the deadline plus 200 ms is promised.
//
//   stop-campaign [--stops 10000] [--seed S]

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <thread>

#include "agentsight/agentsight.hpp"
#include "crash/command_line.hpp"
#include "hung_resolver.hpp"
#include "places.hpp"
#include "support/sanitizers.hpp"

using namespace agentsight;
using namespace agentsight::test;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

// A sanitizer takes several times the time, which nobody promised for it.
constexpr std::chrono::milliseconds allowance{
    under_address_sanitizer || under_thread_sanitizer ? 1'000 : 200};

class Campaign {
  public:
    explicit Campaign(std::uint64_t seed) : random_{seed} {}

    /// False where the promise was broken.
    bool stop_once() {
        const auto stall = static_cast<Stall>(below(stalls));
        const TemporaryFolder folder;
        Options options;
        options.outbox_path = folder.path() / "feedback.db";
        options.endpoint = places_.url(stall);
        options.credential = ApiKey{"ags_stop_campaign"};
        options.ca_file = places_.ca_file();
        options.proxy = "direct";
        options.connections = 1 + static_cast<int>(below(4));
        const std::chrono::milliseconds deadline{below(3) == 0 ? 0 : below(60)};
        options.close_deadline = deadline;
        const std::uint64_t given = below(5);
        auto manager = std::make_unique<ConversationManager>(options);
        for (std::uint64_t i = 0; i < given; ++i) {
            manager->submit_feedback("conversation-" + std::to_string(i), "positive");
        }
        let_pass(std::chrono::microseconds{below(std::uint64_t{1} << below(16))});
        const auto began = Clock::now();
        if (below(2) == 0) {
            manager->close(deadline);
        }
        manager.reset();
        const auto took =
            std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began) - deadline;
        release_hung_lookups();
        longest_ = std::max(longest_, took);
        const Status status = Outbox{options.outbox_path}.status();
        if (took <= allowance && status.accepted == given) {
            return true;
        }
        std::printf("FAILED: %s, deadline %lld ms: %lld ms more, %llu of %llu kept\n",
                    std::string{stall_names[static_cast<std::size_t>(stall)]}.c_str(),
                    static_cast<long long>(deadline.count()), static_cast<long long>(took.count()),
                    static_cast<unsigned long long>(status.accepted),
                    static_cast<unsigned long long>(given));
        return false;
    }
    std::chrono::milliseconds longest() const { return longest_; }

  private:
    std::uint64_t below(std::uint64_t bound) {
        return std::uniform_int_distribution<std::uint64_t>{0, bound - 1}(random_);
    }
    /// The random moment: time in which the worker gets as far as it gets.
    static void let_pass(std::chrono::microseconds time) {
        const auto end = Clock::now() + time;
        while (Clock::now() < end) {
            std::this_thread::yield();
        }
    }

    Places places_;
    std::mt19937_64 random_;
    std::chrono::milliseconds longest_{-1'000'000};
};

int run(const CommandLine& line) {
    const std::uint64_t stops = line.number("stops", 10'000);
    const std::uint64_t seed = line.number("seed", std::random_device{}());
    Campaign campaign{seed};
    const auto began = Clock::now();
    std::uint64_t failed = 0;
    for (std::uint64_t i = 0; i < stops; ++i) {
        failed += campaign.stop_once() ? 0 : 1;
    }
    const std::chrono::duration<double> seconds = Clock::now() - began;
    std::printf(
        "%llu stops, %llu failed, the longest %lld ms after its deadline; seed %llu, %.0f s\n",
        static_cast<unsigned long long>(stops), static_cast<unsigned long long>(failed),
        static_cast<long long>(campaign.longest().count()), static_cast<unsigned long long>(seed),
        seconds.count());
    return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** words) try {
    prefer_memory();  // a sync in progress is no fault of the stop
    return run(CommandLine{count, words});
} catch (const std::exception& error) {
    std::cerr << "stop-campaign: " << error.what() << '\n';
    return 2;
}
