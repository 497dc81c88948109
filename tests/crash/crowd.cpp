// Eight processes with four threads each submit; whoever holds the drain lock sends to a log
// that stands for the server, and is killed or stopped again and again. What the log holds at
// the end must be what was submitted, each once.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include <new>
#include <set>
#include <system_error>
#include <thread>
#include <vector>

#include "command_line.hpp"
#include "os/clock.hpp"
#include "outbox/store.hpp"
#include "support/temporary_folder.hpp"
#include "support/test_random.hpp"

using namespace agentsight;
using namespace agentsight::test;
using std::chrono::steady_clock;
namespace fs = std::filesystem;

namespace {

/// The campaign's beat: how often somebody looks, and is struck. Nothing is judged by it.
void let_pass(std::chrono::milliseconds time) {
    ::poll(nullptr, 0, static_cast<int>(time.count()));
}

constexpr const char* usage = "crowd [--records N] [--every-ms N] [--seed S] [--deadline-s N]\n";
constexpr std::size_t processes = 8;
constexpr std::size_t threads = 4;
constexpr std::size_t all_threads = processes * threads;
constexpr std::chrono::milliseconds poll{2};
constexpr const char* origin = "https://api.example";

/// Shared by all: how far each thread's submits were acknowledged, over its process's death.
struct Progress {
    std::array<std::atomic<std::uint64_t>, all_threads> acknowledged{};
    std::atomic<bool> failed{false};
};

Progress& shared_progress() {
    void* memory = ::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::system_error(errno, std::generic_category(), "mmap");
    }
    return *new (memory) Progress;
}

struct Plan {
    fs::path outbox;
    fs::path server;
    std::uint64_t each = 0;  ///< records a thread
    Progress* progress = nullptr;
};

core::Uuid id_of(std::size_t thread, std::uint64_t serial) {
    TestRandom random{(std::uint64_t{thread} << 32) + serial + 1};
    core::Uuid id;
    for (auto& byte : id.bytes) {
        byte = static_cast<std::uint8_t>(random.next());
    }
    return id;
}

std::multiset<std::string> rows_on(const fs::path& server) {
    std::multiset<std::string> rows;
    std::ifstream file{server};
    for (std::string row; std::getline(file, row);) {
        rows.insert(row);
    }
    return rows;
}

outbox::StoreOptions options_of(const fs::path& path) {
    outbox::StoreOptions options;
    options.path = path;
    options.busy_timeout = std::chrono::seconds{60};
    options.keep_delivered = 100;
    return options;
}

/// One of the eight.
class Member {
  public:
    explicit Member(const Plan& plan)
        : plan_(plan),
          store_{options_of(plan.outbox), clock_, random_},
          log_(::open(plan.server.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600)) {}
    ~Member() { ::close(log_); }
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

    void submit_all(std::size_t thread) {
        std::atomic<std::uint64_t>& done = plan_.progress->acknowledged[thread];
        while (done < plan_.each) {
            outbox::Submission made;
            made.feedback.conversation.value = "=c" + std::to_string(thread * 8 + done % 8);
            made.feedback.comment = std::string(100 + done % 200, 'w');
            made.kind = Credential::Kind::api_key;
            // What was under way when its process was killed is submitted again.
            made.id = id_of(thread, done);
            const auto result = store_.submit(made);
            if (result.error) {
                throw std::runtime_error("submit: " + result.message);
            }
            ++done;
        }
    }

    void drain_until_killed() {
        for (;;) {
            while (!store_.try_become_drainer()) {
                let_pass(poll);
            }
            store_.begin_draining();
            reconcile();
            std::vector<outbox::ClaimedRecord> held;
            while (store_.is_drainer()) {
                held = send(held);
                if (held.empty()) {
                    let_pass(poll);
                }
            }
        }
    }

  private:
    outbox::DrainRequest request() const {
        outbox::DrainRequest made;
        made.kind = Credential::Kind::api_key;
        made.origin = origin;
        made.ignore_due = true;
        return made;
    }

    /// What a killed drainer had claimed: the server is asked.
    void reconcile() {
        const auto rows = rows_on(plan_.server);
        outbox::DrainRequest made = request();
        for (const auto& record : store_.due_unknowns(1000, true)) {
            const bool there = rows.count(record.id.text()) > 0;
            made.settlements.push_back(settlement(record, there));
        }
        if (!made.settlements.empty()) {
            store_.drain(std::move(made));
        }
    }

    std::vector<outbox::ClaimedRecord> send(const std::vector<outbox::ClaimedRecord>& held) {
        outbox::DrainRequest made = request();
        made.claim = 16;
        for (const auto& record : held) {
            const std::string row = record.id.text() + "\n";
            if (::write(log_, row.data(), row.size()) != static_cast<ssize_t>(row.size())) {
                throw std::system_error(errno, std::generic_category(), "the server's log");
            }
            made.settlements.push_back(settlement(record, true));
        }
        return store_.drain(std::move(made)).claimed;
    }

    outbox::Settlement settlement(const outbox::ClaimedRecord& record, bool delivered) const {
        using To = outbox::Settlement::To;
        outbox::Settlement made;
        made.key = record.key;
        made.to = delivered ? To::delivered : To::waiting;
        made.server_id = delivered ? "row-" + record.id.text() : "";
        made.origin = origin;
        return made;
    }

    const Plan& plan_;
    os::SystemClock clock_;
    os::SystemRandom random_;
    outbox::Store store_;
    int log_;
};

[[noreturn]] void live(const Plan& plan, std::size_t process) {
    try {
        Member member{plan};
        const auto guarded = [&](auto work) {
            return std::thread{[&plan, work] {
                try {
                    work();
                } catch (const std::exception& error) {
                    std::fprintf(stderr, "member: %s\n", error.what());
                    plan.progress->failed = true;
                }
            }};
        };
        std::vector<std::thread> running;
        running.push_back(guarded([&] { member.drain_until_killed(); }));
        for (std::size_t i = 0; i < threads; ++i) {
            running.push_back(
                guarded([&member, thread = process * threads + i] { member.submit_all(thread); }));
        }
        for (std::thread& thread : running) {
            thread.join();
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "member: %s\n", error.what());
        plan.progress->failed = true;
    }
    ::_exit(3);
}

struct Tally {
    std::uint64_t kills = 0;
    std::uint64_t stops = 0;
};

class Crowd {
  public:
    explicit Crowd(const Plan& plan) : plan_(plan) {
        for (std::size_t i = 0; i < processes; ++i) {
            start(i);
        }
    }
    ~Crowd() {
        for (const auto& [pid, process] : members_) {
            end(pid);
        }
    }
    Crowd(const Crowd&) = delete;
    Crowd& operator=(const Crowd&) = delete;

    /// SIGKILL, and another in its place; or SIGSTOP for as long as `pause`.
    void strike(pid_t drainer, bool kills, std::chrono::milliseconds pause) {
        const auto found = members_.find(drainer);
        if (found == members_.end()) {
            return;
        }
        if (kills) {
            const std::size_t process = found->second;
            end(drainer);
            members_.erase(found);
            start(process);
            ++tally_.kills;
            return;
        }
        ::kill(drainer, SIGSTOP);
        let_pass(pause);
        ::kill(drainer, SIGCONT);
        ++tally_.stops;
    }
    const Tally& tally() const { return tally_; }

  private:
    void start(std::size_t process) {
        const pid_t pid = ::fork();
        if (pid < 0) {
            throw std::system_error(errno, std::generic_category(), "fork");
        }
        if (pid == 0) {
            live(plan_, process);
        }
        members_[pid] = process;
    }
    static void end(pid_t pid) {
        ::kill(pid, SIGKILL);
        while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
        }
    }

    const Plan& plan_;
    std::map<pid_t, std::size_t> members_;
    Tally tally_;
};

Status status_of(const fs::path& path) {
    const os::SystemClock clock;
    os::SystemRandom random;
    outbox::StoreOptions options = options_of(path);
    options.mode = OutboxMode::read_only;
    outbox::Store store{options, clock, random};
    return store.status();
}

std::string judge(const Plan& plan) {
    std::multiset<std::string> expected;
    for (std::size_t thread = 0; thread < all_threads; ++thread) {
        for (std::uint64_t serial = 0; serial < plan.each; ++serial) {
            expected.insert(id_of(thread, serial).text());
        }
    }
    const auto rows = rows_on(plan.server);
    if (rows != expected) {
        std::uint64_t doubled = 0;
        std::uint64_t lost = 0;
        for (const std::string& id : expected) {
            doubled += rows.count(id) > 1 ? rows.count(id) - 1 : 0;
            lost += rows.count(id) == 0 ? 1 : 0;
        }
        return std::to_string(lost) + " lost, " + std::to_string(doubled) + " doubled";
    }
    const os::SystemClock clock;
    os::SystemRandom random;
    outbox::Store store{options_of(plan.outbox), clock, random};
    const auto wrong = store.verify();
    return wrong.empty() ? std::string{} : "verify: " + wrong.front();
}

int run(const CommandLine& line) {
    const std::uint64_t records = line.number("records", 50'000);
    const std::chrono::milliseconds every{line.number("every-ms", 2'000)};
    const std::chrono::seconds limit{line.number("deadline-s", 1'200)};
    TestRandom random{line.number("seed", 1)};
    prefer_memory();
    const TemporaryFolder folder;
    const Plan plan{folder / "feedback.db", folder / "server",
                    (records + all_threads - 1) / all_threads, &shared_progress()};
    const std::uint64_t wanted = plan.each * all_threads;
    const auto begin = steady_clock::now();
    std::string finding;
    Tally tally;
    {
        const os::SystemClock clock;
        os::SystemRandom system;
        outbox::Store{options_of(plan.outbox), clock, system};
        Crowd crowd{plan};
        for (;;) {
            let_pass(every);
            const Status status = status_of(plan.outbox);
            if (plan.progress->failed || status.delivered >= wanted) {
                break;
            }
            if (steady_clock::now() - begin > limit) {
                finding = "not all was delivered in time";
                break;
            }
            if (status.drainer) {
                crowd.strike(static_cast<pid_t>(status.drainer->pid), random.one_in(2), every / 4);
            }
        }
        tally = crowd.tally();
    }
    if (plan.progress->failed) {
        finding = "a member failed";
    }
    if (finding.empty()) {
        finding = judge(plan);
    }
    if (finding.empty() && tally.kills + tally.stops == 0) {
        finding = "no drainer was struck: take more --records, or a smaller --every-ms";
    }
    const std::chrono::duration<double> took = steady_clock::now() - begin;
    std::printf(
        "%llu records of %zu processes with %zu threads, %llu kills and %llu stops of the "
        "drainer, %.0f s: %s\n",
        static_cast<unsigned long long>(wanted), processes, threads,
        static_cast<unsigned long long>(tally.kills), static_cast<unsigned long long>(tally.stops),
        took.count(), finding.empty() ? "each delivered once" : ("FAILED: " + finding).c_str());
    return finding.empty() ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
    try {
        return run(CommandLine{count, words});
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n" << usage;
        return 2;
    }
}
