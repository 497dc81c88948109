#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "outbox/store.hpp"
#include "relay.hpp"
#include "settings.hpp"
#include "store_options.hpp"
#include "support/child_process.hpp"
#include "support/sanitizers.hpp"
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
        REQUIRE(::getsockname(listener_, generic, &size) == 0);
        url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    }
    ~SilentServer() {
        for (const int connection : connections_) {
            ::close(connection);
        }
        ::close(listener_);
    }
    SilentServer(const SilentServer&) = delete;
    SilentServer& operator=(const SilentServer&) = delete;

    const std::string& url() const { return url_; }

    /// Until then connections are refused.
    void listen() { REQUIRE(::listen(listener_, 8) == 0); }

    /// The first bytes of the next connection's request.
    std::string read_request() {
        std::array<char, 1'024> buffer;
        while (true) {
            const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            REQUIRE(connection >= 0);
            const ssize_t size = ::recv(connection, buffer.data(), buffer.size(), 0);
            if (size > 0) {
                connections_.push_back(connection);
                return {buffer.data(), static_cast<std::size_t>(size)};
            }
            ::close(connection);  // made before the network changed, and given up then
        }
    }
    /// To the request of that connection, counted as they were read.
    void answer(std::size_t connection, const std::string& status, const std::string& body) {
        const std::string text =
            "HTTP/1.1 " + status +
            "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
            "\r\n\r\n" + body;
        REQUIRE(::send(connections_.at(connection), text.data(), text.size(), MSG_NOSIGNAL) ==
                static_cast<ssize_t>(text.size()));
    }

  private:
    int listener_;
    std::vector<int> connections_;
    std::string url_;
};

/// A worker on an outbox of its own, with one record that waits.
struct Working {
    explicit Working(core::Random& chance, LogSink log = {},
                     std::chrono::milliseconds restart_after = 1s,
                     const std::string& proxy = "direct") {
        Options options;
        options.outbox_path = folder.path() / "feedback.db";
        options.endpoint = server.url();
        options.credential = ApiKey{"ags_0123456789"};
        options.proxy = proxy;
        options.request_timeout = 10min;  // so that no deadline is what ends it
        store = std::make_shared<outbox::Store>(
            store_options(options.outbox_path, OutboxMode::create, options), clock, random);
        Settings settings = resolve(options);
        settings.restart_after = restart_after;
        worker = std::make_shared<Worker>(
            settings, store, std::make_shared<Relay>(Observer{}, std::move(log), nullptr), clock,
            chance);
        id = submit("=conv");
        worker->start();
    }
    ~Working() { worker->shut(0ms); }
    Working(const Working&) = delete;
    Working& operator=(const Working&) = delete;

    std::string submit(const char* conversation) {
        outbox::Submission given;
        given.feedback.conversation = {conversation};
        given.feedback.sentiment = Sentiment::positive;
        given.kind = Credential::Kind::api_key;
        return store->submit(given).id.text();
    }
    RecordState state() const { return store->state_of(id); }
    /// Waits until the record is no longer claimed, and says what it is.
    RecordState settled_state() {
        const auto end = std::chrono::steady_clock::now() + 30s;
        std::uint64_t seen = worker->changes();
        while (state() == RecordState::claimed && std::chrono::steady_clock::now() < end) {
            worker->wait_for_change(seen, end);
            seen = worker->changes();
        }
        return state();
    }

    TemporaryFolder folder;
    TestClock clock;
    TestRandom random;
    SilentServer server;
    std::shared_ptr<outbox::Store> store;
    std::shared_ptr<Worker> worker;
    std::string id;
};

/// Fails as often as it is told to.
class FailingRandom final : public core::Random {
  public:
    std::uint64_t next() override {
        if (failures-- > 0) {
            throw std::runtime_error("no random numbers");
        }
        return random_.next();
    }
    std::atomic<int> failures = 0;

  private:
    TestRandom random_;
};

}  // namespace

TEST_CASE("P4: an exception inside the worker is told, and it starts again") {
    FailingRandom chance;
    chance.failures = 1;
    std::promise<std::string> told;
    Working working{chance, [&, first = true](LogLevel level, std::string_view line) mutable {
                        if (level == LogLevel::error && std::exchange(first, false)) {
                            told.set_value(std::string{line});
                        }
                    }};
    auto line = told.get_future();
    REQUIRE(line.wait_for(30s) == std::future_status::ready);
    CHECK(line.get() == "sending failed and starts again in 2000 ms: no random numbers");
    CHECK(working.state() == RecordState::waiting);
    working.server.listen();
    CHECK(working.server.read_request().starts_with("POST "));
}

TEST_CASE("P4: the same where a task ends badly before it has begun to wait") {
    FailingRandom chance;
    chance.failures = 1'000'000;
    std::atomic<int> told = 0;
    Working working{chance,
                    [&](LogLevel level, std::string_view) { told += level == LogLevel::error; },
                    1ms, "https://127.0.0.1:1"};  // refused at once: a proxy is http
    while (told < 4) {
        working.worker->wake();
    }
    chance.failures = 0;
    std::uint64_t seen = working.worker->changes();
    const auto end = std::chrono::steady_clock::now() + 30s;
    while (!working.store->status().hold && std::chrono::steady_clock::now() < end) {
        working.worker->wait_for_change(seen, end);
        seen = working.worker->changes();
    }
    REQUIRE(working.store->status().hold);
    CHECK(working.state() == RecordState::waiting);
}

TEST_CASE("P9: a delivery proven after the worker gave up on itself is kept") {
    FailingRandom chance;
    std::promise<void> told;
    Working working{chance, [&, first = true](LogLevel level, std::string_view) mutable {
                        if (level == LogLevel::error && std::exchange(first, false)) {
                            told.set_value();
                        }
                    }};
    working.server.listen();
    working.worker->network_changed();
    CHECK(working.server.read_request().starts_with("POST "));
    working.submit("=another");
    working.worker->work_committed();
    CHECK(working.server.read_request().starts_with("POST "));
    chance.failures = 1;
    working.server.answer(1, "401 Unauthorized", R"({"detail": "Invalid API key."})");
    REQUIRE(told.get_future().wait_for(30s) == std::future_status::ready);
    CHECK(working.state() == RecordState::claimed);
    working.server.answer(0, "201 Created", R"({"id": 7, "sentiment": "positive"})");
    CHECK(working.settled_state() == RecordState::delivered);
    CHECK(working.store->get(working.id).server_id == "7");
}

TEST_CASE("P4: no wake shortens the pause after a failure, and the pause grows") {
    FailingRandom chance;
    chance.failures = 1'000'000;
    std::atomic<int> told = 0;
    const auto count = [&](LogLevel level, std::string_view) { told += level == LogLevel::error; };
    SUBCASE("one failure, however often it is woken") {
        Working working{chance, count, 10min};
        while (told == 0) {
            working.worker->wake();
        }
        for (int i = 0; i < 20; ++i) {
            working.worker->network_changed();
            CHECK_FALSE(working.worker->flush(5ms));  // the worker has answered each
        }
        CHECK(told == 1);
    }
    SUBCASE("each next pause is longer") {
        std::mutex mutex;
        std::vector<std::string> lines;
        Working working{chance,
                        [&](LogLevel, std::string_view line) {
                            const std::lock_guard lock(mutex);
                            lines.emplace_back(line);
                            ++told;
                        },
                        1ms};
        while (told < 4) {
            working.worker->wake();
        }
        const std::lock_guard lock(mutex);
        const char* pauses[] = {"in 2 ms", "in 4 ms", "in 8 ms", "in 16 ms"};
        for (std::size_t i = 0; i < 4; ++i) {
            CHECK(lines[i].find(pauses[i]) != std::string::npos);
        }
    }
}

TEST_CASE("H33: after a suspend what was in flight is unknown at once, and is not sent again") {
    TestRandom chance;
    Working working{chance};
    working.server.listen();
    working.worker->network_changed();
    CHECK(working.server.read_request().starts_with("POST "));
    CHECK(working.state() == RecordState::claimed);

    SUBCASE("time that passes while awake ends nothing") {
        working.worker->wake();
        CHECK_FALSE(working.worker->flush(50ms));
        CHECK(working.state() == RecordState::claimed);
    }
    SUBCASE("a machine that slept ten minutes") {
        working.clock.advance(600'000);
        working.worker->wake();
        CHECK(working.settled_state() == RecordState::unknown);
    }
}

namespace {

/// Returns once somebody has asked the worker to close.
void wait_for_close(Worker& worker) {
    for (bool closing = false; !closing;) {
        QueuedSubmit submit;
        submit.submission.feedback.conversation = {"=other"};
        submit.submission.feedback.sentiment = Sentiment::positive;
        submit.callback = [](std::error_code, const Receipt&) {};
        try {
            worker.enqueue(submit);
        } catch (const Error& error) {
            closing = error.code() == errc::closed;
        }
    }
}

}  // namespace

TEST_CASE("P1: a close with less patience than another's waits for neither") {
    TestRandom chance;
    Working working{chance};
    working.server.listen();
    working.worker->network_changed();
    CHECK(working.server.read_request().starts_with("POST "));
    std::thread patient([&] { working.worker->close(60s); });
    wait_for_close(*working.worker);
    const auto start = std::chrono::steady_clock::now();
    SUBCASE("in the same process: it binds both") {
        working.worker->close(0ms);
        patient.join();
        CHECK(working.state() == RecordState::unknown);
    }
    SUBCASE("S19: in a child forked meanwhile, it has nothing to wait for") {
        const Ending ending = ChildProcess::run([&](ParentLink&) {
                                  working.worker->shut(60s);
                                  return 0;
                              }).wait();
        CHECK(ending == Ending{.code = 0});
        working.worker->close(0ms);
        patient.join();
    }
    CHECK(std::chrono::steady_clock::now() - start < 15s);
}

TEST_CASE("a record is told as submitted before the drainer hears of it") {
    const TemporaryFolder folder;
    TestClock clock;
    TestRandom random;
    std::vector<std::string> told;
    auto options = store_options(folder.path() / "feedback.db", OutboxMode::create, Options{});
    options.on_submitted = [&](const core::Uuid& id) { told.push_back(id.text()); };
    options.on_work = [&] { told.push_back("work"); };
    outbox::Store store{std::move(options), clock, random};
    std::vector<outbox::Submission> two(2);
    for (outbox::Submission& submission : two) {
        submission.feedback.conversation = {"=conv"};
        submission.feedback.sentiment = Sentiment::positive;
    }
    const auto results = store.submit_many(two);
    const std::vector<std::string> expected{results[0].id.text(), results[1].id.text(), "work"};
    CHECK(told == expected);
    two.resize(1);
    two[0].id = results[0].id;
    CHECK_FALSE(store.submit(two[0]).stored);  // the same again: nothing to tell
    CHECK(told == expected);
}

// The thread sanitizer's runtime has a thread of its own.
TEST_CASE("P14: every thread of a live worker blocks all signals but its own faults" *
          doctest::skip(under_thread_sanitizer)) {
    TestRandom chance;
    Working working{chance};
    working.server.listen();
    working.worker->network_changed();
    CHECK(working.server.read_request().starts_with("POST "));
    int threads = 0;
    for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
        if (task.path().filename() == std::to_string(::getpid())) {
            continue;
        }
        ++threads;
        std::ifstream status{task.path() / "status"};
        std::string line;
        std::uint64_t blocked = 0;
        while (std::getline(status, line)) {
            if (line.starts_with("SigBlk:")) {
                blocked = std::stoull(line.substr(7), nullptr, 16);
            }
        }
        // SIGKILL and SIGSTOP cannot be, the C library's own two must not; the rest are faults.
        const std::set<int> not_blocked{SIGKILL, SIGSTOP, 32,      33,     SIGSEGV, SIGBUS,
                                        SIGFPE,  SIGILL,  SIGTRAP, SIGSYS, SIGABRT};
        for (int signal = 1; signal <= 64; ++signal) {
            CAPTURE(signal);
            CHECK(((blocked >> (signal - 1)) & 1) == (not_blocked.contains(signal) ? 0 : 1));
        }
    }
    CHECK(threads == 1);
    sigset_t mine;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mine);
    CHECK(::sigismember(&mine, SIGTERM) == 0);
}
