#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <memory>
#include <mutex>
#include <thread>

#include "agentsight/conversation_manager.hpp"
#include "credentials.hpp"
#include "hold_words.hpp"
#include "output.hpp"
#include "record_json.hpp"
#include "text.hpp"
#include "times.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// How often the outbox is looked at while it drains: soon enough for a person and for an
/// empty outbox to be noticed, rare enough to cost nothing.
constexpr milliseconds look_every{50};
constexpr milliseconds longest_pause{10'000};  ///< between two flushes

/// Where another process drains under a credential that is refused, it makes room for ours at
/// once: what is refused for so long, with nothing on its way, is refused under either.
constexpr milliseconds refused_by_both_after{2'000};

struct DrainFlags {
    SendingFlags sending;
    TextFlag deadline, connections, reconcile_after;
};

volatile std::sig_atomic_t interrupted = 0;

extern "C" void note_interrupt(int) {
    interrupted = 1;
}

/// Keeps asking the manager to send at full speed, on a thread of its own, so that the verb
/// can watch meanwhile.
class Pump {
  public:
    Pump(ConversationManager& manager, steady_clock::time_point deadline)
        : thread_([this, &manager, deadline] { run(manager, deadline); }) {}
    ~Pump() {
        {
            const std::lock_guard lock{mutex_};
            stopping_ = true;
        }
        stop_.notify_all();
        thread_.join();
    }
    Pump(const Pump&) = delete;
    Pump& operator=(const Pump&) = delete;

    /// The manager gave up before its time: nothing can be sent as things stand.
    bool is_stuck() const { return stuck_; }
    /// Our own drain has looked at every record at least once.
    bool has_looked() const { return looked_; }

  private:
    /// A flush that ends has tried everything once, whatever backoff was stored, and ends well
    /// where all that is left has earned one just now. The next one ignores that too: it comes
    /// later and later, so that no record uses up its attempts within one drain. What is
    /// submitted meanwhile, or falls due, is sent without it.
    void run(ConversationManager& manager, steady_clock::time_point deadline) {
        milliseconds pause = look_every;
        while (!stopping_) {
            const auto left = deadline - steady_clock::now();
            if (left <= steady_clock::duration::zero()) {
                return;
            }
            try {
                const bool done = manager.flush(std::chrono::ceil<milliseconds>(left));
                stuck_ = !done && steady_clock::now() < deadline;
                looked_ = true;
            } catch (const Error&) {
                return;  // closed: the verb ends
            }
            wait_before_next(pause);
            pause = std::min(2 * pause, longest_pause);
        }
    }
    void wait_before_next(milliseconds pause) {
        std::unique_lock lock{mutex_};
        stop_.wait_for(lock, pause, [this] { return stopping_.load(); });
    }

    std::atomic<bool> stopping_ = false;
    std::atomic<bool> stuck_ = false;
    std::atomic<bool> looked_ = false;
    std::mutex mutex_;
    std::condition_variable stop_;
    std::thread thread_;
};

enum class Verdict { settled, going_on, hopeless, late, interrupted };

class Drain {
  public:
    Drain(const Common& common, const DrainFlags& flags)
        : common_(common),
          length_(flags.deadline.given() ? parse_duration("--deadline", flags.deadline.text,
                                                          milliseconds(0), std::chrono::days(365))
                                         : milliseconds(30'000)),
          options_(options(common, flags)),
          endpoint_source_(flags.sending.endpoint.given() ? "--endpoint: "
                                                          : "AGENTSIGHT_API_ENDPOINT: "),
          key_source_(flags.sending.credential_file.given()
                          ? "--credential-file: "
                          : "AGENTSIGHT_API_KEY or AGENTSIGHT_JWT: ") {}

    ExitCode run() {
        {
            // Also says whether there is a sound outbox at all, before anything is made.
            const Outbox outbox(options_.outbox_path, OutboxMode::read_only);
            first_ = last_ = outbox.status();
        }
        other_ = first_.drainer;
        if (other_) {
            complain(other_words());
        }
        const Verdict verdict = send();
        // Closing gave claims back, and what was under way is unknown now.
        last_ = Outbox(options_.outbox_path, OutboxMode::read_only).status();
        report(verdict);
        return verdict == Verdict::settled ? ExitCode::done : ExitCode::unsettled;
    }

  private:
    static Options options(const Common& common, const DrainFlags& flags) {
        Options options = telling_options();
        options.outbox_path = common.path();
        flags.sending.endpoint.refuse_empty();
        flags.sending.credential_file.refuse_empty();
        options.endpoint = flags.sending.endpoint.text;
        options.credential = find_credential(flags.sending.credential_file.text);
        if (flags.connections.given()) {
            options.connections =
                static_cast<int>(parse_number("--connections", flags.connections.text, 1, 64));
        }
        if (flags.reconcile_after.given()) {
            options.reconcile_after =
                parse_duration("--reconcile-after", flags.reconcile_after.text, milliseconds(0),
                               std::chrono::hours(24));
        }
        return options;
    }

    /// What only the library can judge, the form of an endpoint or of a credential, is the
    /// flag's fault here.
    std::unique_ptr<ConversationManager> open() const {
        try {
            return std::make_unique<ConversationManager>(options_);
        } catch (const Error& error) {
            const std::string_view words = error.what();
            if (error.code() != errc::invalid_option) {
                throw;
            }
            const std::string source = words.starts_with("option endpoint")     ? endpoint_source_
                                       : words.starts_with("option credential") ? key_source_
                                                                                : "";
            throw UsageError(source + std::string(words));
        }
    }

    std::string other_words() const {
        const std::string pid = std::to_string(other_->pid);
        return other_->stopped ? "process " + pid +
                                     " drains this outbox but is stopped; continue it (`kill "
                                     "-CONT " +
                                     pid + "`) or end it"
                               : "process " + pid + " drains this outbox; waiting for it";
    }

    Verdict send() {
        const auto deadline = steady_clock::now() + length_;
        const std::unique_ptr<ConversationManager> owner = open();
        ConversationManager& manager = *owner;
        std::signal(SIGINT, note_interrupt);
        std::signal(SIGTERM, note_interrupt);
        Verdict verdict = Verdict::going_on;
        {
            const Pump pump(manager, deadline);
            Progress progress;
            while ((verdict = judge(pump, deadline)) == Verdict::going_on) {
                std::this_thread::sleep_for(look_every);
                looked_before_ = pump.has_looked();
                last_ = manager.stats();
                note_refusal();
                show(progress);
            }
            if (verdict != Verdict::settled) {
                manager.close(options_.close_deadline);  // also ends the pump's waiting
            }
        }
        manager.close(options_.close_deadline);
        return verdict;
    }

    Verdict judge(const Pump& pump, steady_clock::time_point deadline) const {
        if (open_records(last_) == 0) {
            return Verdict::settled;
        }
        if (interrupted != 0) {
            return Verdict::interrupted;
        }
        if (is_hopeless(pump)) {
            return Verdict::hopeless;
        }
        return steady_clock::now() >= deadline ? Verdict::late : Verdict::going_on;
    }

    /// Only a person or a new credential can help, so that waiting would be in vain.
    bool is_hopeless(const Pump& pump) const {
        if (last_.hold && last_.hold->reason == HoldReason::person) {
            return true;
        }
        const bool is_other = other_ && last_.drainer && last_.drainer->pid == other_->pid;
        if (is_other) {  // its credential may be another; it may give way to us
            return refused_since_ && steady_clock::now() - *refused_since_ >= refused_by_both_after;
        }
        if (pump.is_stuck() && last_.hold && needs_person(last_.hold->reason)) {
            return true;
        }
        if (!looked_before_) {
            return false;  // the counts are the last drainer's, whose credential may be another
        }
        const std::uint64_t for_us = last_.waiting - last_.waiting_for_other_credential;
        return for_us == 0 && last_.claimed == 0 && unknowns_are_left_to_person();
    }

    void note_refusal() {
        if (!last_.hold || !needs_person(last_.hold->reason) || last_.claimed > 0) {
            refused_since_.reset();
        } else if (!refused_since_) {
            refused_since_ = steady_clock::now();
        }
    }

    static bool needs_person(HoldReason reason) {
        return reason == HoldReason::no_credential || reason == HoldReason::credential_refused ||
               reason == HoldReason::account_unpaid;
    }

    bool unknowns_are_left_to_person() const { return last_.unknown == last_.left_to_person; }

    void show(Progress& progress) const {
        if (!progress.is_shown()) {
            return;
        }
        std::string line = std::to_string(last_.delivered - first_.delivered) + " delivered, " +
                           std::to_string(open_records(last_)) + " to go";
        if (last_.hold) {
            line += ": " + hold_words(*last_.hold, Sender::lives).what;
        }
        progress.show(line);
    }

    void report(Verdict verdict) const {
        const std::uint64_t delivered = last_.delivered - first_.delivered;
        if (common_.json) {
            Json json = to_json(last_);
            json["delivered_now"] = delivered;
            json["settled"] = verdict == Verdict::settled;
            print_json(json);
        } else {
            print_line(counted(delivered, "record") + " delivered, " +
                       counted(last_.dead, "dead letter") +
                       (last_.dead > 0 ? " (see `agentsight-outbox list --state dead`)" : ""));
        }
        if (verdict != Verdict::settled) {
            complain(unsettled_words(verdict));
        }
    }

    std::string unsettled_words(Verdict verdict) const {
        std::string words = verdict == Verdict::interrupted ? "interrupted: "
                            : verdict == Verdict::late      ? "at the deadline: "
                                                            : "";
        words += std::to_string(last_.waiting) + " waiting, " + std::to_string(last_.claimed) +
                 " claimed, " + std::to_string(last_.unknown) + " unknown";
        if (last_.left_to_person > 0 && sendable_records(last_) == 0) {
            return words +
                   "; only a person can settle those unknown: see `agentsight-outbox "
                   "resolve --help`";
        }
        if (last_.hold) {
            const HoldWords hold = hold_words(*last_.hold, other_ ? Sender::lives : Sender::ended);
            return words + "; " + hold.what + ": " + hold.advice;
        }
        if (verdict == Verdict::hopeless && last_.waiting_for_other_credential > 0) {
            return words +
                   "; those waiting were submitted under another kind of credential: "
                   "drain with one of that kind";
        }
        return words + "; nothing is lost: run `agentsight-outbox drain` again";
    }

    const Common& common_;
    const milliseconds length_;
    const Options options_;
    const std::string endpoint_source_, key_source_;  ///< "--endpoint: "
    Status first_, last_;
    bool looked_before_ = false;  ///< our own drain had looked when `last_` was taken
    std::optional<steady_clock::time_point> refused_since_;
    std::optional<Drainer> other_;  ///< another process, as it was at the beginning
};

}  // namespace

void add_drain(CLI::App& app, Invocation& invocation) {
    CLI::App* verb =
        add_verb(app, invocation, "drain", "Send until nothing waits, is claimed or unknown",
                 "drain --deadline 5m --credential-file /etc/kiosk/agentsight.key");
    auto flags = std::make_shared<DrainFlags>();
    add_text_flag(*verb, flags->deadline, "--deadline", "Give up after so long (default: 30s)",
                  "DURATION");
    add_text_flag(*verb, flags->connections, "--connections",
                  "So many at a time, 1 to 64 (default: 4)", "N");
    add_text_flag(*verb, flags->reconcile_after, "--reconcile-after",
                  "How long a row may take to appear on the server (default: 120s)", "DURATION");
    flags->sending.add_to(*verb);
    verb->callback([&invocation, flags] {
        invocation.run = [&invocation, flags] { return Drain(invocation.common, *flags).run(); };
    });
}

}  // namespace agentsight::tool
