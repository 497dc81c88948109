#include "tool.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>

namespace agentsight::test {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds patience{60};

/// An anonymous file, gone when it is closed.
class ScratchFile {
  public:
    ScratchFile() : file_(std::tmpfile()) {
        if (file_ == nullptr) {
            throw std::system_error(errno, std::generic_category(), "tmpfile");
        }
    }
    ~ScratchFile() { std::fclose(file_); }
    ScratchFile(const ScratchFile&) = delete;
    ScratchFile& operator=(const ScratchFile&) = delete;

    int descriptor() const { return ::fileno(file_); }
    void write(const std::string& text) {
        std::fwrite(text.data(), 1, text.size(), file_);
        std::fflush(file_);
        std::rewind(file_);
        ::lseek(descriptor(), 0, SEEK_SET);
    }
    std::string read() const {
        std::string text;
        std::array<char, 4096> buffer{};
        ::lseek(descriptor(), 0, SEEK_SET);
        for (ssize_t n = 0; (n = ::read(descriptor(), buffer.data(), buffer.size())) > 0;) {
            text.append(buffer.data(), static_cast<std::size_t>(n));
        }
        return text;
    }

  private:
    std::FILE* file_;
};

/// The words and variables of an execve(2), made before the fork.
class Image {
  public:
    Image(const std::filesystem::path& program, const std::vector<std::string>& arguments,
          const Environment& environment)
        : words_{program.string()} {
        words_.insert(words_.end(), arguments.begin(), arguments.end());
        for (const auto& [name, value] : environment) {
            variables_.push_back(name + "=" + value);
        }
        // What the sanitizers need to know reaches the program too.
        for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"}) {
            if (const char* value = std::getenv(name)) {
                variables_.push_back(std::string(name) + "=" + value);
            }
        }
        fill(argv_, words_);
        fill(envp_, variables_);
    }
    [[noreturn]] void execute() {
        ::execve(argv_[0], argv_.data(), envp_.data());
        ::_exit(127);
    }

  private:
    static void fill(std::vector<char*>& pointers, std::vector<std::string>& texts) {
        for (std::string& text : texts) {
            pointers.push_back(text.data());
        }
        pointers.push_back(nullptr);
    }

    std::vector<std::string> words_, variables_;
    std::vector<char*> argv_, envp_;
};

void pause_for(int ms) {
    pollfd nothing{.fd = -1, .events = 0, .revents = 0};
    ::poll(&nothing, 1, ms);
}

int wait_for(pid_t pid, long* peak_kb = nullptr) {
    const auto deadline = steady_clock::now() + patience;
    int status = 0;
    pid_t reaped = 0;
    rusage usage{};
    while ((reaped = ::wait4(pid, &status, WNOHANG, &usage)) == 0 ||
           (reaped < 0 && errno == EINTR)) {
        if (steady_clock::now() > deadline) {
            ::kill(pid, SIGKILL);
        }
        pause_for(1);
    }
    if (peak_kb != nullptr) {
        *peak_kb = usage.ru_maxrss;
    }
    return reaped > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

Run run_program(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                const Environment& environment, const std::string& input) {
    Image image(program, arguments, environment);
    ScratchFile in, out, err;
    in.write(input);
    const pid_t pid = ::fork();
    if (pid < 0) {
        throw std::system_error(errno, std::generic_category(), "fork");
    }
    if (pid == 0) {
        ::dup2(in.descriptor(), STDIN_FILENO);
        ::dup2(out.descriptor(), STDOUT_FILENO);
        ::dup2(err.descriptor(), STDERR_FILENO);
        image.execute();
    }
    Run run;
    run.code = wait_for(pid, &run.peak_kb);
    run.out = out.read();
    run.err = err.read();
    return run;
}

Run run_on_terminal(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                    const Environment& environment, const std::string& answer) {
    Image image(program, arguments, environment);
    int terminal = -1;
    winsize size{.ws_row = 40, .ws_col = 100, .ws_xpixel = 0, .ws_ypixel = 0};
    const pid_t pid = ::forkpty(&terminal, nullptr, nullptr, &size);
    if (pid < 0) {
        throw std::system_error(errno, std::generic_category(), "forkpty");
    }
    if (pid == 0) {
        image.execute();
    }
    Run run;
    if (::write(terminal, answer.data(), answer.size()) < 0) {
        MESSAGE("the terminal took no answer");
    }
    const auto deadline = steady_clock::now() + patience;
    std::array<char, 4096> buffer{};
    // Reading fails (EIO) once the program has closed its end.
    while (steady_clock::now() < deadline) {
        pollfd entry{.fd = terminal, .events = POLLIN, .revents = 0};
        ::poll(&entry, 1, 1000);
        const ssize_t n = entry.revents != 0 ? ::read(terminal, buffer.data(), buffer.size()) : -2;
        if (n > 0) {
            run.out.append(buffer.data(), static_cast<std::size_t>(n));
        } else if (n != -2) {
            break;
        }
    }
    run.code = wait_for(pid);
    ::close(terminal);
    return run;
}

TerminalSession::TerminalSession(const std::filesystem::path& program,
                                 const std::vector<std::string>& arguments,
                                 const Environment& environment, unsigned short columns,
                                 unsigned short rows)
    : screen_(columns, rows) {
    Image image(program, arguments, environment);
    winsize size{.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    if (::openpty(&terminal_, &keeper_, nullptr, nullptr, &size) != 0 || (pid_ = ::fork()) < 0) {
        throw std::system_error(errno, std::generic_category(), "openpty or fork");
    }
    if (pid_ == 0) {
        ::close(terminal_);
        ::login_tty(keeper_);
        image.execute();
    }
}

TerminalSession::~TerminalSession() {
    if (!ended_) {
        ::kill(pid_, SIGKILL);
        wait_for(pid_);
    }
    ::close(terminal_);
    ::close(keeper_);
}

/// False where nothing came for a while.
bool TerminalSession::read_some() {
    std::array<char, 4096> buffer{};
    pollfd entry{.fd = terminal_, .events = POLLIN, .revents = 0};
    if (::poll(&entry, 1, 10) <= 0) {
        return false;
    }
    const ssize_t n = ::read(terminal_, buffer.data(), buffer.size());
    if (n <= 0) {
        return false;
    }
    const std::string_view bytes(buffer.data(), static_cast<std::size_t>(n));
    output_ += bytes;
    screen_.write(bytes);
    return true;
}

bool TerminalSession::until_shown(const std::string& words) {
    const auto deadline = steady_clock::now() + patience;
    while (!screen_.shows(words)) {
        siginfo_t info{};
        ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT);
        const bool is_over = info.si_pid != 0;
        if ((!read_some() && is_over) || steady_clock::now() > deadline) {
            return screen_.shows(words);
        }
    }
    return true;
}

int TerminalSession::until_ended() {
    const auto deadline = steady_clock::now() + patience;
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0 && steady_clock::now() < deadline) {
        read_some();
    }
    const int code = wait_for(pid_);
    ended_ = true;
    while (read_some()) {
    }
    return code;
}

void TerminalSession::type(const std::string& keys) {
    REQUIRE(::write(terminal_, keys.data(), keys.size()) == static_cast<ssize_t>(keys.size()));
}

void TerminalSession::send(int signal) {
    ::kill(pid_, signal);
}

void TerminalSession::resize(unsigned short columns, unsigned short rows) {
    const winsize size{.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    screen_ = TerminalScreen(columns, rows);
    ::ioctl(terminal_, TIOCSWINSZ, &size);
}

bool TerminalSession::is_cooked() const {
    termios mode{};
    return ::tcgetattr(keeper_, &mode) == 0 && (mode.c_lflag & ICANON) != 0 &&
           (mode.c_lflag & ECHO) != 0;
}

nlohmann::json Tool::json(std::vector<std::string> arguments) const {
    arguments.push_back("--json");
    const Run run = (*this)(arguments);
    CAPTURE(arguments);
    CAPTURE(run.err);
    REQUIRE(run.code == 0);
    return nlohmann::json::parse(run.out);
}

std::string Tool::submit(const std::string& conversation, const std::string& comment,
                         const std::string& metadata) const {
    std::vector<std::string> arguments{"submit",   "--conversation-id", conversation, "--sentiment",
                                       "positive", "--comment",         comment};
    if (!metadata.empty()) {
        arguments.insert(arguments.end(), {"--metadata", metadata});
    }
    return json(arguments).at("id").get<std::string>();
}

Run Tool::drain(const sandbox::Server& server, std::vector<std::string> more) const {
    std::vector<std::string> arguments{"drain", "--endpoint", server.url()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Environment with_key = environment;
    with_key.insert({"AGENTSIGHT_API_KEY", write_key});
    return run_program(AGENTSIGHT_OUTBOX_TOOL, arguments, with_key);
}

void check_refused(const Run& run, int code, const std::string& words) {
    CAPTURE(run.out);
    CAPTURE(run.err);
    CHECK(run.code == code);
    CHECK(run.err.starts_with("agentsight-outbox: "));
    CHECK(std::count(run.err.begin(), run.err.end(), '\n') == 1);
    CHECK(run.err.find(words) != std::string::npos);
}

std::string bytes_of(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    std::ostringstream text;
    text << stream.rdbuf();
    return text.str();
}

}  // namespace agentsight::test
