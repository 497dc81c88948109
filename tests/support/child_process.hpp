#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace agentsight::test {

/// How a child ended: its exit code, or the signal that ended it.
struct Ending {
    std::optional<int> code;
    int signal = 0;
    bool operator==(const Ending&) const = default;
};

/// The child's side of the two pipes between a test and its child: bytes, each a step
/// agreed between them, so that no test needs to sleep.
class ParentLink {
  public:
    ParentLink(int in, int out) : in_{in}, out_{out} {}

    /// Tells the parent, which waits in ChildProcess::await().
    void tell(char step = '.') const {
        ssize_t n = 0;
        do {
            n = ::write(out_, &step, 1);
        } while (n < 0 && errno == EINTR);
    }
    /// Waits for the parent's say(); 0 once the parent is gone.
    char await() const {
        char step = 0;
        ssize_t n = 0;
        do {
            n = ::read(in_, &step, 1);
        } while (n < 0 && errno == EINTR);
        return n == 1 ? step : '\0';
    }

  private:
    int in_;
    int out_;
};

/// A process of the test's own: a function run in a fork, or a program with arguments.
/// Killed and reaped at the end. In the forked function neither doctest macros nor exit
/// handlers run: it ends by its return value, 70 after an exception.
class ChildProcess {
  public:
    static constexpr std::chrono::milliseconds patience{20'000};

    /// fork(2): runs `body(ParentLink&)` in the child; its int is the exit code.
    template <typename Body>
    static ChildProcess run(Body&& body) {
        Pipes pipes;
        const pid_t pid = ::fork();
        if (pid < 0) {
            throw std::system_error(errno, std::generic_category(), "fork");
        }
        if (pid == 0) {
            int code = 70;
            ::signal(SIGPIPE, SIG_IGN);
            pipes.close_parent_side();
            ParentLink link{pipes.to_child[0], pipes.from_child[1]};
            try {
                code = body(link);
            } catch (const std::exception& error) {
                std::fprintf(stderr, "child: %s\n", error.what());
            } catch (...) {
            }
            ::_exit(code);
        }
        return ChildProcess{pid, pipes};
    }

    /// execv(3) of a program; its standard output arrives by `output()`.
    static ChildProcess execute(const std::filesystem::path& program,
                                const std::vector<std::string>& arguments) {
        std::vector<std::string> words{program.string()};
        words.insert(words.end(), arguments.begin(), arguments.end());
        std::vector<char*> argv;
        for (auto& word : words) {
            argv.push_back(word.data());
        }
        argv.push_back(nullptr);
        Pipes pipes;
        const pid_t pid = ::fork();
        if (pid < 0) {
            throw std::system_error(errno, std::generic_category(), "fork");
        }
        if (pid == 0) {
            ::dup2(pipes.to_child[0], STDIN_FILENO);
            ::dup2(pipes.from_child[1], STDOUT_FILENO);
            ::execv(argv[0], argv.data());
            ::_exit(127);
        }
        return ChildProcess{pid, pipes};
    }

    ~ChildProcess() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            wait();
        }
        close_pipes();
    }
    ChildProcess(ChildProcess&& other) noexcept
        : pid_{std::exchange(other.pid_, -1)},
          in_{std::exchange(other.in_, -1)},
          out_{std::exchange(other.out_, -1)} {}
    ChildProcess& operator=(ChildProcess&&) = delete;

    pid_t pid() const { return pid_; }

    /// Waits for the child's tell(); 0 where it ended first or took longer than `patience`.
    char await() {
        pollfd entry{.fd = in_, .events = POLLIN, .revents = 0};
        if (!ready(entry, patience)) {
            return '\0';
        }
        char step = 0;
        return ::read(in_, &step, 1) == 1 ? step : '\0';
    }
    /// Lets the child go on from its await().
    void say(char step = '.') {
        const ssize_t n = ::write(out_, &step, 1);
        static_cast<void>(n);
    }
    /// All the child writes until it closes its end.
    std::string output() {
        std::string text;
        std::array<char, 4096> buffer;
        ssize_t n = 0;
        while ((n = ::read(in_, buffer.data(), buffer.size())) > 0 || (n < 0 && errno == EINTR)) {
            text.append(buffer.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
        }
        return text;
    }

    void send(int signal) {
        if (pid_ > 0) {
            ::kill(pid_, signal);
        }
    }
    /// SIGKILL, and reaped: on return the process and its locks are gone.
    Ending kill() {
        send(SIGKILL);
        return wait();
    }
    /// SIGSTOP; on return the kernel has stopped it.
    void stop() {
        send(SIGSTOP);
        int status = 0;
        while (::waitpid(pid_, &status, WUNTRACED) < 0 && errno == EINTR) {
        }
    }
    void resume() { send(SIGCONT); }

    /// Waits for the end. A child that outlives `patience` is killed, so that no test hangs.
    Ending wait() {
        if (pid_ <= 0) {
            return ending_;
        }
        int status = 0;
        const auto deadline = std::chrono::steady_clock::now() + patience;
        pid_t reaped = 0;
        while ((reaped = ::waitpid(pid_, &status, WNOHANG)) == 0 ||
               (reaped < 0 && errno == EINTR)) {
            if (std::chrono::steady_clock::now() > deadline) {
                ::kill(pid_, SIGKILL);
            }
            pollfd entry{.fd = -1, .events = 0, .revents = 0};
            ::poll(&entry, 1, 1);
        }
        pid_ = -1;
        if (reaped > 0 && WIFEXITED(status)) {
            ending_.code = WEXITSTATUS(status);
        } else if (reaped > 0 && WIFSIGNALED(status)) {
            ending_.signal = WTERMSIG(status);
        }
        return ending_;
    }

  private:
    struct Pipes {
        std::array<int, 2> to_child{-1, -1};
        std::array<int, 2> from_child{-1, -1};
        Pipes() {
            if (::pipe2(to_child.data(), O_CLOEXEC) != 0 ||
                ::pipe2(from_child.data(), O_CLOEXEC) != 0) {
                throw std::system_error(errno, std::generic_category(), "pipe2");
            }
        }
        void close_parent_side() const {
            ::close(to_child[1]);
            ::close(from_child[0]);
        }
        void close_child_side() const {
            ::close(to_child[0]);
            ::close(from_child[1]);
        }
    };

    ChildProcess(pid_t pid, const Pipes& pipes)
        : pid_{pid}, in_{pipes.from_child[0]}, out_{pipes.to_child[1]} {
        pipes.close_child_side();
    }

    static bool ready(pollfd& entry, std::chrono::milliseconds patience_left) {
        int n = 0;
        do {
            n = ::poll(&entry, 1, static_cast<int>(patience_left.count()));
        } while (n < 0 && errno == EINTR);
        return n > 0;
    }
    void close_pipes() {
        for (int* end : {&in_, &out_}) {
            if (*end >= 0) {
                ::close(std::exchange(*end, -1));
            }
        }
    }

    pid_t pid_ = -1;
    int in_ = -1;
    int out_ = -1;
    Ending ending_;
};

}  // namespace agentsight::test
