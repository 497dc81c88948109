// What a process may be short of, and what its host may have changed: threads, descriptors,
// locale, patience with callbacks.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <locale>
#include <stdexcept>
#include <thread>

#include <nlohmann/json.hpp>

#include "e2e/support.hpp"
#include "support/child_process.hpp"
#include "support/sanitizers.hpp"

using namespace agentsight;
using namespace agentsight::test;

namespace {

constexpr uid_t nobody = 65'534;

void limit(decltype(RLIMIT_NOFILE) what, rlim_t most) {
    rlimit now{};
    ::getrlimit(what, &now);
    now.rlim_cur = most;
    if (::setrlimit(what, &now) != 0) {
        throw std::runtime_error("setrlimit");
    }
}

// UBSan's own checks open files: without descriptors they report what is not so.
constexpr bool descriptors_are_ours = !under_address_sanitizer;

/// All the descriptors that the process may have.
std::vector<int> take_all_descriptors() {
    std::vector<int> taken;
    for (int fd = 0; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) {
        taken.push_back(fd);
    }
    return taken;
}

/// Groups digits and writes a decimal comma, as many countries do.
struct Commas : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
};

}  // namespace

// Needs root, to become a user with a limit on threads.
TEST_CASE("P12: where no thread can be started, feedback is still taken and kept" *
          doctest::skip(::geteuid() != 0)) {
    TemporaryFolder folder;
    REQUIRE(::chown(folder.path().c_str(), nobody, nobody) == 0);
    const Options options = options_for(folder, "http://127.0.0.1:1");
    ChildProcess child = ChildProcess::run([&](ParentLink&) {
        if (::setuid(nobody) != 0) {
            return 2;
        }
        limit(RLIMIT_NPROC, 0);
        ConversationManager manager{options};
        const Receipt receipt = manager.submit_feedback("conv", "positive");
        const bool kept = manager.wait(receipt.id, 0ms) == RecordState::waiting;
        manager.close(1s);
        return kept ? 0 : 1;
    });
    CHECK(child.wait() == Ending{.code = 0});
    CHECK(Outbox{options.outbox_path}.status().waiting == 1);
}

TEST_CASE("P13: without a free descriptor feedback is taken; it goes when there are some again" *
          doctest::skip(!descriptors_are_ours)) {
    TemporaryFolder folder;
    sandbox::Server server;
    Options options = options_for(folder, server.url());
    std::promise<void> stuck;
    options.observer = [&, told = false](const Event& event) mutable {
        const bool says_so = std::holds_alternative<event::Alarm>(event) ||
                             std::holds_alternative<event::Held>(event);
        if (says_so && !std::exchange(told, true)) {
            stuck.set_value();
        }
    };
    ChildProcess child = ChildProcess::run([&](ParentLink&) {
        ConversationManager manager{options};
        manager.pause();
        manager.submit_feedback("conv", "positive", "first");
        limit(RLIMIT_NOFILE, 200);
        const std::vector<int> taken = take_all_descriptors();
        manager.resume();
        manager.submit_feedback("conv", "positive", "second");
        manager.submit_feedback("another", "positive", "third");
        const bool is_stuck = stuck.get_future().wait_for(15s) == std::future_status::ready;
        for (const int fd : taken) {
            ::close(fd);
        }
        if (!is_stuck) {
            return 3;
        }
        manager.network_changed();
        return manager.flush(patience) && manager.stats().delivered == 3 &&
                       manager.stats().possible_duplicates == 0
                   ? 0
                   : 1;
    });
    CHECK(child.wait() == Ending{.code = 0});
    CHECK(server.row_count() == 3);
}

TEST_CASE("P15: the host's locale changes no byte of what is sent") {
    const std::locale before = std::locale::global(std::locale{std::locale::classic(), new Commas});
    TemporaryFolder folder;
    sandbox::Server server;
    Feedback feedback{ConversationRef(1'234'567), Sentiment::positive};
    feedback.metadata_json = R"({"large":1234567890123,"small":0.5,"exact":1e-7})";
    {
        ConversationManager manager{options_for(folder, server.url())};
        manager.submit_feedback(feedback);
        CHECK(manager.flush(patience));
    }
    std::locale::global(before);
    const auto requests = server.requests();
    REQUIRE(requests.size() >= 1);
    const auto body = nlohmann::json::parse(requests.back().body);
    CHECK(body.at("conversation") == 1'234'567);
    CHECK(body.at("metadata") == nlohmann::json::parse(feedback.metadata_json));
    CHECK(server.errors().empty());
}

TEST_CASE("P4, P5: exceptions of the application's functions stop neither drain nor close") {
    TemporaryFolder folder;
    sandbox::Server server;
    Options options = options_for(folder, server.url());
    options.observer = [](const Event&) { throw std::runtime_error("observer"); };
    options.log = [](LogLevel, std::string_view) { throw 7; };
    bool dispatches = false;
    SUBCASE("called on the worker's thread") {}
    SUBCASE("called through a dispatch that throws as well") {
        dispatches = true;
        options.dispatch = [](std::function<void()> call) {
            call();
            throw std::runtime_error("dispatch");
        };
    }
    ConversationManager manager{options};
    std::atomic<int> called = 0;
    for (int i = 0; i < 20; ++i) {
        manager.async_submit_feedback("conv", "positive", [&](std::error_code, const Receipt&) {
            ++called;
            throw std::runtime_error("callback");
        });
    }
    CHECK(manager.flush(patience));
    manager.close(5s);
    CHECK(server.row_count() == 20);
    CHECK((called == 20 || dispatches));
}

TEST_CASE("P8: two managers on one path, however it is spelled, drain it once") {
    TemporaryFolder folder;
    sandbox::Server server;
    const auto inside = folder.path() / "inside";
    std::filesystem::create_directory(inside);
    std::filesystem::permissions(inside, std::filesystem::perms::owner_all);
    std::filesystem::create_directory_symlink(inside, folder.path() / "alias");
    Options options = options_for(folder, server.url());
    options.outbox_path = inside / "feedback.db";
    Options other = options;
    other.outbox_path = folder.path() / "alias" / ".." / "alias" / "feedback.db";
    ConversationManager first{options};
    try {
        ConversationManager second{other};
        for (int i = 0; i < 100; ++i) {
            const std::string name = std::to_string(i);
            (i % 2 == 0 ? first : second).submit_feedback("c" + name, "positive", "f" + name);
        }
        CHECK(server.wait_for_rows(100, patience));
        second.close(2s);
    } catch (const Error& error) {
        CHECK(error.code() == errc::already_open);
        return;
    }
    CHECK(first.flush(patience));
    CHECK(server.row_count() == 100);
    for (const auto& [comment, times] : count_by_comment(server.rows())) {
        CAPTURE(comment);
        CHECK(times == 1);
    }
}
