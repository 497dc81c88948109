#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "core/time.hpp"
#include "crash_vfs.hpp"
#include "delivery/engine.hpp"
#include "outbox/store.hpp"
#include "scenario.hpp"
#include "server.hpp"

namespace agentsight::sim {

/// The device's clocks: a wall clock that may be wrong and jump, boot time that does not.
class DeviceClock final : public core::Clock {
  public:
    core::Moment now() const override {
        return {.utc_ms = epoch + time + skew, .boot_ms = time - booted, .boot_id = boot};
    }
    Time time = 0;
    Time skew = 0;
    Time booted = -3'600'000;
    std::uint64_t boot = 1;
};

struct Result {
    std::vector<std::string> problems;
    Time finished_at = 0;
    std::uint64_t steps = 0;
    std::uint64_t cuts = 0;  ///< of the crash disk's power, or of its process
    std::uint64_t posts = 0;
    std::uint64_t gets = 0;
    std::uint64_t connects = 0;
    std::uint64_t delivered = 0;
    std::uint64_t possible_duplicates = 0;
    std::uint64_t doubled = 0;
    std::uint64_t lost = 0;
    std::uint64_t left = 0;
    std::uint64_t dead = 0;
    std::uint64_t wakes_when_settled = 0;
    bool ok() const { return problems.empty(); }
};

/// One run: the real engine and the real store on simulated clocks, network and server, as
/// a discrete event loop. The same seed does the same, to the byte.
class Simulation {
  public:
    Simulation(const Scenario& scenario, const std::filesystem::path& folder, bool trace = false);
    ~Simulation();
    Result run();

  private:
    struct Event {
        Time at;
        std::uint64_t order;
        std::function<void()> action;
        bool operator>(const Event& other) const {
            return at != other.at ? at > other.at : order > other.order;
        }
    };
    struct Submitted {
        std::string id;
        std::string content;  ///< what the server would show: equal for equal feedback
        std::string conversation;
        Credential::Kind kind = Credential::Kind::none;
        bool may_die = false;
    };
    struct Plan;
    /// Under way when the power went: submitted again with the same id, as an application would.
    struct Doubtful {
        outbox::Submission submission;
        Submitted submitted;
    };

    void at(Time time, std::function<void()> action);
    void log(const std::string& line);
    void plan_submits();
    void plan_deaths();
    void plan_controls();
    void control(int what);
    void pause(bool on);
    void plan_kinds();
    void set_kind(Credential::Kind kind);
    bool turn_to_the_other_kind();
    std::unique_ptr<outbox::Store> open_store();
    void open_follower();
    void submit(int number);
    void start_process();
    void kill_process(Time down_for, bool reboot);
    void end_process(Time down_for, bool reboot);
    void keep(const outbox::Submission& submission, Submitted one, outbox::Store& submitter);
    void make_disk(const test::DiskImage& image);
    void plan_power_cut();
    void cut_power(bool reboot);
    bool power_is_gone() const { return disk_ && disk_->is_dead(); }
    void act();
    void step();
    void hear_events();
    void start(delivery::Task task);
    Time dial();
    void write(const delivery::Task& task);
    void judge_gate(const delivery::Task& task);
    void connect(const delivery::Task& task);
    void exchange(const delivery::Task& task);
    void answer(std::uint64_t process, std::uint64_t task, core::Evidence evidence);
    void note_reply(const Reply& reply, bool delivered);
    void heal();
    bool only_poison_is_left();
    void check();
    void check_rows(const Status& status);
    void check_order();
    bool chance(int in_a_thousand);
    void problem(std::string what);

    const Scenario& scenario_;
    std::filesystem::path folder_;
    std::filesystem::path file_;
    bool trace_;
    test::TestRandom random_;         // the world's
    test::TestRandom engine_random_;  // the library's
    test::TestRandom dial_random_;    // the world's, of what was added to it later
    DeviceClock clock_;
    Server server_;
    Result result_;
    std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
    std::uint64_t order_ = 0;
    std::optional<test::CrashDisk> disk_;
    test::DiskImage left_on_disk_;  ///< by the last cut
    bool rebooted_by_cut_ = false;
    int disks_ = 0;
    std::vector<Doubtful> doubtful_;
    std::unique_ptr<outbox::Store> store_;
    std::unique_ptr<delivery::Engine> engine_;
    std::unique_ptr<outbox::Store> follower_;  ///< of another process: submits, and waits
    bool fast_ = false;
    std::uint64_t process_ = 0;
    std::uint64_t reboots_ = 0;
    std::optional<Time> wake_at_;
    std::vector<Submitted> submitted_;
    std::vector<int> waiting_submits_;
    Time not_before_ = 0;
    Time not_before_committed_ = 0;  ///< binds the next process too
    bool key_was_invalid_ = false;
    Credential::Kind kind_ = Credential::Kind::none;  ///< of the credential there is now
    bool all_kinds_done_ = false;
    bool paused_ = false;
    std::set<HoldReason> holds_;       ///< that this process has told of
    std::set<std::uint64_t> probing_;  ///< its requests under way that were written meanwhile
    bool dirty_ = false;
};

/// Runs one seed in a folder of its own; prints nothing.
Result simulate(const Scenario& scenario, bool trace = false);

}  // namespace agentsight::sim
