#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>

#include "terminal.hpp"

// The tool's only file that calls the operating system: what standard C++ cannot do to a
// terminal. Elsewhere one source beside it does the same.

namespace agentsight::tool {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::array ending_signals{SIGINT, SIGTERM, SIGHUP, SIGQUIT};
constexpr std::array drawing_signals{SIGWINCH, SIGTSTP, SIGCONT};

volatile std::sig_atomic_t must_end = 0;
volatile std::sig_atomic_t must_redraw = 0;
volatile std::sig_atomic_t must_stop = 0;

extern "C" void note_signal(int signal) {
    if (signal == SIGTSTP) {
        must_stop = 1;
    } else if (signal == SIGWINCH || signal == SIGCONT) {
        must_redraw = 1;
    } else {
        must_end = 1;
    }
}

void write_all(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
}

}  // namespace

void keep_standard_streams() noexcept {
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (::fcntl(stream, F_GETFD) == -1) {
            // The wrong way round: to use it fails, as it would on a closed one.
            const int made =
                ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // the lowest
            if (made != stream && made != -1) {
                ::close(made);
            }
        }
    }
}

std::size_t error_columns() noexcept {
    winsize size{};
    const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
}

struct Interrupts::Old {
    std::array<struct sigaction, ending_signals.size()> actions{};
};

Interrupts::Interrupts() : old_(std::make_unique<Old>()) {
    must_end = 0;
    for (std::size_t i = 0; i < ending_signals.size(); ++i) {
        struct sigaction action {};
        action.sa_handler = note_signal;  // no SA_RESTART: a read that waits ends
        ::sigemptyset(&action.sa_mask);
        ::sigaction(ending_signals[i], nullptr, &old_->actions[i]);
        if (old_->actions[i].sa_handler != SIG_IGN) {
            ::sigaction(ending_signals[i], &action, nullptr);
        }
    }
}

Interrupts::~Interrupts() {
    for (std::size_t i = 0; i < ending_signals.size(); ++i) {
        ::sigaction(ending_signals[i], &old_->actions[i], nullptr);
    }
}

bool Interrupts::came() const noexcept {
    return must_end != 0;
}

/// Our handlers, and the signals let in only while we wait, so that none slips in between a
/// look at the flags and the wait.
struct Patience::Signals {
    Signals() {
        must_end = 0;
        must_redraw = 0;
        must_stop = 0;
        ::sigemptyset(&ours_);
        for (const int signal : ending_signals) {
            add(signal);
        }
    }
    ~Signals() {
        for (const Old& old : old_) {
            ::sigaction(old.signal, &old.action, nullptr);
        }
        ::sigprocmask(SIG_UNBLOCK, &ours_, nullptr);
    }

    void add(int signal) {
        Old old{signal, {}};
        struct sigaction action {};
        action.sa_handler = note_signal;
        ::sigemptyset(&action.sa_mask);
        ::sigaction(signal, nullptr, &old.action);
        // What whoever started us wants ignored (nohup) stays so.
        if (old.action.sa_handler == SIG_IGN) {
            return;
        }
        ::sigaddset(&ours_, signal);
        ::sigprocmask(SIG_BLOCK, &ours_, nullptr);
        ::sigaction(signal, &action, nullptr);
        old_.push_back(old);
    }

    /// Until a byte can be read, a signal comes, or the time is over.
    bool poll_for(int descriptor, milliseconds time) {
        const timespec left{.tv_sec = time.count() / 1000,
                            .tv_nsec = time.count() % 1000 * 1'000'000};
        pollfd entry{.fd = descriptor, .events = POLLIN, .revents = 0};
        sigset_t during;
        ::sigprocmask(SIG_SETMASK, nullptr, &during);
        for (const Old& old : old_) {
            ::sigdelset(&during, old.signal);
        }
        return ::ppoll(&entry, 1, &left, &during) > 0;
    }

    struct Old {
        int signal;
        struct sigaction action;
    };
    sigset_t ours_{};
    std::vector<Old> old_;
};

Patience::Patience() : signals_(std::make_unique<Signals>()) {}
Patience::~Patience() = default;

Woken Patience::wait(milliseconds time) {
    if (must_end == 0 && time > milliseconds{0}) {
        signals_->poll_for(-1, time);
    }
    return must_end != 0 ? Woken::quit : Woken::in_time;
}

struct Screen::Mode {
    termios before{};
    bool has_keys = false;  ///< standard input is a terminal
    bool taken = false;
};

Screen::Screen() : mode_(std::make_unique<Mode>()) {
    mode_->has_keys = ::tcgetattr(STDIN_FILENO, &mode_->before) == 0;
    for (const int signal : drawing_signals) {
        signals_->add(signal);
    }
    take();
}

Screen::~Screen() {
    give_back();
}

void Screen::take() {
    if (mode_->has_keys) {
        termios raw = mode_->before;
        raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);  // Ctrl-C stays a signal
        raw.c_cc[VMIN] = 0;
        raw.c_cc[VTIME] = 0;
        ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    write_all("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J");  // own screen, no cursor, no wrapping
    mode_->taken = true;
}

void Screen::give_back() noexcept {
    if (!mode_->taken) {
        return;
    }
    mode_->taken = false;
    write_all("\x1b[?7h\x1b[?25h\x1b[?1049l");
    if (mode_->has_keys) {
        ::tcsetattr(STDIN_FILENO, TCSANOW, &mode_->before);
    }
}

void Screen::stop() {
    must_stop = 0;
    give_back();
    ::raise(SIGSTOP);
    take();
}

Screen::Size Screen::size() const {
    winsize size{};
    const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? Size{size.ws_col, size.ws_row} : Size{80, 24};
}

void Screen::draw(const std::vector<std::string>& lines) {
    std::string text = "\x1b[H";
    for (std::size_t i = 0; i < lines.size(); ++i) {
        text += lines[i] + "\x1b[K";
        text += i + 1 < lines.size() ? "\r\n" : "";
    }
    write_all(text + "\x1b[J");
}

Woken Screen::wait(milliseconds time) {
    const auto end = steady_clock::now() + time;
    while (must_end == 0) {
        if (must_stop != 0) {
            stop();
            must_redraw = 1;
        }
        if (must_redraw != 0) {
            must_redraw = 0;
            return Woken::redraw;
        }
        const auto left = std::chrono::ceil<milliseconds>(end - steady_clock::now());
        if (left <= milliseconds{0}) {
            return Woken::in_time;
        }
        if (!signals_->poll_for(mode_->has_keys ? STDIN_FILENO : -1, left)) {
            continue;
        }
        std::array<char, 64> keys{};
        const ssize_t n = ::read(STDIN_FILENO, keys.data(), keys.size());
        if (n <= 0) {
            return Woken::quit;  // the terminal is gone
        }
        const auto* last = keys.begin() + n;
        if (std::any_of(keys.cbegin(), last, [](char key) { return key == 'q' || key == 'Q'; })) {
            return Woken::quit;
        }
    }
    return Woken::quit;
}

}  // namespace agentsight::tool
