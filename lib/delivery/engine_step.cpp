#include <algorithm>
#include <cstdlib>
#include <utility>

#include "agentsight/error.hpp"
#include "core/text.hpp"
#include "delivery/engine_impl.hpp"

/// What to do next: claims, settles, connects, sends, reads, and when to look again.
namespace agentsight::delivery {

namespace {

/// Servers and middleboxes drop idle connections soon after: what was proven longer ago
/// than this is proven again before anything is claimed.
constexpr std::int64_t proof_lasts_ms = 4'000;

/// A settle waits for company at most so long, and only while there can be company.
constexpr std::int64_t company_limit_ms = 20;
constexpr std::size_t settlements_a_commit = 32;

/// Faster than this, a deeper queue of claims saves commits; slower, it only makes more
/// records unknown when the process dies.
constexpr double fast_exchange_ms = 20;

/// Answers that come sooner than a commit takes: the rest of a batch is awaited, so that one
/// commit settles it all and claims the next.
constexpr double prompt_exchange_ms = 1;

constexpr std::size_t looks_at_once = 16;

constexpr std::int64_t clock_is_wrong_ms = 10'000;

/// 2024-01-01: before that there was no such library.
constexpr core::UtcMs no_clock_before = 1'704'067'200'000;
constexpr std::int64_t clock_may_lag_ms = 86'400'000;

/// Feedback delivered later than this says when it was given.
constexpr std::int64_t late_ms = 60'000;

/// A Date is a little newer each time; writing down each would cost bytes for nothing.
constexpr std::int64_t date_grain_ms = 60'000;

}  // namespace

Engine::Step Engine::Impl::step() {
    Step step;
    if (!running_) {
        return step;
    }
    now_ = store_.now();
    moment_ = store_.moment();
    if (hurried_until_ && !at_full_speed()) {
        slow_down();
    }
    if (now_ < store_retry_at_) {
        step.wake_at = store_retry_at_;
        return step;
    }
    try {
        work(step);
        store_failures_ = 0;
    } catch (const Error& error) {
        store_failed(error);
        step.wake_at = store_retry_at_;
    }
    return step;
}

/// A disk that is full or busy is tried again; nothing is claimed meanwhile, and so
/// nothing is sent. What was decided stays pending.
void Engine::Impl::store_failed(const Error& error) {
    if (error.code() == errc::forked || error.code() == errc::closed) {
        throw error;
    }
    if (store_failures_ == 0) {
        tell(event::Alarm{std::string{"the outbox cannot be written: "} +
                          core::printable(error.what())});
    }
    constexpr Backoff backoff{.base_ms = 500, .cap_ms = 30'000};
    store_retry_at_ = now_ + full_jitter(backoff, store_failures_, random_);
    store_failures_ = std::min(store_failures_ + 1, 16);
    rung_ = true;
}

void Engine::Impl::work(Step& step) {
    Gate now_open = gate();
    if (now_open == Gate::shut) {
        give_back_ready();
    }
    if (now_open != Gate::open) {
        drop_idle_readings();  // going on with one would be a probe beside the probe
    }
    const bool due = next_due_ && *next_due_ <= now_;
    const bool claims = may_claim() && wanted_claims(now_open) > 0;
    if (rung_ || due || claims || settle_is_due() || state_changed()) {
        // What is settled may set its conversation's next record free.
        claimable_ = claimable_ || !pending_.empty();
        commit(may_claim() ? wanted_claims(now_open) : 0);
        now_open = gate();
        if (now_open != Gate::open) {
            drop_idle_readings();  // what the commit told may have closed it
        }
    }
    if (look_) {
        look_for_unknowns();
    }
    start_connect(step, now_open);
    start_time_ask(step, now_open);
    start_ask(step, now_open);
    if (now_open == Gate::open) {
        start_reads(step, now_open);  // a backlog must not keep those in doubt waiting
        start_sends(step, now_open);
    } else {
        start_sends(step, now_open);
        start_reads(step, now_open);
    }
    step.wake_at = next_wake();
}

bool Engine::Impl::sending_stopped() const {
    return paused_ || person_hold_ || policy_.kind == Credential::Kind::none;
}

Engine::Impl::Gate Engine::Impl::gate() const {
    if (sending_stopped()) {
        return Gate::shut;
    }
    if (!holds_.any()) {
        return Gate::open;
    }
    const auto until = holds_.until();
    return until && *until <= now_ && !probing() ? Gate::probe : Gate::shut;
}

/// A reading is one probe from its first request to its last.
bool Engine::Impl::probing() const {
    return std::ranges::any_of(flights_, [](const auto& flight) { return flight.second.probe; }) ||
           std::ranges::any_of(readings_, [](const auto& one) { return one.second.probe; });
}

bool Engine::Impl::connecting() const {
    return std::ranges::any_of(
        flights_, [](const auto& flight) { return flight.second.kind == Task::Kind::connect; });
}

bool Engine::Impl::proven() const {
    return last_contact_boot_ms_ && moment_.boot_ms - *last_contact_boot_ms_ <= proof_lasts_ms;
}

std::size_t Engine::Impl::free_connections() const {
    const auto connections = static_cast<std::size_t>(policy_.connections);
    return connections > flights_.size() ? connections - flights_.size() : 0;
}

std::size_t Engine::Impl::sends_in_flight() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        flights_, [](const auto& flight) { return flight.second.record.has_value(); }));
}

std::size_t Engine::Impl::claim_limit() const {
    const auto connections = static_cast<std::size_t>(policy_.connections);
    return mean_exchange_ms_ < fast_exchange_ms ? 3 * connections : 2 * connections;
}

/// Where an answer takes its time, the next batch is claimed meanwhile, so that no
/// connection waits for a commit. Where it does not, commits are what costs.
bool Engine::Impl::claims_ahead() const {
    return mean_exchange_ms_ >= fast_exchange_ms && !pacer_.on(now_) && !holds_.any();
}

/// Answers are on their way, and come sooner than what a commit for a part would take. Bounded:
/// one that hangs delays nobody for longer than a settle waits.
bool Engine::Impl::awaits_company() const {
    return mean_exchange_ms_ < prompt_exchange_ms && !holds_.any() && sends_in_flight() > 0 &&
           !pending_.empty() && now_ - pending_since_ < company_limit_ms;
}

/// Claims come in batches: when the last batch has been sent off.
std::size_t Engine::Impl::wanted_claims(Gate gate) const {
    const bool due = next_due_ && *next_due_ <= now_;
    if (gate == Gate::shut || !(claimable_ || rung_ || due || submitted_) || !ready_.empty() ||
        (free_connections() == 0 && !claims_ahead())) {
        return 0;
    }
    if (gate == Gate::probe) {
        if (ask_) {
            return 0;
        }
        return due_unknowns_.empty() || probe_record_next_ ? 1 : 0;
    }
    if (pacer_.one_at_a_time(now_) && sends_in_flight() > 0) {
        return 0;
    }
    if (pacer_.on(now_)) {
        return !backlog_waits() || submitted_ || rung_ ? 1 : 0;
    }
    if (awaits_company()) {
        return 0;
    }
    const std::size_t sends = sends_in_flight();
    return claim_limit() - std::min(sends, claim_limit());
}

core::OutboxMs Engine::Impl::paced(core::OutboxMs at) const {
    return std::max({at, pacer_.next(now_), pacer_.splayed_until(now_).value_or(0)});
}

/// While the backlog is paced; what people submit meanwhile goes at once.
bool Engine::Impl::backlog_waits() const {
    return pacer_.on(now_) && paced(now_) > now_;
}

std::int64_t Engine::Impl::company_ms() const {
    // An idle connection may be waiting for the successor that this settle sets free.
    if (ready_.empty() && free_connections() > 0 && !awaits_company()) {
        return std::min(company_limit_ms, static_cast<std::int64_t>(mean_exchange_ms_ / 25));
    }
    return company_limit_ms;
}

bool Engine::Impl::settle_is_due() const {
    if (pending_.empty()) {
        return false;
    }
    return (flights_.empty() && ready_.empty()) || pending_.size() >= settlements_a_commit ||
           now_ - pending_since_ >= company_ms();
}

outbox::DrainState Engine::Impl::drain_state() const {
    DrainState state;
    state.route = route_ == core::Route::feedbacks ? 1 : 0;
    state.server_date = saved_.server_date;
    const bool newer = server_date_ && (!saved_.server_date ||
                                        *server_date_ - *saved_.server_date >= date_grain_ms);
    if (newer) {
        state.server_date = server_date_;
    }
    state.trusted_time =
        trusted_time_ - saved_.trusted_time >= date_grain_ms ? trusted_time_ : saved_.trusted_time;
    state.refusals_in_row = refusals_in_row_;
    state.holds = holds_.rows();
    return state;
}

bool Engine::Impl::state_changed() const {
    DrainState state = drain_state();
    state.server_date = saved_.server_date;  // neither is worth a commit of its own
    state.trusted_time = saved_.trusted_time;
    return !(state == saved_);
}

void Engine::Impl::commit(std::size_t claims) {
    outbox::DrainRequest request;
    request.settlements = pending_;
    request.claim = claims;
    request.kind = policy_.kind;
    request.origin = policy_.origin;
    request.server_date = server_date_;
    request.ignore_due = ignore_due_ && at_full_speed();
    request.only_just_submitted = backlog_waits() && !holds_.any();
    DrainState state = drain_state();
    if (!(state == saved_)) {
        request.save = state;
    }
    const bool saves = request.save.has_value();
    outbox::DrainReply reply = store_.drain(std::move(request));
    saved_ = std::move(state);
    const bool released = releases_ && *releases_ != reply.control.releases;
    if (released && !saves) {
        saved_.holds.clear();  // as the release left the file: what binds still is written anew
    }
    pending_.clear();
    // Until a claim has asked for them; of one that found any, more may be there.
    submitted_ = backlog_waits() && ((submitted_ || rung_) && claims == 0);
    submitted_ = submitted_ || (backlog_waits() && !reply.claimed.empty());
    rung_ = false;
    std::ranges::move(uncommitted_events_, std::back_inserter(events_));
    uncommitted_events_.clear();
    adopt(std::move(reply));
}

void Engine::Impl::adopt(outbox::DrainReply reply) {
    now_ = store_.now();
    moment_ = store_.moment();
    if (reply.began_again) {
        drain_began_ = moment_;  // what it made unknown had not ended before
    }
    claimable_ = reply.more;
    next_due_ = reply.next_due;
    look_ = reply.unknown > 0;
    if (!look_) {
        due_unknowns_.clear();
    }
    if (reply.control.person_hold != person_hold_) {
        person_hold_ = reply.control.person_hold;
        if (person_hold_) {
            withdraw();
            tell(event::Held{HoldReason::person, 0, "held by a person"});
        } else {
            tell(event::Released{HoldReason::person});
        }
    }
    if (releases_ && *releases_ != reply.control.releases) {
        end_holds();
    }
    releases_ = reply.control.releases;
    for (const std::int64_t key : reply.duplicate_server_ids) {
        tell(event::Alarm{"the server answered record number " + std::to_string(key) +
                          " with an id that another record owns"});
    }
    take_claims(std::move(reply.claimed));
}

void Engine::Impl::take_claims(std::vector<outbox::ClaimedRecord> claimed) {
    for (outbox::ClaimedRecord& record : claimed) {
        if (record.kind != Credential::Kind::none && record.kind != policy_.kind) {
            // Claimed before the credential was replaced, by a commit whose outcome came late.
            give_back(record, now_);
            continue;
        }
        const auto retried = retried_.find(record.key);
        if (retried != retried_.end() && retried->second > now_) {
            // Once around at full speed: from here on the new due times count.
            ignore_due_ = false;
            give_back(record, retried->second);
            continue;
        }
        ready_.push_back(std::move(record));
    }
}

void Engine::Impl::give_back(const outbox::ClaimedRecord& record, core::OutboxMs due) {
    Settlement settlement = decision_about(record);
    settlement.to = Settlement::To::waiting;
    settlement.due = due;
    settle(std::move(settlement));
}

void Engine::Impl::give_back_ready() {
    for (const outbox::ClaimedRecord& record : ready_) {
        give_back(record, now_);
    }
    ready_.clear();
}

/// Nothing that was claimed before this was learnt goes out any more, nor what still waits for
/// its connection.
void Engine::Impl::withdraw() {
    *withdrawals_ += policy_.mutant == Mutant::never_withdraw ? 0 : 1;
    give_back_ready();
}

void Engine::Impl::drop_idle_readings() {
    std::erase_if(readings_, [this](const auto& one) {
        const bool may_go_on =
            one.second.probe && !sending_stopped() && holds_.told().value_or(now_) <= now_;
        return !one.second.in_flight && !may_go_on;
    });
}

void Engine::Impl::look_for_unknowns() {
    look_ = false;
    due_unknowns_ = store_.due_unknowns(looks_at_once);
    std::erase_if(due_unknowns_, [this](const outbox::ClaimedRecord& record) {
        const bool decided =
            std::ranges::any_of(pending_, [&](const auto& one) { return one.key == record.key; });
        return decided || readings_.contains(record.feedback.conversation.value);
    });
}

/// Before a claim the way must be proven: a claim that cannot be sent costs two commits.
void Engine::Impl::start_connect(Step& step, Gate gate) {
    if (gate == Gate::shut || proven() || connecting() || free_connections() == 0) {
        return;
    }
    const bool ask = gate == Gate::probe && ask_;
    if (wanted_claims(gate) == 0 && !read_wanted(gate) && !ask) {
        return;
    }
    Task task{.id = next_task_++, .kind = Task::Kind::connect};
    flights_.emplace(
        task.id,
        Flight{.kind = Task::Kind::connect, .probe = gate == Gate::probe, .network = network_});
    step.start.push_back(std::move(task));
}

/// A clock that cannot be right, and nothing yet to put it right: feedback that says when it
/// was given would say 1970.
bool Engine::Impl::needs_time() const {
    const core::UtcMs least =
        std::max(no_clock_before, server_date_.value_or(0) - clock_may_lag_ms);
    return policy_.stamp_collected_at && !asked_time_ && !date_seen_at_ && moment_.utc_ms < least;
}

/// The way is proven, and what the claimed will be sent with is known.
bool Engine::Impl::may_claim() const {
    return proven() && !needs_time() && !asking_time();
}

bool Engine::Impl::asking_time() const {
    return std::ranges::any_of(flights_, [](const auto& entry) {
        const Flight& flight = entry.second;
        return flight.kind == Task::Kind::send && !flight.record && flight.conversation.empty() &&
               !flight.probe;
    });
}

/// Asks once for the server's Date; whatever comes, then it is sent.
void Engine::Impl::start_time_ask(Step& step, Gate gate) {
    if (!needs_time() || !proven() || wanted_claims(gate) == 0) {
        return;
    }
    asked_time_ = true;
    launch(step, core::find_conversation_request("-"), {});
}

/// Asks the API something harmless, to learn whether it is there at all.
void Engine::Impl::start_ask(Step& step, Gate gate) {
    if (!holds_.any()) {
        ask_.reset();
    }
    if (gate != Gate::probe || !ask_ || !proven()) {
        return;
    }
    launch(step,
           ask_->is_number() ? core::conversation_request(ask_->name())
                             : core::find_conversation_request(ask_->name()),
           {.probe = true});
}

void Engine::Impl::start_sends(Step& step, Gate gate) {
    std::size_t most = gate == Gate::open ? free_connections() : 0;
    if (gate == Gate::probe) {
        most = std::min<std::size_t>(free_connections(), 1);
    }
    for (; !ready_.empty() && most > 0; --most) {
        outbox::ClaimedRecord record = std::move(ready_.front());
        ready_.pop_front();
        send(step, std::move(record), gate == Gate::probe);
    }
    if (gate != Gate::open) {
        give_back_ready();  // more was told than was asked for: a commit's outcome came late
    }
}

void Engine::Impl::send(Step& step, outbox::ClaimedRecord record, bool probe) {
    pacer_.sent(now_, random_);
    probe_record_next_ = false;
    core::HttpRequest request =
        core::create_request(route_, record.feedback, record.id, collected_at(record));
    Flight flight{.probe = probe, .record = std::move(record), .route = route_};
    launch(step, std::move(request), std::move(flight));
}

void Engine::Impl::launch(Step& step, core::HttpRequest request, Flight flight) {
    request.permit = {.withdrawals = withdrawals_, .given_at = *withdrawals_};
    flight.credential = credential_;
    Task& task = step.start.emplace_back();
    task.id = next_task_++;
    task.request = std::move(request);
    if (flight.record) {
        task.record = flight.record->key;
        task.sent = sent_of(*flight.record);
    }
    flights_.emplace(task.id, std::move(flight));
}

bool Engine::Impl::read_wanted(Gate gate) const {
    if (gate == Gate::probe) {
        return !ask_ && !due_unknowns_.empty() && (!probe_record_next_ || !claimable_);
    }
    const auto limit = static_cast<std::size_t>(std::max(policy_.connections / 2, 1));
    return gate == Gate::open && !due_unknowns_.empty() && readings_.size() < limit;
}

void Engine::Impl::start_reads(Step& step, Gate gate) {
    for (auto& [conversation, look] : readings_) {
        if (!look.in_flight && free_connections() > 0) {
            read(step, conversation, look);
        }
    }
    if (gate == Gate::shut) {
        return;
    }
    while (proven() && !probing() && read_wanted(gate) && free_connections() > 0) {
        const core::ConversationKey conversation = due_unknowns_.front().feedback.conversation;
        std::erase_if(due_unknowns_, [&](const outbox::ClaimedRecord& record) {
            return record.feedback.conversation == conversation;
        });
        std::vector<outbox::ClaimedRecord> records = store_.unknowns_of(conversation);
        if (records.empty()) {
            continue;
        }
        const core::UtcMs since = lists_since(records);
        const auto [entry, added] =
            readings_.emplace(conversation.value,
                              OpenReading{.reading = Reading{std::move(records), read_way_, since},
                                          .probe = gate == Gate::probe});
        read(step, entry->first, entry->second);
    }
}

void Engine::Impl::read(Step& step, const std::string& conversation, OpenReading& look) {
    look.in_flight = true;
    probe_record_next_ = true;
    launch(step, look.reading.request(), {.probe = look.probe, .conversation = conversation});
}

std::optional<core::OutboxMs> Engine::Impl::work_at() const {
    if (claimable_ || !due_unknowns_.empty() || ask_) {
        return now_;
    }
    return next_due_;
}

std::optional<core::OutboxMs> Engine::Impl::next_wake() const {
    std::optional<core::OutboxMs> wake;
    const auto at = [&wake](core::OutboxMs time) { wake = wake ? std::min(*wake, time) : time; };
    if (!pending_.empty()) {
        at(pending_since_ + company_ms());
    }
    if (sending_stopped()) {
        return wake;
    }
    const bool ahead = ready_.empty() && claimable_ && may_claim() && claims_ahead();
    if (connecting() || asking_time() || (free_connections() == 0 && !ahead)) {
        return wake;  // the end of one of them is the next event
    }
    if (holds_.any()) {
        const auto until = holds_.until();
        const auto work = work_at();
        if (until && work && !probing()) {
            at(std::max(*until, *work));
        }
        return wake;
    }
    const bool waits_for_answer =
        (pacer_.one_at_a_time(now_) && sends_in_flight() > 0) || awaits_company();
    if (ready_.empty() && (claimable_ || submitted_) && !waits_for_answer) {
        at(submitted_ ? now_ : paced(now_));
    }
    if (next_due_) {
        at(std::max(*next_due_, now_));
    }
    return wake;
}

/// The local clock, unless the server's Date shows that it is wrong: a Date has whole
/// seconds and has travelled, so that a clock that is right is the better one.
core::UtcMs Engine::Impl::best_now() const {
    if (!date_seen_at_ || date_seen_at_->boot_id != moment_.boot_id) {
        return moment_.utc_ms;
    }
    const core::UtcMs server = date_seen_ + (moment_.boot_ms - date_seen_at_->boot_ms);
    return std::abs(server - moment_.utc_ms) > clock_is_wrong_ms ? server : moment_.utc_ms;
}

/// None where the feedback goes out soon after it was given, so that then the metadata is
/// what the caller wrote.
std::string Engine::Impl::collected_at(const outbox::ClaimedRecord& record) const {
    if (!policy_.stamp_collected_at) {
        return {};
    }
    const core::Moment& submitted = record.submitted;
    const core::Moment first = record.first_attempt.value_or(moment_);
    const bool same_boot = submitted.boot_id == first.boot_id;
    const std::int64_t waited =
        same_boot ? first.boot_ms - submitted.boot_ms : first.utc_ms - submitted.utc_ms;
    const bool soon = waited <= late_ms && (same_boot || waited >= 0);
    if (soon) {
        return {};
    }
    const core::UtcMs now = best_now();
    const core::UtcMs given = submitted.boot_id == moment_.boot_id
                                  ? now - (moment_.boot_ms - submitted.boot_ms)
                                  : submitted.utc_ms;
    // Of another boot its own clock is all there is. No time at all is better than one that is
    // known to be wrong.
    const bool is_possible = given >= no_clock_before && given <= now;
    return is_possible ? core::iso8601(given) : std::string{};
}

}  // namespace agentsight::delivery
