#include "os/process.hpp"

#include <doctest/doctest.h>
#include <pthread.h>
#include <signal.h>

#include <fcntl.h>

#include <atomic>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "helpers.hpp"
#include "os/close_on_exec.hpp"
#include "os/descriptor.hpp"
#include "support/child_process.hpp"
#include "support/temporary_folder.hpp"

using namespace agentsight;
using namespace agentsight::test;

TEST_CASE("fork_generation counts in the child, not in the parent, and for grandchildren") {
    const std::uint64_t before = os::fork_generation();
    auto child = ChildProcess::run([&](ParentLink&) {
        if (os::fork_generation() != before + 1) {
            return 1;
        }
        auto grandchild = ChildProcess::run(
            [&](ParentLink&) { return os::fork_generation() == before + 2 ? 0 : 1; });
        return grandchild.wait().code.value_or(2);
    });
    CHECK(child.wait() == Ending{.code = 0});
    CHECK(os::fork_generation() == before);
}

TEST_CASE("is_stopped tells a stopped process from a running, an ended and a missing one") {
    auto child = ChildProcess::run([](ParentLink& parent) {
        parent.tell();
        parent.await();
        return 0;
    });
    REQUIRE(child.await() == '.');
    const std::int64_t pid = child.pid();
    CHECK(os::is_stopped(pid) == false);
    child.stop();
    CHECK(os::is_stopped(pid) == true);
    child.kill();
    CHECK(os::is_stopped(pid) == std::nullopt);
    CHECK(os::is_stopped(0) == std::nullopt);
    CHECK(os::is_stopped(-1) == std::nullopt);
    CHECK(os::is_stopped(os::process_id()) == false);
}

TEST_CASE("is_stopped is not misled by a process that calls itself strange things") {
    auto child = ChildProcess::run([](ParentLink& parent) {
        ::pthread_setname_np(::pthread_self(), ") T (x) Z");
        parent.tell();
        parent.await();
        return 0;
    });
    REQUIRE(child.await() == '.');
    CHECK(os::is_stopped(child.pid()) == false);
}

TEST_CASE(
    "P14: a thread started while all signals are blocked runs none of the application's handlers") {
    auto child = ChildProcess::run([](ParentLink&) {
        static std::atomic<int> handled = 0;
        struct sigaction action {};
        action.sa_handler = [](int) { ++handled; };
        for (const int signal : {SIGALRM, SIGCHLD, SIGUSR1, SIGTERM, SIGPIPE, SIGINT}) {
            ::sigaction(signal, &action, nullptr);
        }
        bool faults_pass = false;
        std::optional<os::SignalsBlocked> for_the_thread{std::in_place};
        std::thread worker{[&] {
            for (const int signal : {SIGALRM, SIGCHLD, SIGUSR1, SIGTERM, SIGPIPE, SIGINT}) {
                ::pthread_kill(::pthread_self(), signal);
            }
            sigset_t blocked;
            ::pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
            faults_pass = ::sigismember(&blocked, SIGSEGV) == 0;
        }};
        worker.join();
        const bool none_there = handled == 0;
        for_the_thread.reset();
        ::raise(SIGUSR1);  // the caller has its own mask again
        return none_there && handled == 1 && faults_pass ? 0 : 1;
    });
    CHECK(child.wait() == Ending{.code = 0});
}

TEST_CASE("a descriptor closes once, whoever it was moved to") {
    const std::size_t before = open_descriptors();
    {
        os::Descriptor one = os::Descriptor::open("/dev/null", O_RDONLY);
        REQUIRE(one.valid());
        CHECK((::fcntl(one.value(), F_GETFD) & FD_CLOEXEC) != 0);
        os::Descriptor two{std::move(one)};
        CHECK_FALSE(one.valid());
        one = std::move(two);
        one = os::Descriptor::open("/dev/zero", O_RDONLY);
        CHECK(open_descriptors() == before + 1);
        os::Descriptor& same = one;
        one = std::move(same);
        CHECK(one.valid());
    }
    CHECK(open_descriptors() == before);
    CHECK_FALSE(os::Descriptor::open("/nowhere", O_RDONLY).valid());
    CHECK(errno == ENOENT);
}

TEST_CASE("S19: no child ever inherits a descriptor, whatever other threads open meanwhile") {
    const TemporaryFolder folder;
    const std::filesystem::path file = folder / "file";
    write_file(file, "");
    std::atomic<bool> ending = false;
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&] {
            while (!ending) {
                const os::Descriptor opened = os::Descriptor::open(file.c_str(), O_RDONLY);
            }
        });
    }
    int inherited = 0;
    for (int round = 0; round < 200; ++round) {
        auto child = ChildProcess::run([&](ParentLink&) {
            for (const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) {
                std::error_code gone;
                if (std::filesystem::read_symlink(entry.path(), gone) == file) {
                    return 1;
                }
            }
            return 0;
        });
        inherited += child.wait() == Ending{.code = 0} ? 0 : 1;
    }
    ending = true;
    for (auto& thread : threads) {
        thread.join();
    }
    CHECK(inherited == 0);
}

TEST_CASE("close_on_exec marks what another library opened") {
    const int opened = ::open("/dev/null", O_RDONLY);
    REQUIRE(opened >= 0);
    os::close_on_exec(opened);
    CHECK((::fcntl(opened, F_GETFD) & FD_CLOEXEC) != 0);
    ::close(opened);
    os::close_on_exec(-1);
}
