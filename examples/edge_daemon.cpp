// An edge device's daemon with an io_context of its own: the library's callbacks and events
// arrive there, by Options::dispatch, so that the daemon's state needs no lock.
//
//   edge_daemon    reads "CONVERSATION SENTIMENT" a line; at the end of input it gives what is
//                  on its way 30 s and prints how much was delivered

#include <agentsight/agentsight.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstdio>
#include <iostream>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>

namespace {

namespace asio = boost::asio;

/// Touched by the io_context's thread only.
class Daemon {
  public:
    explicit Daemon(asio::io_context& context) : context_(context) {
        agentsight::Options options;
        options.application = "edge-daemon-example";
        options.dispatch = [&context](std::function<void()> call) {
            asio::post(context, std::move(call));
        };
        options.observer = [this](const agentsight::Event& event) { observe(event); };
        manager_.emplace(std::move(options));
    }

    void take(const std::string& conversation, const std::string& sentiment) {
        manager_->async_submit_feedback(
            conversation, sentiment,
            [](std::error_code problem, const agentsight::Receipt& receipt) {
                if (problem) {
                    std::fprintf(stderr, "edge_daemon: not kept: %s\n", problem.message().c_str());
                } else {
                    std::printf("kept %s\n", receipt.id.c_str());
                }
            });
    }

    /// Waits on a thread that is not the loop's, so that events still arrive meanwhile.
    void end() {
        waiter_ = std::thread([this] {
            manager_->flush(std::chrono::seconds{30});
            manager_->close(std::chrono::seconds{2});
            asio::post(context_, [this] { std::printf("delivered %d\n", delivered_); });
            work_.reset();
        });
    }

    void join() { waiter_.join(); }

  private:
    void observe(const agentsight::Event& event) {
        delivered_ += std::holds_alternative<agentsight::event::Delivered>(event) ? 1 : 0;
    }

    asio::io_context& context_;
    asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
    std::optional<agentsight::ConversationManager> manager_;
    std::thread waiter_;
    int delivered_ = 0;
};

}  // namespace

int main() {
    asio::io_context context{1};
    Daemon daemon{context};
    std::thread reader([&] {
        for (std::string conversation, sentiment; std::cin >> conversation >> sentiment;) {
            asio::post(context, [&daemon, conversation, sentiment] {
                daemon.take(conversation, sentiment);
            });
        }
        asio::post(context, [&daemon] { daemon.end(); });
    });
    context.run();
    reader.join();
    daemon.join();
    return 0;
}
