#include "worker_thread.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <new>
#include <thread>
#include <utility>

#include "os/process.hpp"
#include "transport_options.hpp"

namespace agentsight {
namespace {

namespace asio = boost::asio;
using std::chrono::milliseconds;

/// Without FIFOs nobody can wake us: look this often.
constexpr milliseconds poll_interval{30'000};
/// So long after the last delivery the files are tidied, once: the text of what was delivered
/// leaves the WAL, and space goes back. Sooner would add syncs between two deliveries.
constexpr milliseconds tidy_after{2'000};
/// Who holds the drain lock without a sign is looked at again after this, then ever more rarely.
constexpr milliseconds first_sign_pause{10};
/// A suspend shows as boot time running ahead of the monotonic clock.
constexpr std::int64_t suspend_threshold_ms = 2'000;
/// Without memory for a timer: try again so often, and no longer asleep than close() can bear.
constexpr milliseconds starved_pause{50};

delivery::Policy policy(const Settings& settings, Credential::Kind kind) {
    const Options& options = settings.options;
    delivery::Policy result;
    result.connections = options.connections;
    result.kind = kind;
    result.origin = settings.endpoint.origin();
    result.dialect = options.dialect;
    result.when_unknown = options.when_unknown;
    result.stamp_collected_at = options.stamp_collected_at;
    result.reconcile_after_ms = options.reconcile_after.count();
    result.not_found_grace_ms = options.not_found_grace.count();
    result.backoff_base_ms = options.backoff_base.count();
    result.backoff_cap_ms = options.backoff_cap.count();
    return result;
}

std::filesystem::path beside(const outbox::Store& store, const char* suffix) {
    std::filesystem::path path = store.path();
    path += suffix;
    return path;
}

/// The code for the exception being handled.
std::error_code error_now() noexcept {
    try {
        throw;
    } catch (const Error& error) {
        return error.code();
    } catch (const std::bad_alloc&) {
        return errc::out_of_memory;
    } catch (...) {
        return errc::io_error;
    }
}

std::int64_t monotonic_ms() {
    return std::chrono::duration_cast<milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

}  // namespace

Worker::Thread::Readable::Readable(asio::io_context& context, std::function<void()> ready)
    : stream_(context), ready_(std::move(ready)) {}

Worker::Thread::Readable::~Readable() {
    unwatch();
}

void Worker::Thread::Readable::watch(int descriptor) {
    unwatch();
    if (descriptor < 0) {
        return;
    }
    stream_.assign(descriptor);
    arm();
}

void Worker::Thread::Readable::unwatch() noexcept {
    ++watch_;
    if (stream_.is_open()) {
        stream_.release();  // lib/os owns and closes it
    }
}

void Worker::Thread::Readable::arm() {
    stream_.async_wait(asio::posix::stream_descriptor::wait_read,
                       [this, watch = watch_](const boost::system::error_code& error) {
                           if (error || watch != watch_) {
                               return;
                           }
                           ready_();
                           if (watch == watch_) {
                               arm();
                           }
                       });
}

Worker::Thread::Thread(Worker& worker)
    : worker_(worker),
      store_(*worker.store_),
      work_(context_.get_executor()),
      timer_(context_),
      close_timer_(context_),
      tidy_timer_(context_),
      bell_(beside(store_, "-bell")),
      sign_(beside(store_, "-alive")),
      queue_(beside(store_, "-lock")),
      bell_rung_(context_,
                 [this] {
                     hurried_ = bell_.silence() || hurried_;
                     bell_is_polled_ = !bell_.works();
                     worker_.news_ = true;
                     wake();
                 }),
      drainer_gone_(context_,
                    [this] {
                        unfollow();
                        wake();
                    }),
      link_changed_(context_,
                    [this] {
                        if (link_watch_->drain() && started_) {
                            transport_.drop_idle();
                            engine_->network_changed();
                            wake();
                        }
                    }),
      timer_rang_(context_,
                  [this] {
                      boot_timer_.silence();
                      time_has_come();
                  }),
      transport_(context_, transport_options(worker.settings_), worker.clock_),
      kind_(worker.settings_.options.credential.kind()) {
    suspend_offset_ = worker_.clock_.now().boot_ms - monotonic_ms();
    timer_rang_.watch(boot_timer_.descriptor());
}

Worker::Thread::~Thread() = default;

void Worker::Thread::run() {
    tick_owed_ = true;
    while (!ended_) {
        if (starved_) {
            std::this_thread::sleep_for(starved_pause);
            starved_ = !hear_timer();
            tick_owed_ = true;
        }
        if (tick_owed_.exchange(false)) {
            tick();
            continue;
        }
        try {
            context_.run();
        } catch (...) {
            recover("the worker's loop");
        }
        context_.restart();
    }
}

void Worker::Thread::wake() noexcept {
    if (tick_posted_.exchange(true)) {
        return;
    }
    try {
        asio::post(context_, [this] { tick(); });
    } catch (...) {
        tick_posted_ = false;
        tick_owed_ = true;  // out of memory: the loop returns, and run() ticks
        context_.stop();
    }
}

/// This thread, or else, by the bell, another process's. Who drains nothing has nothing to do
/// with it: a thread that becomes the drainer looks at all there is.
void Worker::Thread::tell_drainer() noexcept {
    draining_ ? wake() : bell_.ring();
}

void Worker::Thread::hurry() noexcept {
    if (!draining_) {
        bell_.ring_urgently();
    }
    wake();
}

void Worker::Thread::tick() noexcept {
    tick_posted_ = false;
    guarded([this] {
        tick_or_throw();
        if (started_ && in_flight_ == 0) {  // else the end of one tells whether all is well again
            failures_in_row_ = 0;
        }
    });
    worker_.relay_->run();
    publish();
}

/// False where the step failed: then the worker recovers.
template <class Step>
bool Worker::Thread::guarded(Step&& step) noexcept {
    try {
        step();
        return true;
    } catch (const std::exception& error) {
        recover(error.what());
    } catch (...) {
        recover("an unknown exception");
    }
    return false;
}

void Worker::Thread::tick_or_throw() {
    take_control();
    commit_queued_submits();
    if (closing_) {
        if (in_flight_ == 0) {
            finish_close();
        }
        return;
    }
    if (std::exchange(flight_lost_, false)) {
        throw std::bad_alloc();
    }
    notice_suspend();
    drain();
}

/// What went wrong is told; the worker starts again after a growing pause, never dies.
void Worker::Thread::recover(const char* what) noexcept {
    failures_in_row_ = std::min(failures_in_row_ + 1, 6);
    const milliseconds pause = worker_.settings_.restart_after * (1 << failures_in_row_);
    not_before_ = std::chrono::steady_clock::now() + pause;
    tell_recovery(what, pause);
    if (closing_) {
        commit_queued_submits();
        if (in_flight_ == 0) {
            finish_close();
        } else {
            transport_.abort();  // the timer that would have done so may not be set
        }
        return;
    }
    resign();
    unfollow();
    try {
        arm_in(pause);
        starved_ = !hear_timer();
    } catch (...) {
        starved_ = true;
    }
    if (starved_) {
        context_.stop();
    }
}

/// Anew, since the last time may have failed half-way. False: no memory for it.
bool Worker::Thread::hear_timer() noexcept {
    try {
        timer_rang_.watch(boot_timer_.descriptor());
        return true;
    } catch (...) {
        return false;
    }
}

void Worker::Thread::tell_recovery(const char* what, milliseconds pause) noexcept {
    try {
        worker_.relay_->log(LogLevel::error, std::string("sending failed and starts again in ") +
                                                 std::to_string(pause.count()) + " ms: " + what);
    } catch (...) {
        worker_.relay_->log(LogLevel::error, "sending failed and starts again: out of memory");
    }
}

/// Of the pause after a failure, which no wake shortens.
milliseconds Worker::Thread::pause_left() const {
    return std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(
                                         not_before_ - std::chrono::steady_clock::now()));
}

void Worker::Thread::take_control() {
    Control control;
    {
        const std::lock_guard lock(worker_.mutex_);
        control = std::exchange(worker_.control_, Control{});
        worker_.control_.flushes = control.flushes;
        seen_request_ = worker_.requested_;
    }
    if (control.credential) {
        kind_ = control.credential->kind();
        no_credential_told_ = false;
        transport_.set_credential(*std::move(control.credential));
        if (started_) {
            engine_->set_credential(kind_);
        }
    }
    if (control.pause) {
        paused_ = *control.pause;
        if (started_) {
            engine_->pause(paused_);
        }
    }
    if (control.network_changed && started_) {
        transport_.drop_idle();
        engine_->network_changed();
    }
    if ((control.flushes > 0) != (flushes_ > 0) && started_) {
        engine_->full_speed(control.flushes > 0);
    }
    flushes_ = control.flushes;
    if (control.close_at) {
        begin_close(*control.close_at);
    }
}

void Worker::Thread::commit_queued_submits() noexcept {
    std::vector<QueuedSubmit> batch;
    {
        const std::lock_guard lock(worker_.mutex_);
        batch.swap(worker_.submits_);
    }
    if (batch.empty()) {
        return;
    }
    std::size_t answered = 0;
    try {
        std::vector<outbox::Submission> submissions;
        submissions.reserve(batch.size());
        for (QueuedSubmit& queued : batch) {
            submissions.push_back(std::move(queued.submission));
        }
        const std::vector<outbox::SubmitResult> results = store_.submit_many(submissions);
        for (; answered < batch.size(); ++answered) {
            answer(batch[answered].callback, results[answered]);
        }
    } catch (...) {
        outbox::SubmitResult failed;
        failed.error = error_now();
        for (; answered < batch.size(); ++answered) {
            answer(batch[answered].callback, failed);
        }
    }
}

/// Exactly once, whatever happens: where there is no memory to queue the callback, it runs
/// here, if need be without the record's id.
void Worker::Thread::answer(ConversationManager::SubmitCallback& callback,
                            const outbox::SubmitResult& result) noexcept {
    Receipt receipt{{}, !result.error && result.stored};
    try {
        receipt.id = result.has_id ? result.id.text() : std::string();
        if (receipt.stored) {
            worker_.relay_->log_submitted(receipt.id);
        }
        if (!callback) {
            return;
        }
        worker_.relay_->call(
            [callback, error = result.error, receipt] { callback(error, receipt); });
    } catch (...) {
        try {
            callback(result.error, receipt);
        } catch (...) {
            worker_.relay_->log(LogLevel::error, "a callback of the application threw");
        }
    }
}

void Worker::Thread::notice_suspend() {
    const std::int64_t offset = worker_.clock_.now().boot_ms - monotonic_ms();
    if (offset - suspend_offset_ > suspend_threshold_ms) {
        transport_.abort();  // what was in flight is unknown; connections are long dead
        if (started_) {
            engine_->resumed();
        }
    }
    suspend_offset_ = offset;
}

bool Worker::Thread::may_drain() const {
    return !closing_ && !paused_;
}

void Worker::Thread::drain() {
    if (!may_drain()) {
        unfollow();
        if (started_ && in_flight_ == 0) {
            resign();
        }
        return;
    }
    if (kind_ == Credential::Kind::none && no_credential_told_ && !started_) {
        return;
    }
    if (const milliseconds left = pause_left(); left > milliseconds{0}) {
        arm_in(left);
        return;
    }
    if (!started_ && in_flight_ > 0) {
        return;  // of an engine that was given up: what is claimed has not ended yet
    }
    if (!started_ && !become_drainer()) {
        follow();
        return;
    }
    watch_links();
    if (worker_.submitted_.exchange(false)) {
        ++news_heard_;
        engine_->submitted();
    }
    if (worker_.news_.exchange(false)) {
        ++news_heard_;
        engine_->rung();
    }
    if (std::exchange(hurried_, false)) {
        engine_->hurry();
    }
    delivery::Engine::Step step = engine_->step();
    start_tasks(std::move(step.start));
    if (!engine_) {
        return;  // given up meanwhile; the timer that starts the next one is set
    }
    relay_events();
    arm(step.wake_at);
    plan_tidying();
    if (kind_ == Credential::Kind::none && in_flight_ == 0) {
        no_credential_told_ = true;
        resign();  // the hold is written down; whoever has a credential may drain
    } else if (should_make_room()) {
        resign();
    }
}

/// Another process drains. Once it is gone its sign hangs up; until then it is told that we
/// could do better, should its credential be refused.
void Worker::Thread::follow() {
    if (!following_) {
        following_ = true;
        sign_pause_ = first_sign_pause;
        drainer_gone_.watch(sign_descriptor_);
        queue_.say_waiting(os::LockFile::Range::drain, true);
        bell_.ring();
    }
    if (sign_.drainer_seen()) {
        return;
    }
    // It has not raised it yet, or cannot; or it has just died, and the system has closed the sign
    // and not yet the lock.
    arm_in(sign_pause_);
    sign_pause_ = std::min(2 * sign_pause_, poll_interval);
}

void Worker::Thread::unfollow() noexcept {
    if (following_) {
        following_ = false;
        drainer_gone_.unwatch();
        sign_.unwatch();
        queue_.say_waiting(os::LockFile::Range::drain, false);
    }
}

/// Our credential is refused, and a process that may have a better one waits.
bool Worker::Thread::should_make_room() const {
    const std::optional<HoldReason> held = engine_->held();
    return in_flight_ == 0 &&
           (held == HoldReason::credential_refused || held == HoldReason::account_unpaid) &&
           queue_.others_wait(os::LockFile::Range::drain);
}

/// Watches the drainer's sign before the second try, so that a death between is seen.
bool Worker::Thread::become_drainer() {
    if (!store_.try_become_drainer()) {
        if (following_) {
            return false;
        }
        sign_descriptor_ = sign_.watch();
        if (!store_.try_become_drainer()) {
            return false;
        }
    }
    unfollow();
    sign_.unwatch();
    sign_.raise();
    draining_ = true;
    bell_rung_.watch(bell_.descriptor());  // armed before the first scan
    bell_is_polled_ = !bell_.works();
    ++generation_;
    engine_ = std::make_unique<delivery::Engine>(store_, policy(worker_.settings_, kind_),
                                                 worker_.random_);
    engine_->start();
    transport_.trust_time(engine_->trusted_time());
    engine_->full_speed(flushes_ > 0);
    started_ = true;
    worker_.news_ = true;
    return true;
}

/// Where no descriptor was left for it, the next step of the drainer tries again.
void Worker::Thread::watch_links() {
    if (!link_watch_ || (link_watch_->descriptor() < 0 && link_watch_->worth_another_try())) {
        link_watch_.emplace();
        link_is_watched_ = false;
    }
    if (!link_is_watched_ && link_watch_->descriptor() >= 0) {
        link_changed_.watch(link_watch_->descriptor());
        link_is_watched_ = true;
    }
}

void Worker::Thread::resign() noexcept {
    if (started_) {
        try {
            engine_->stop();
            relay_events();
        } catch (const std::exception& error) {
            worker_.relay_->log(LogLevel::error,
                                "giving claims back failed, the next drainer does it:");
            worker_.relay_->log(LogLevel::error, error.what());
        } catch (...) {
            worker_.relay_->log(LogLevel::error, "giving claims back failed");
        }
    }
    started_ = false;
    draining_ = false;
    engine_.reset();
    bell_rung_.unwatch();
    link_changed_.unwatch();
    link_is_watched_ = false;
    store_.stop_being_drainer();
    sign_.lower();
}

/// One task in progress. Where its coroutine is destroyed before it could tell how it ended
/// (there was no memory to start it), the worker starts again.
class Worker::Thread::Flight {
  public:
    explicit Flight(Thread& thread) noexcept : thread_(&thread) { ++thread.in_flight_; }
    ~Flight() {
        if (thread_) {
            Thread& thread = *thread_;
            land();
            thread.flight_lost_ = true;
            if (!thread.ended_) {
                thread.wake();
            }
        }
    }
    Flight(Flight&& other) noexcept : thread_(std::exchange(other.thread_, nullptr)) {}
    Flight& operator=(Flight&&) = delete;

    void land() noexcept { --std::exchange(thread_, nullptr)->in_flight_; }

  private:
    Thread* thread_;
};

void Worker::Thread::start_tasks(std::vector<delivery::Task> tasks) {
    const std::uint64_t generation = generation_;
    for (delivery::Task& task : tasks) {
        if (!engine_ || generation != generation_) {
            return;  // one before ended at once and badly: this engine was given up
        }
        Flight flight{*this};
        asio::co_spawn(context_, perform(std::move(flight), std::move(task), generation),
                       asio::detached);
    }
}

/// An answer for an engine that was given up meanwhile counts where it proves a delivery; else
/// its record is still claimed in the store, so that the next engine finds it unknown.
asio::awaitable<void> Worker::Thread::perform(Flight flight, delivery::Task task,
                                              std::uint64_t generation) {
    std::optional<core::Evidence> evidence;
    try {
        if (task.kind == delivery::Task::Kind::connect) {
            evidence = co_await transport_.connect();
        } else {
            evidence = co_await transport_.send(std::move(task.request));
        }
    } catch (...) {
        // Without evidence: it may have been written.
    }
    flight.land();
    if (evidence && (!engine_ || generation != generation_)) {
        guarded([&] {
            delivery::keep_proof(store_, worker_.settings_.endpoint.origin(), task.record,
                                 task.sent, *evidence);
        });
    }
    finish(task, std::move(evidence), generation);
}

void Worker::Thread::finish(const delivery::Task& task, std::optional<core::Evidence> evidence,
                            std::uint64_t generation) noexcept {
    const bool fine = guarded([&] {
        if (engine_ && generation == generation_) {
            engine_->trust_time(transport_.trusted_time());
            engine_->finished(task.id, evidence ? *std::move(evidence) : failed_by_itself(task));
            failures_in_row_ = 0;
        }
    });
    if (fine) {
        wake();
    } else {
        worker_.relay_->run();
        publish();
    }
}

core::Evidence Worker::Thread::failed_by_itself(const delivery::Task& task) const {
    core::Evidence evidence;
    evidence.request_written = task.kind == delivery::Task::Kind::send;
    evidence.failure = core::Failure::aborted;
    evidence.detail = "the transport failed by itself";
    evidence.began = evidence.ended = worker_.clock_.now();
    return evidence;
}

void Worker::Thread::relay_events() {
    for (Event& event : engine_->take_events()) {
        if (worker_.relay_->listens()) {
            worker_.relay_->post(std::move(event));
        }
    }
}

void Worker::Thread::arm(std::optional<core::OutboxMs> at) {
    std::optional<milliseconds> wait;
    if (at) {
        wait = milliseconds{std::max<std::int64_t>(*at - store_.now(), 0)};
    }
    if (bell_is_polled_ && (!wait || *wait > poll_interval)) {
        wait = poll_interval;
    }
    if (in_flight_ > 0) {  // a machine that slept longer is noticed when it wakes
        wait =
            std::min(wait.value_or(milliseconds::max()), worker_.settings_.options.request_timeout);
    }
    if (!wait) {
        disarm();
        return;
    }
    if (*wait == milliseconds{0}) {
        disarm();
        wake();
        return;
    }
    arm_in(*wait);
}

void Worker::Thread::arm_in(milliseconds wait) {
    if (boot_timer_.set(wait)) {
        return;
    }
    timer_.expires_after(wait);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) {
            time_has_come();
        }
    });
}

void Worker::Thread::disarm() {
    boot_timer_.stop();
    timer_.cancel();
}

void Worker::Thread::time_has_come() noexcept {
    worker_.news_ = worker_.news_ || bell_is_polled_;
    wake();
}

bool Worker::Thread::idle() const {
    return started_ && in_flight_ == 0 && !worker_.news_ && !worker_.submitted_ &&
           engine_->settled();
}

void Worker::Thread::plan_tidying() {
    if (tidying_planned_ || !idle() || store_.commits() == tidied_) {
        return;
    }
    tidying_planned_ = true;
    const std::uint64_t commits = store_.commits();
    tidy_timer_.expires_after(tidy_after);
    tidy_timer_.async_wait([this, commits](const boost::system::error_code& error) {
        tidying_planned_ = false;
        if (error) {
            return;
        }
        if (store_.commits() == commits) {
            tidy_if_idle();
        } else {
            plan_tidying();  // there was more to do meanwhile
        }
    });
}

/// A convenience: what fails here fails again, and is told, where it matters.
void Worker::Thread::tidy_if_idle() {
    if (!idle()) {
        return;  // planned again when it is
    }
    try {
        store_.tidy();
    } catch (const std::exception& error) {
        worker_.relay_->log(LogLevel::warning, error.what());
    }
    tidied_ = store_.commits();
}

void Worker::Thread::begin_close(std::chrono::steady_clock::time_point at) {
    if (closing_ && at >= close_at_) {
        return;
    }
    close_at_ = at;
    disarm();
    closing_ = true;
    if (started_) {
        engine_->pause(true);
    }
    close_timer_.expires_at(at);
    close_timer_.async_wait([this](const boost::system::error_code& error) {
        if (!error) {
            transport_.abort();
            wake();
        }
    });
}

void Worker::Thread::finish_close() noexcept {
    close_timer_.cancel();
    tidy_timer_.cancel();
    if (store_.commits() != tidied_ && std::chrono::steady_clock::now() < close_at_) {
        tidy_if_idle();
    }
    resign();
    unfollow();
    transport_.abort();
    ended_ = true;
    context_.stop();
}

void Worker::Thread::publish() noexcept {
    {
        const std::lock_guard lock(worker_.mutex_);
        View now;
        now.answered = seen_request_;
        now.changes = store_.commits() + news_heard_;
        now.draining = started_;
        now.settled = idle();
        now.needs_person = started_ ? in_flight_ == 0 && engine_->needs_person()
                                    : kind_ == Credential::Kind::none || paused_;
        now.ended = ended_;
        if (now == std::exchange(worker_.view_, now)) {
            return;
        }
    }
    worker_.changed_.notify_all();
}

}  // namespace agentsight
