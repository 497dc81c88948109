#include "simulation.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "core/http_date.hpp"
#include "core/text.hpp"
#include "support/temporary_folder.hpp"

namespace agentsight::sim {

namespace {

using Kind = Phase::Kind;

constexpr Time minute = 60'000;
constexpr Time hour = 60 * minute;
constexpr Time request_timeout = 30'000;
/// After the faults: the longest hold is an hour, and some need two of its kind.
constexpr Time drained_within = 8 * 60 * minute;
/// A poisonous record first in its conversation holds what is behind it until enough
/// probes, an hour apart in the end, have shown that it is the record and not the way: up to
/// sixteen for each of several that take turns (seed 44045 has four, of two kinds).
constexpr Time drained_with_poison_within = 240 * 60 * minute;
constexpr std::uint64_t steps_at_one_time = 5'000;
constexpr int attempts_of_poison_bound = 800;  // alone it is an outage: probed for ever
constexpr int attempts_bound = 260;  // a missing conversation is asked for until its grace is over

core::ConversationKey conversation_key(int number) {
    return {number % 3 == 2 ? "#" + std::to_string(5'000 + number) : "=c" + std::to_string(number)};
}

}  // namespace

Simulation::Simulation(const Scenario& scenario, const std::filesystem::path& folder, bool trace)
    : scenario_(scenario),
      folder_(folder),
      file_(folder / "feedback.db"),
      trace_(trace),
      random_(test::TestRandom{scenario.seed ^ 0x1111'1111}.next()),
      engine_random_(test::TestRandom{scenario.seed ^ 0x2222'2222}.next()),
      dial_random_(test::TestRandom{scenario.seed ^ 0x3333'3333}.next()),
      server_(scenario_, random_),
      kind_(scenario.policy.kind) {
    clock_.skew = scenario_.device_skew;
}

Simulation::~Simulation() = default;

void Simulation::at(Time time, std::function<void()> action) {
    events_.push({std::max(time, clock_.time), ++order_, std::move(action)});
}

void Simulation::log(const std::string& line) {
    if (trace_) {
        std::fprintf(stderr, "%10.3f %s\n", static_cast<double>(clock_.time) / 1000, line.c_str());
    }
}

void Simulation::problem(std::string what) {
    log("PROBLEM " + what);
    result_.problems.push_back(std::move(what));
}

bool Simulation::chance(int in_a_thousand) {
    return static_cast<int>(random_.below(1'000)) < in_a_thousand;
}

void Simulation::plan_submits() {
    for (int i = 0; i < scenario_.records; ++i) {
        const bool in_a_burst = random_.below(2) == 0;
        const Time when = in_a_burst ? scenario_.submits_until / 2
                                     : static_cast<Time>(random_.below(
                                           static_cast<std::uint64_t>(scenario_.submits_until)));
        at(when, [this, i] { submit(i); });
    }
}

void Simulation::submit(int number) {
    if (!store_) {
        waiting_submits_.push_back(number);
        return;
    }
    outbox::Submission submission;
    submission.kind = random_.below(5) == 0 ? Credential::Kind::none : Credential::Kind::api_key;
    if (scenario_.kind_changes > 0 && dial_random_.below(3) == 0) {
        submission.kind = Credential::Kind::jwt;
    }
    core::Feedback& feedback = submission.feedback;
    feedback.conversation = conversation_key(
        static_cast<int>(random_.below(static_cast<std::uint64_t>(scenario_.conversations))));
    if (scenario_.spaced_ids && !feedback.conversation.is_number() && dial_random_.below(3) == 0) {
        feedback.conversation.value += ' ';
    }
    feedback.sentiment =
        static_cast<Sentiment>(random_.below(scenario_.different_comments > 1 ? 3 : 1));
    const auto comment = random_.below(static_cast<std::uint64_t>(scenario_.different_comments));
    feedback.comment = comment == 0 ? "" : " comment " + std::to_string(comment) + "\n";
    Submitted one;
    if (scenario_.has_poison && random_.below(8) == 0) {
        static constexpr const char* poisons[] = {
            Server::refused_comment, Server::firewalled_comment, Server::failing_comment};
        feedback.comment = poisons[random_.below(3)];
        one.may_die = true;
    }
    if (scenario_.missing_conversation && random_.below(4) == 0) {
        feedback.conversation.value = std::string{"="} + Server::missing_conversation;
        one.may_die = true;
    }
    if (random_.below(10) == 0) {
        feedback.metadata = R"({"rating":5})";
    }
    one.conversation = feedback.conversation.value;
    one.kind = submission.kind;
    one.content = std::string{core::strip(feedback.conversation.value)} + "|" +
                  std::string{to_string(feedback.sentiment)} + "|" +
                  std::string{core::strip(feedback.comment)};
    if (disk_) {
        submission.id.emplace();
        for (auto& byte : submission.id->bytes) {
            byte = static_cast<std::uint8_t>(random_.next());
        }
    }
    outbox::Store& submitter = follower_ && random_.below(2) == 0 ? *follower_ : *store_;
    keep(submission, std::move(one), submitter);
}

void Simulation::keep(const outbox::Submission& submission, Submitted one,
                      outbox::Store& submitter) {
    const outbox::SubmitResult submitted = submitter.submit(submission);
    if (submitted.error && power_is_gone()) {
        doubtful_.push_back({submission, std::move(one)});
        return;
    }
    if (submitted.error) {
        problem("submit failed: " + submitted.message);
        return;
    }
    one.id = submitted.id.text();
    log("submit " + one.id + " " + one.content);
    submitted_.push_back(std::move(one));
    if (engine_) {
        &submitter == store_.get() ? engine_->submitted() : engine_->rung();
    }
    dirty_ = true;
}

std::unique_ptr<outbox::Store> Simulation::open_store() {
    outbox::StoreOptions options;
    options.path = file_;
    options.durability = Durability::relaxed;
    if (disk_) {
        options.vfs = disk_->vfs();
        options.durability = Durability::power_cut;
    }
    return std::make_unique<outbox::Store>(std::move(options), clock_, engine_random_);
}

void Simulation::open_follower() {
    if (scenario_.two_processes && store_ && !follower_) {
        follower_ = open_store();
        if (follower_->try_become_drainer()) {
            problem("two processes drain");
        }
    }
}

void Simulation::start_process() {
    if (engine_) {
        open_follower();  // another has taken over meanwhile
        return;
    }

    ++process_;
    log("process starts");
    store_ = follower_ ? std::move(follower_) : open_store();
    if (!store_->try_become_drainer()) {
        problem("the drain lock was not free");
        return;
    }
    delivery::Policy policy = scenario_.policy;
    policy.kind = kind_;
    engine_ = std::make_unique<delivery::Engine>(*store_, std::move(policy), engine_random_);
    engine_->start();
    paused_ = false;
    holds_.clear();
    probing_.clear();
    fast_ = scenario_.full_speed;
    engine_->full_speed(fast_);
    not_before_ = not_before_committed_;
    open_follower();
    dirty_ = true;
    for (Doubtful& one : std::exchange(doubtful_, {})) {
        keep(one.submission, std::move(one.submitted), *store_);
    }
    for (const int number : std::exchange(waiting_submits_, {})) {
        submit(number);
    }
}

/// What a stop left, on a disk of its own.
void Simulation::make_disk(const test::DiskImage& image) {
    disk_.reset();
    disk_.emplace(folder_ / ("disk" + std::to_string(disks_++)), image);
    file_ = disk_->folder() / "feedback.db";
    plan_power_cut();
}

/// At some operation of some call, while the world is bad.
void Simulation::plan_power_cut() {
    const std::uint64_t at = disk_->changes() + 1 + random_.below(400);
    disk_->at_change = [this, at](std::uint64_t operation) {
        if (operation == at && clock_.time < scenario_.faults_until && !power_is_gone()) {
            cut_power(random_.below(2) == 0);
        }
    };
}

void Simulation::cut_power(bool reboot) {
    static constexpr std::array damages{test::Damage::lose_unsynced, test::Damage::sectors,
                                        test::Damage::garbage, test::Damage::torn_4k};
    left_on_disk_ = disk_->stopped_by(
        reboot ? damages[random_.below(damages.size())] : test::Damage::process_kill, random_);
    rebooted_by_cut_ = reboot;
    ++result_.cuts;
    disk_->cut();
}

void Simulation::kill_process(Time down_for, bool reboot) {
    if (engine_) {
        end_process(down_for, reboot);
    }
}

void Simulation::end_process(Time down_for, bool reboot) {
    log(reboot ? "the machine restarts" : "the process dies");
    if (disk_ && !power_is_gone()) {
        cut_power(reboot);
    }
    engine_.reset();
    store_.reset();
    if (disk_) {
        make_disk(left_on_disk_);
    }
    wake_at_.reset();
    dirty_ = false;
    ++process_;  // answers to the dead are dropped
    if (reboot) {
        follower_.reset();
        ++reboots_;
    }
    at(clock_.time + down_for, [this, reboot, down_for, reboots = reboots_] {
        if (reboots != reboots_) {
            return;  // the machine went down meanwhile, and all that would have started
        }
        if (reboot) {
            clock_.booted = clock_.time - std::min<Time>(down_for, 15'000);
            ++clock_.boot;
            if (scenario_.clock_jumps) {
                clock_.skew = -epoch - clock_.time;  // no battery: 1970
            }
        }
        start_process();
    });
    if (follower_) {
        start_process();  // the hang-up wakes it at once
    }
}

/// Things that happen to a healthy application, and must not change what arrives.
void Simulation::plan_controls() {
    for (int i = 0; i < scenario_.controls; ++i) {
        const Time when =
            static_cast<Time>(random_.below(static_cast<std::uint64_t>(scenario_.faults_until)));
        const int what = static_cast<int>(random_.below(8));
        at(when, [this, what] { control(what); });
    }
}

void Simulation::control(int what) {
    if (!engine_) {
        return;
    }
    log("control " + std::to_string(what));
    const Time soon = clock_.time + 1 + static_cast<Time>(random_.below(2 * minute));
    switch (what) {
        case 0:
            pause(true);
            at(soon, [this] {
                if (engine_) {
                    pause(false);
                    dirty_ = true;
                }
            });
            break;
        case 1:
            store_->hold();
            engine_->rung();
            at(soon, [this] { control(2); });
            break;
        case 2:
            store_->release();
            engine_->rung();
            break;
        case 3:
            engine_->network_changed();
            break;
        case 4:
            engine_->set_credential(kind_);
            break;
        case 5:
            engine_->release();
            break;
        case 6:
            fast_ = !fast_;
            engine_->full_speed(fast_);
            break;
        default:
            engine_->resumed();
    }
    dirty_ = true;
}

void Simulation::pause(bool on) {
    paused_ = on;
    engine_->pause(on);
}

void Simulation::plan_kinds() {
    for (int i = 0; i < scenario_.kind_changes; ++i) {
        at(static_cast<Time>(
               dial_random_.below(static_cast<std::uint64_t>(scenario_.faults_until))),
           [this] {
               set_kind(kind_ == Credential::Kind::jwt ? Credential::Kind::api_key
                                                       : Credential::Kind::jwt);
           });
    }
}

void Simulation::set_kind(Credential::Kind kind) {
    log(kind == Credential::Kind::jwt ? "the credential is a JWT" : "the credential is a key");
    kind_ = kind;
    if (engine_) {
        engine_->set_credential(kind);
        dirty_ = true;
    }
}

/// What one kind could send is sent, at the end; now the other's.
bool Simulation::turn_to_the_other_kind() {
    if (scenario_.kind_changes == 0 || !engine_ || std::exchange(all_kinds_done_, true)) {
        return false;
    }
    set_kind(kind_ == Credential::Kind::jwt ? Credential::Kind::api_key : Credential::Kind::jwt);
    return true;
}

void Simulation::plan_deaths() {
    for (int i = 0; i < scenario_.deaths; ++i) {
        const Time when =
            static_cast<Time>(random_.below(static_cast<std::uint64_t>(scenario_.faults_until)));
        const Time down =
            static_cast<Time>(random_.below(random_.below(2) == 0 ? 1'000 : 5 * minute));
        const bool reboot = i < scenario_.reboots;
        at(when, [this, down, reboot] { kill_process(down, reboot); });
    }
    if (scenario_.clock_jumps) {
        for (int i = 0; i < 3; ++i) {
            const Time when = static_cast<Time>(
                random_.below(static_cast<std::uint64_t>(scenario_.faults_until)));
            const Time to = static_cast<Time>(random_.below(20LL * 365 * 24 * 60 * minute)) -
                            10LL * 365 * 24 * 60 * minute;
            at(when, [this, to] { clock_.skew = to; });
        }
    }
}

void Simulation::step() {
    dirty_ = false;
    ++result_.steps;
    delivery::Engine::Step step = engine_->step();
    if (!power_is_gone()) {
        not_before_committed_ = not_before_;
    }
    wake_at_.reset();
    if (step.wake_at) {
        wake_at_ = clock_.time + std::max<Time>(*step.wake_at - store_->now(), 0);
    }
    hear_events();
    // Death between the claim's commit and the first byte.
    if (!step.start.empty() && scenario_.deaths > 0 && clock_.time < scenario_.faults_until &&
        chance(2)) {
        kill_process(1 + static_cast<Time>(random_.below(2'000)), false);
        return;
    }
    for (delivery::Task& task : step.start) {
        start(std::move(task));
    }
}

void Simulation::hear_events() {
    for (const agentsight::Event& event : engine_->take_events()) {
        if (const auto* held = std::get_if<event::Held>(&event)) {
            holds_.insert(held->reason);
            log("held: " + std::string{to_string(held->reason)} + " " + held->detail);
        } else if (const auto* released = std::get_if<event::Released>(&event)) {
            holds_.erase(released->reason);
            log("released: " + std::string{to_string(released->reason)});
        } else if (const auto* delivered = std::get_if<event::Delivered>(&event)) {
            log("delivered " + delivered->id + " as " + delivered->server_id);
        } else if (const auto* failed = std::get_if<event::AttemptFailed>(&event)) {
            log("failed " + failed->id + " " + std::to_string(failed->status) + " " +
                failed->detail);
        } else if (const auto* dead = std::get_if<event::DeadLetter>(&event)) {
            log("dead " + dead->id + " " + dead->detail);
        } else if (const auto* alarm = std::get_if<event::Alarm>(&event)) {
            log("alarm " + alarm->detail);
        }
    }
}

void Simulation::start(delivery::Task task) {
    if (task.kind == delivery::Task::Kind::connect) {
        ++result_.connects;
        connect(task);
        return;
    }
    const Time wait = dial();
    if (wait == 0) {
        write(task);
        return;
    }
    at(clock_.time + wait, [this, process = process_, task = std::move(task)] {
        if (process == process_ && engine_) {
            write(task);
        }
    });
}

/// How long a request waits until its connection is there.
Time Simulation::dial() {
    const auto longest = static_cast<std::uint64_t>(scenario_.longest_dial);
    return longest > 0 && dial_random_.below(3) == 0
               ? static_cast<Time>(dial_random_.below(longest))
               : 0;
}

void Simulation::write(const delivery::Task& task) {
    if (task.request.permit.is_withdrawn()) {
        log("withdrawn " + task.request.idempotency_key);
        core::Evidence evidence;
        evidence.failure = core::Failure::aborted;
        evidence.began = clock_.now();
        answer(process_, task.id, evidence);
        return;
    }
    ++(task.request.method == core::HttpRequest::Method::post ? result_.posts : result_.gets);
    judge_gate(task);
    exchange(task);
}

/// What the process knows at this moment binds it, whatever it knew when it decided to send.
void Simulation::judge_gate(const delivery::Task& task) {
    if (clock_.time < not_before_) {
        problem("Retry-After undercut by " + std::to_string(not_before_ - clock_.time) + " ms");
    }
    if (paused_ || holds_.contains(HoldReason::person)) {
        problem("sent though a person has stopped it");
    }
    if (!holds_.empty()) {
        if (!probing_.empty()) {
            problem("two probes at a time while held: " + std::string{to_string(*holds_.begin())});
        }
        probing_.insert(task.id);
    }
    const auto one = std::ranges::find(submitted_, task.request.idempotency_key, &Submitted::id);
    if (one != submitted_.end() && one->kind != Credential::Kind::none && one->kind != kind_) {
        problem(one->id + " went out under a credential of another kind");
    }
}

void Simulation::connect(const delivery::Task& task) {
    core::Evidence evidence;
    evidence.began = clock_.now();
    const bool down = scenario_.active(Kind::link_down, clock_.time);
    evidence.failure = down ? core::Failure::connect : core::Failure::none;
    const Time took = down ? static_cast<Time>(random_.below(10'000)) : scenario_.round_trip;
    at(clock_.time + took,
       [this, process = process_, id = task.id, evidence] { answer(process, id, evidence); });
}

void Simulation::answer(std::uint64_t process, std::uint64_t task, core::Evidence evidence) {
    if (process != process_ || !engine_) {
        return;
    }
    evidence.ended = clock_.now();
    if (evidence.retry_after && (evidence.status == 429 || evidence.status == 503)) {
        const auto wait = core::parse_retry_after(*evidence.retry_after, evidence.date,
                                                  evidence.ended.utc_ms, 86'400'000);
        not_before_ = std::max(not_before_, Time{clock_.time + wait.value_or(0)});
    }
    if (evidence.status == 401) {
        key_was_invalid_ = true;
    }
    probing_.erase(task);
    engine_->finished(task, std::move(evidence));
    hear_events();
    dirty_ = true;
    // Death between the answer and its settlement.
    if (scenario_.deaths > 0 && clock_.time < scenario_.faults_until && chance(3)) {
        kill_process(1 + static_cast<Time>(random_.below(2'000)),
                     random_.below(8) == 0 && scenario_.reboots > 0);
    }
}

void Simulation::exchange(const delivery::Task& task) {
    const Time now = clock_.time;
    const bool well = now >= scenario_.faults_until;
    core::Evidence evidence;
    evidence.began = clock_.now();
    const auto ends = [&](Time when, core::Evidence with) {
        at(when, [this, process = process_, id = task.id, with = std::move(with)] {
            answer(process, id, with);
        });
    };
    log((task.request.method == core::HttpRequest::Method::post ? "POST " : "GET ") +
        task.request.target + " " + task.request.idempotency_key);
    if (scenario_.active(Kind::link_down, now) || (!well && chance(scenario_.not_written))) {
        evidence.failure = core::Failure::connect;
        ends(now + static_cast<Time>(random_.below(3'000)), evidence);
        return;
    }
    evidence.request_written = true;
    const Time there = scenario_.round_trip / 2;
    const Time back = scenario_.round_trip - there;
    core::Evidence lost = evidence;
    lost.failure = random_.below(2) == 0 ? core::Failure::cut : core::Failure::timeout;
    const Time lost_at =
        now + (lost.failure == core::Failure::cut ? there + back : request_timeout);
    const bool hangs = scenario_.active(Kind::hang, now);
    if (scenario_.active(Kind::restart, now + there) || (!well && chance(scenario_.lose_before)) ||
        (hangs && random_.below(2) == 0)) {
        ends(lost_at, lost);
        return;
    }
    const bool late = !well && chance(scenario_.apply_late);
    const bool lose = hangs || (!well && chance(scenario_.lose_after));
    const bool gateway = late || (!well && chance(scenario_.answer_504));
    const bool cut = !well && chance(scenario_.cut_reply);
    // The gateway gives up; the server behind it goes on, for a while.
    const Time gives_up = late ? static_cast<Time>(random_.below(20'000)) : 0;
    const Time applied =
        now + there +
        (late ? gives_up +
                    static_cast<Time>(random_.below(static_cast<std::uint64_t>(scenario_.late_by)))
              : 0);
    const auto reply = std::make_shared<Reply>();
    at(applied, [this, reply, request = task.request, kind = kind_] {
        *reply = server_.handle(request, kind, clock_.time);
        log("  server: " + std::to_string(reply->status) + " to " + request.target.substr(0, 30) +
            " " + request.idempotency_key + " " + (reply->status == 201 ? reply->body : ""));
    });
    if (lose) {
        ends(std::max(lost_at, now + there + back), lost);
        return;
    }
    if (gateway) {
        evidence.status = 504;
        evidence.body = "<html>504</html>";
        evidence.date = server_.date(now + there + gives_up);
        ends(now + there + gives_up + back, evidence);
        return;
    }
    at(now + there + back,
       [this, reply, evidence, cut, process = process_, id = task.id]() mutable {
           if (scenario_.active(Kind::link_down, clock_.time)) {
               evidence.failure = core::Failure::timeout;
           } else if (cut) {
               evidence.failure = core::Failure::malformed;
           } else {
               evidence.status = reply->status;
               evidence.body = reply->body;
               evidence.json = reply->json;
               evidence.retry_after = reply->retry_after;
               evidence.date = server_.date(clock_.time);
           }
           answer(process, id, std::move(evidence));
       });
}

/// The faults are over; what a person or the system would tell the library is told.
void Simulation::heal() {
    log("the world is well");
    if (!engine_) {
        at(clock_.time + 1'000, [this] { heal(); });
        return;
    }
    store_->release();  // had a person held it, who then died with the device
    engine_->rung();
    pause(false);
    if (key_was_invalid_) {
        engine_->set_credential(kind_);
    }
    if (random_.below(2) == 0) {
        engine_->network_changed();
    }
    dirty_ = true;
}

/// Whether only poisonous records are left, of which nothing more can be learnt.
bool Simulation::only_poison_is_left() {
    for (const RecordState state :
         {RecordState::waiting, RecordState::claimed, RecordState::unknown}) {
        for (const Record& record : store_->list({.state = state}, 1'000)) {
            const auto one = std::ranges::find(submitted_, record.id, &Submitted::id);
            if (!one->may_die && !record.left_to_person) {
                return false;
            }
        }
    }
    return engine_->held().has_value();
}

/// Whatever is next. Where the power goes meanwhile, the process is gone in the middle of it.
void Simulation::act() {
    try {
        if (engine_ && dirty_) {
            step();
        } else if (!events_.empty() && events_.top().at <= clock_.time) {
            const auto action = events_.top().action;
            events_.pop();
            action();
        } else {
            wake_at_.reset();
            dirty_ = true;
        }
    } catch (const std::exception&) {
        if (!power_is_gone()) {
            throw;
        }
    }
    if (power_is_gone()) {
        log("in the middle of something:");
        end_process(1 + static_cast<Time>(random_.below(2 * minute)), rebooted_by_cut_);
    }
}

Result Simulation::run() {
    if (scenario_.on_crash_disk) {
        make_disk({});
    }
    at(0, [this] { start_process(); });
    plan_submits();
    plan_deaths();
    plan_controls();
    plan_kinds();
    at(scenario_.faults_until, [this] { heal(); });
    Time deadline = scenario_.faults_until +
                    (scenario_.has_poison ? drained_with_poison_within : drained_within);
    std::uint64_t steps_now = 0;
    Time steps_time = -1;
    Time looked_at = scenario_.faults_until;
    while (result_.problems.empty()) {
        if (engine_ && dirty_) {
            act();
            steps_now = steps_time == clock_.time ? steps_now + 1 : 0;
            steps_time = clock_.time;
            if (steps_now > steps_at_one_time) {
                problem("the engine steps without end at one moment");
            }
            continue;
        }
        std::optional<Time> next = wake_at_;
        if (!events_.empty() && (!next || events_.top().at <= *next)) {
            next = events_.top().at;
        }
        if (!next || *next > deadline) {
            if (!turn_to_the_other_kind()) {
                break;
            }
            deadline = clock_.time + drained_within;
            continue;
        }
        if (scenario_.has_poison && clock_.time > scenario_.faults_until &&
            *next > looked_at + hour) {
            looked_at = *next;
            if (engine_ && only_poison_is_left()) {
                break;
            }
        }
        clock_.time = std::max(clock_.time, *next);
        act();
    }
    result_.finished_at = clock_.time;
    if (result_.problems.empty()) {
        try {
            check();
        } catch (const Error& error) {
            problem(error.what());  // a record that is not there
        }
    }
    return result_;
}

void Simulation::check() {
    if (!store_ || !engine_) {
        problem("no process at the end");
        return;
    }
    const Status status = store_->status();
    result_.delivered = status.delivered;
    result_.dead = status.dead;
    result_.possible_duplicates = status.possible_duplicates;
    if (status.accepted != submitted_.size()) {
        problem("accepted " + std::to_string(status.accepted) + " of " +
                std::to_string(submitted_.size()));
    }
    const std::uint64_t sum = status.delivered + status.waiting + status.claimed + status.unknown +
                              status.dead + status.discarded + status.dropped;
    if (sum != status.accepted) {
        problem("the ledger does not add up");
    }
    std::uint64_t left = 0;
    for (const Record& record : store_->list({.state = RecordState::unknown}, 1'000)) {
        left += record.left_to_person ? 1 : 0;
    }
    result_.left = left;
    // What alone draws a firewall's answer, or makes the server fail, cannot be told from an
    // intercepted way or an outage: it is held, and reported.
    std::uint64_t reported = 0;
    for (const RecordState state : {RecordState::waiting, RecordState::unknown}) {
        for (const Record& record : store_->list({.state = state}, 1'000)) {
            const auto one = std::ranges::find(submitted_, record.id, &Submitted::id);
            reported += one->may_die && !record.left_to_person && status.hold &&
                        (status.hold->reason == HoldReason::endpoint ||
                         status.hold->reason == HoldReason::outage);
        }
    }
    if (status.waiting + status.unknown - left != reported || status.claimed != 0) {
        problem("not drained: waiting " + std::to_string(status.waiting) + " claimed " +
                std::to_string(status.claimed) + " unknown " + std::to_string(status.unknown) +
                " of which left " + std::to_string(left) + " hold " +
                (status.hold ? std::string{to_string(status.hold->reason)} : "none"));
    }
    if (wake_at_ && reported == 0) {
        problem("a timer is armed though nothing is left to do");
    }
    if (!engine_->settled() && reported == 0) {
        problem("drained, and yet not settled");
    }
    check_rows(status);
    check_order();
    for (const Submitted& one : submitted_) {
        const int bound = one.may_die ? attempts_of_poison_bound : attempts_bound;
        if (server_.arrivals(one.id) > bound) {
            problem(one.id + " was sent " + std::to_string(server_.arrivals(one.id)) + " times");
        }
    }
}

void Simulation::check_rows(const Status& status) {
    struct Count {
        int rows = 0;
        int delivered = 0;
        int left = 0;
    };
    std::map<std::string, Count> counts;
    for (const Row& row : server_.rows()) {
        ++counts[row.conversation + "|" + row.sentiment + "|" + row.comment].rows;
    }
    for (const Submitted& one : submitted_) {
        const RecordState state = store_->state_of(one.id);
        Count& count = counts[one.content];
        count.delivered += state == RecordState::delivered ? 1 : 0;
        count.left += state == RecordState::unknown ? 1 : 0;
        if (state == RecordState::dead && !one.may_die) {
            problem(one.id + " is dead without a reason: " + store_->get(one.id).last_error);
        }
    }
    int extra = 0;
    for (const auto& [content, count] : counts) {
        if (count.rows < count.delivered) {
            ++result_.lost;
            problem("lost: " + std::to_string(count.delivered) + " delivered, " +
                    std::to_string(count.rows) + " rows of " + content);
        }
        extra += std::max(0, count.rows - count.delivered - count.left);
    }
    result_.doubled = static_cast<std::uint64_t>(extra);
    const int declared =
        scenario_.refuses_reading ? static_cast<int>(status.possible_duplicates) : 0;
    if (extra > declared) {
        problem("doubled: " + std::to_string(extra) + " rows too many, declared " +
                std::to_string(status.possible_duplicates));
    }
    if (!scenario_.refuses_reading && status.possible_duplicates != 0) {
        problem("possible duplicates counted without a documented cause");
    }
    // A record without a server Date and of another boot is a person's to decide.
    if (result_.left != 0 && !scenario_.refuses_reading && reboots_ == 0) {
        problem("left to a person without a documented cause");
    }
}

void Simulation::check_order() {
    std::map<std::string, std::size_t> number;
    // Left to a person, they delayed nobody; a row may come whenever it likes, and which of two
    // equal ones is whose nobody can tell, nor by two names of one conversation.
    std::set<std::string> left;
    for (std::size_t i = 0; i < submitted_.size(); ++i) {
        number[submitted_[i].id] = i;
        if (store_->state_of(submitted_[i].id) == RecordState::unknown) {
            left.insert(submitted_[i].content);
        }
    }
    std::map<std::string, std::set<std::string>> names;  // of the conversation, by content
    for (const Submitted& one : submitted_) {
        names[one.content].insert(one.conversation);
    }
    std::map<std::string, std::size_t> last;
    for (const Row& row : server_.rows()) {
        const auto entry = number.find(row.record);
        if (entry == number.end()) {
            problem("a row of nobody's");
            continue;
        }
        const Submitted& one = submitted_[entry->second];
        if (left.contains(one.content) || names[one.content].size() > 1) {
            continue;
        }
        std::size_t& newest = last[one.conversation];
        // A record that waits for its kind of credential delays none.
        const bool allowed = scenario_.refuses_reading || scenario_.kind_changes > 0;
        if (entry->second < newest && !allowed) {
            problem("out of order in " + row.conversation + ": " + row.record);
        }
        newest = std::max(newest, entry->second);
    }
}

Result simulate(const Scenario& scenario, bool trace) {
    test::TemporaryFolder folder;
    Simulation simulation{scenario, folder.path(), trace};
    return simulation.run();
}

}  // namespace agentsight::sim
