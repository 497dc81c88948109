// An application for the tests to kill: submits feedback on several threads and prints the id
// of each receipt once it has it, then waits until its standard input closes.
//
//   e2e-application OUTBOX ENDPOINT THREADS COUNT_PER_THREAD [RECONCILE_AFTER_MS]

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "agentsight/agentsight.hpp"

namespace {

/// One write(2) a line, so that lines of threads never mix and a kill loses none.
void print_line(std::string line) {
    line += '\n';
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) {
        std::_Exit(3);
    }
}

void submit_all(agentsight::ConversationManager& manager, int thread, int count) {
    for (int i = 0; i < count; ++i) {
        const std::string name = std::to_string(thread) + '-' + std::to_string(i);
        const agentsight::Receipt receipt =
            manager.submit_feedback("conversation-" + name, agentsight::Sentiment::positive,
                                    "feedback " + name, {{"thread", thread}, {"number", i}});
        print_line("feedback " + name);
    }
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 5 && argc != 6) {
        return 2;
    }
    agentsight::Options options;
    options.outbox_path = argv[1];
    options.endpoint = argv[2];
    options.credential = agentsight::ApiKey{"ags_test"};
    if (argc == 6) {
        options.reconcile_after = std::chrono::milliseconds{std::atoi(argv[5])};
    }
    agentsight::ConversationManager manager{options};
    std::vector<std::thread> threads;
    for (int t = 0; t < std::atoi(argv[3]); ++t) {
        threads.emplace_back([&, t] { submit_all(manager, t, std::atoi(argv[4])); });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    print_line("done");
    std::cin.get();
    return 0;
} catch (const std::exception& error) {
    std::cerr << "e2e-application: " << error.what() << '\n';
    return 1;
}
