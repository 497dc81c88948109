#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <exception>
#include <iostream>
#include <system_error>

#include "actor.hpp"
#include "command_line.hpp"
#include "kill_worker.hpp"
#include "os/clock.hpp"
#include "support/temporary_folder.hpp"
#include "truth.hpp"

using namespace agentsight;
using namespace agentsight::test;

namespace {

constexpr std::size_t most_waiting = 40;

constexpr const char* usage = "kill-campaign [--cycles N] [--seed S] [--longest-ms N]\n";

/// One worker process and the pipe it tells by.
class Victim {
  public:
    explicit Victim(KillWork work) {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
            throw std::system_error(errno, std::generic_category(), "pipe2");
        }
        pid_ = ::fork();
        if (pid_ < 0) {
            throw std::system_error(errno, std::generic_category(), "fork");
        }
        if (pid_ == 0) {
            ::close(ends[0]);
            work.pipe = ends[1];
            ::_exit(work_until_killed(work));
        }
        ::close(ends[1]);
        pipe_ = ends[0];
    }
    ~Victim() { ::close(pipe_); }
    Victim(const Victim&) = delete;
    Victim& operator=(const Victim&) = delete;

    /// What it tells within the time; none where it told nothing more, or is dead.
    bool hear(KillMessage& message, std::chrono::microseconds patience) const {
        pollfd entry{.fd = pipe_, .events = POLLIN, .revents = 0};
        const timespec time{.tv_sec = patience.count() / 1'000'000,
                            .tv_nsec = patience.count() % 1'000'000 * 1000};
        return ::ppoll(&entry, 1, &time, nullptr) > 0 &&
               ::read(pipe_, &message, sizeof message) == sizeof message;
    }

    /// SIGKILL. False where it had ended by itself: it found something wrong.
    bool kill() {
        ::kill(pid_, SIGKILL);
        int status = 0;
        while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
        }
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    }

  private:
    pid_t pid_ = -1;
    int pipe_ = -1;
};

struct Tally {
    std::uint64_t cycles = 0;
    std::uint64_t submitted = 0;
    std::uint64_t settled = 0;
};

class Campaign {
  public:
    Campaign(const std::filesystem::path& path, std::uint64_t seed) : path_{path}, random_{seed} {
        truth_.in_any_order();
    }

    void cycle(std::chrono::microseconds longest) {
        using Microseconds = std::chrono::microseconds;
        // Short lives are as likely as long ones: most of what can go wrong is near the start.
        const std::uint64_t bits = random_.below(10);
        const auto lives =
            Microseconds{random_.below(static_cast<std::uint64_t>(longest.count()) >> bits) + 1};
        const auto end = std::chrono::steady_clock::now() + lives;
        KillMessage message;
        {
            Victim victim{{.path = path_, .seed = random_.next(), .first_serial = next_serial_}};
            for (auto now = std::chrono::steady_clock::now(); now < end;
                 now = std::chrono::steady_clock::now()) {
                if (victim.hear(message, std::chrono::duration_cast<Microseconds>(end - now))) {
                    take(message);
                }
            }
            if (!victim.kill()) {
                throw Finding{Finding::Kind::corrupt, "the worker ended by itself"};
            }
            while (victim.hear(message, Microseconds{0})) {
                take(message);
            }
        }
        check();
        ++tally_.cycles;
    }
    const Tally& tally() const { return tally_; }

  private:
    void take(const KillMessage& message) {
        using Kind = KillMessage::Kind;
        switch (message.kind) {
            case Kind::submits:
                truth_.may_appear(submission_of(message.serial));
                next_serial_ = std::max(next_serial_, message.serial + 1);
                break;
            case Kind::submitted:
                truth_.settled(submission_of(message.serial));
                appear(message);
                ++tally_.submitted;
                break;
            case Kind::begins:
                for (const core::Uuid& id : truth_.ids_in(Place::claimed)) {
                    truth_.may_become(id, Place::unknown);
                }
                break;
            case Kind::began:
                for (const core::Uuid& id : truth_.ids_in(Place::claimed)) {
                    move(id, Place::unknown);
                }
                break;
            case Kind::claims:
                truth_.may_claim(message.serial);
                claims_ = true;
                break;
            case Kind::settles:
                settles_.emplace_back(message.id, static_cast<Place>(message.place));
                truth_.may_become(message.id, settles_.back().second);
                truth_.may_become(message.id, Place::claimed);
                ++tally_.settled;
                break;
            case Kind::settled:
                for (const auto& [id, place] : settles_) {
                    move(id, place);
                }
                settles_.clear();
                break;
            case Kind::claimed:
                truth_.settled(submission_of(message.serial));
                appear(message);
                move(message.id, Place::claimed);
                break;
            case Kind::drained:
                claims_ = false;
                for (const core::Uuid& id : truth_.ids_in(Place::waiting)) {
                    truth_.acknowledged(id);
                }
                break;
        }
    }

    /// Told by its submit, or, where that is slower, by its claim.
    void appear(const KillMessage& message) {
        if (!truth_.records().contains(message.id)) {
            truth_.appeared(message.id, submission_of(message.serial));
            move(message.id, Place::waiting);
        }
    }

    /// Acknowledged; but what waits may be claimed by a drain under way.
    void move(const core::Uuid& id, Place place) {
        truth_.became(id, place);
        truth_.acknowledged(id);
        if (claims_ && place == Place::waiting) {
            truth_.may_become(id, Place::claimed);
        }
    }

    void check() {
        const os::SystemClock clock;
        os::SystemRandom random;
        const outbox::StoreOptions options = kill_options(path_);
        outbox::Store store{options, clock, random};
        if (tally_.cycles % 16 == 0) {
            const auto wrong = store.verify();
            require(wrong.empty(), wrong.empty() ? "" : "verify: " + wrong.front());
        }
        const std::vector<outbox::Submission> under_way = truth_.in_flight();
        const std::string wrong =
            truth_.compare(store, options.keep_delivered, Truth::Seen::after_power_cut);
        require(wrong.empty(), wrong);
        claims_ = false;
        settles_.clear();
        submit_again(store, under_way);
        give_up(store);
        truth_.forget_gone(store);
    }

    /// Bounds the outbox, and so a cycle: short lives submit more than they deliver.
    void give_up(outbox::Store& store) {
        std::vector<core::Uuid> ids = truth_.ids_in(Place::dead);
        const std::vector<core::Uuid> waiting = truth_.ids_in(Place::waiting);
        for (std::size_t i = most_waiting; i < waiting.size(); ++i) {
            ids.push_back(waiting[i - most_waiting]);
        }
        for (const core::Uuid& id : ids) {
            store.discard(id.text(), false);
            move(id, Place::discarded);
        }
    }

    /// S7: what was under way, submitted again with its id, is there once.
    void submit_again(outbox::Store& store, const std::vector<outbox::Submission>& under_way) {
        for (const outbox::Submission& submission : under_way) {
            if (!submission.id) {
                continue;
            }
            const bool there = truth_.records().contains(*submission.id);
            const auto result = store.submit(submission);
            require(!result.error, "submitting again: " + result.message);
            require(result.stored != there, "submitting again: stored twice, or not at all");
            truth_.appeared(*submission.id, submission);
            truth_.acknowledged();
        }
    }

    static void require(bool holds, const std::string& what) {
        if (!holds) {
            throw Finding{Finding::Kind::lost, what};
        }
    }

    std::filesystem::path path_;
    TestRandom random_;
    Truth truth_;
    std::vector<std::pair<core::Uuid, Place>> settles_;
    bool claims_ = false;
    std::uint64_t next_serial_ = 1;
    Tally tally_;
};

int run(const CommandLine& line) {
    const std::uint64_t cycles = line.number("cycles", 200);
    const std::uint64_t seed = line.number("seed", 1);
    const std::chrono::milliseconds longest{line.number("longest-ms", 20)};
    prefer_memory();
    const TemporaryFolder folder;
    Campaign campaign{folder / "feedback.db", seed};
    const auto begin = std::chrono::steady_clock::now();
    std::string finding;
    try {
        for (std::uint64_t i = 0; i < cycles; ++i) {
            campaign.cycle(longest);
        }
    } catch (const std::exception& error) {
        finding = error.what();
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    const Tally& tally = campaign.tally();
    std::printf("%llu cycles, %llu submits acknowledged, %llu settles, %.0f s, %.0f cycles/s, %s\n",
                static_cast<unsigned long long>(tally.cycles),
                static_cast<unsigned long long>(tally.submitted),
                static_cast<unsigned long long>(tally.settled), took.count(),
                static_cast<double>(tally.cycles) / took.count(),
                finding.empty() ? "0 lost" : "FAILED");
    if (!finding.empty()) {
        std::printf("FAILED: %s\n  --seed %llu, cycle %llu\n", finding.c_str(),
                    static_cast<unsigned long long>(seed),
                    static_cast<unsigned long long>(tally.cycles));
    }
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
