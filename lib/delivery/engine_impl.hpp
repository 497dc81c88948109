#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "delivery/engine.hpp"
#include "delivery/holds.hpp"
#include "delivery/outcome.hpp"
#include "delivery/pacing.hpp"
#include "delivery/reading.hpp"
#include "delivery/reconcile.hpp"

namespace agentsight::delivery {

inline Sent sent_of(const outbox::ClaimedRecord& record) {
    return {.sentiment = record.feedback.sentiment, .conversation = record.feedback.conversation};
}

/// The engine's state and its three parts: what to do next (engine_step.cpp), what an
/// attempt's answer means (engine_answers.cpp), what a reading means (engine_reconcile.cpp).
class Engine::Impl {
  public:
    Impl(outbox::Store& store, Policy policy, core::Random& random);
    ~Impl() { ++*withdrawals_; }

    void start();
    void stop();
    Step step();
    void finished(std::uint64_t task, core::Evidence evidence);
    void trust_time(core::UtcMs time) noexcept { trusted_time_ = std::max(trusted_time_, time); }
    core::UtcMs trusted_time() const noexcept { return trusted_time_; }
    void rung() noexcept { rung_ = true; }
    void submitted() noexcept;
    void set_credential(Credential::Kind kind);
    void network_changed();
    void release();
    void pause(bool paused);
    void full_speed(bool on);
    void hurry();
    void resumed();
    bool settled() const;
    std::optional<HoldReason> held() const;
    bool needs_person() const;
    std::vector<Event> take_events();

  private:
    using Settlement = outbox::Settlement;
    using DrainState = outbox::DrainState;

    enum class Gate { open, probe, shut };

    /// A task the shell is working on.
    struct Flight {
        Task::Kind kind = Task::Kind::send;
        bool probe = false;
        std::optional<outbox::ClaimedRecord> record;  ///< of a send
        core::Route route = core::Route::conversation_feedbacks;
        std::string conversation;      ///< of a read: whose reading it serves; empty: of an ask
        std::uint64_t credential = 0;  ///< which one it went out under
        std::uint64_t network = 0;     ///< which network it went out on
    };

    /// Why a reading says nothing. Each is counted for itself: that one lasts proves nothing
    /// about another.
    enum class Trouble { refused, foreign, broken, blind };

    /// A reading under way; between two pages it has no flight.
    struct OpenReading {
        Reading reading;
        bool in_flight = false;
        bool probe = false;
        bool tried_other_way = false;
    };

    void speed_up();
    void slow_down();
    bool at_full_speed() const;
    void end_holds();
    void tell(Event event);
    void tell_once_committed(Event event);
    void hold_for_credential();
    void forget_claims();

    // engine_step.cpp
    void work(Step& step);
    Gate gate() const;
    bool proven() const;
    bool sending_stopped() const;
    std::size_t wanted_claims(Gate gate) const;
    std::size_t claim_limit() const;
    bool claims_ahead() const;
    bool awaits_company() const;
    std::size_t sends_in_flight() const;
    bool settle_is_due() const;
    std::int64_t company_ms() const;
    bool state_changed() const;
    DrainState drain_state() const;
    void commit(std::size_t claims);
    void adopt(outbox::DrainReply reply);
    void take_claims(std::vector<outbox::ClaimedRecord> claimed);
    void look_for_unknowns();
    void drop_idle_readings();
    void start_ask(Step& step, Gate gate);
    void start_time_ask(Step& step, Gate gate);
    bool needs_time() const;
    bool asking_time() const;
    bool may_claim() const;
    bool read_wanted(Gate gate) const;
    void start_connect(Step& step, Gate gate);
    void start_sends(Step& step, Gate gate);
    void start_reads(Step& step, Gate gate);
    void launch(Step& step, core::HttpRequest request, Flight flight);
    void send(Step& step, outbox::ClaimedRecord record, bool probe);
    void read(Step& step, const std::string& conversation, OpenReading& look);
    void give_back(const outbox::ClaimedRecord& record, core::OutboxMs due);
    void give_back_ready();
    void withdraw();
    std::optional<core::OutboxMs> next_wake() const;
    core::UtcMs best_now() const;
    std::string collected_at(const outbox::ClaimedRecord& record) const;
    std::size_t free_connections() const;
    bool probing() const;
    bool connecting() const;
    std::optional<core::OutboxMs> work_at() const;
    core::OutboxMs paced(core::OutboxMs at) const;
    bool backlog_waits() const;
    void store_failed(const Error& error);

    // engine_answers.cpp
    void not_sent(const Flight& flight);
    void connect_finished(const Flight& flight, const core::Evidence& evidence);
    void send_finished(Flight flight, const core::Evidence& evidence);
    void delivered(const outbox::ClaimedRecord& record, Outcome& outcome, Settlement& settlement);
    void refused(const outbox::ClaimedRecord& record, Settlement& settlement,
                 const Outcome& outcome);
    void not_found(const outbox::ClaimedRecord& record, Settlement& settlement);
    void not_processed(const Flight& flight, const Outcome& outcome, Settlement& settlement);
    void throttled(const Outcome& outcome);
    void route_lost(const Flight& flight, Settlement& settlement, const Outcome& outcome);
    void unknown(const Flight& flight, const Outcome& outcome, const core::Evidence& evidence,
                 Settlement& settlement);
    void blame_everything(const outbox::ClaimedRecord& record, const Outcome& outcome,
                          HoldReason reason, Settlement& settlement);
    int judged_alone(const outbox::ClaimedRecord& record, int status);
    void step_aside(const outbox::ClaimedRecord& record, HoldReason reason, Settlement& settlement);
    void ask_finished(const core::Evidence& evidence);
    void time_finished(const core::Evidence& evidence);
    void probe_read_failed(const ReadOutcome& outcome);
    bool grace_is_over(const outbox::ClaimedRecord& record);
    void hold(HoldReason reason, int status, const std::string& detail);
    void hold_after(HoldReason reason, const Outcome& outcome, Settlement& settlement);
    void hold_for_throttle(int status, const std::string& detail,
                           std::optional<std::int64_t> retry_after_ms);
    void unhold(HoldReason reason, bool by_itself);
    void answered_by_api();
    void link_failed(const std::string& detail);
    static Settlement decision_about(const outbox::ClaimedRecord& record);
    void settle(Settlement settlement);
    void note_date(const core::Evidence& evidence);
    void note_exchange(const core::Evidence& evidence);

    // engine_reconcile.cpp
    void read_finished(const std::string& conversation, const core::Evidence& evidence);
    struct Evaluation {
        std::vector<Match> matches;
        bool control_seen = true;
    };
    Evaluation evaluate(const Reading& reading);
    void reading_complete(const Reading& reading);
    void reading_failed(const Reading& reading, bool probe);
    void reading_impossible(const Reading& reading, const std::string& why);
    void look_again_later(const Reading& reading);
    bool count_trouble(const Reading& reading, Trouble what, int limit);
    void found(const outbox::ClaimedRecord& record, const Match& match, core::UtcMs date);
    void not_there(const outbox::ClaimedRecord& record, const Verdict& verdict);
    void leave_to_person(const outbox::ClaimedRecord& record, const std::string& why);
    void send_again(const outbox::ClaimedRecord& record, bool possible_duplicate);
    Settlement still_unknown(const outbox::ClaimedRecord& record, std::int64_t wait_ms) const;
    std::vector<core::ServerRow> claimable_rows(const Reading& reading);
    bool control_is_seen(const Reading& reading);
    bool equal_record_is_in_flight(const Reading& reading) const;
    core::UtcMs lists_since(const std::vector<outbox::ClaimedRecord>& records) const;

    outbox::Store& store_;
    Policy policy_;
    core::Random& random_;

    bool running_ = false;
    bool paused_ = false;
    bool full_speed_ = false;                      ///< somebody waits in this process ...
    std::optional<core::OutboxMs> hurried_until_;  ///< ... or in another
    bool person_hold_ = false;
    std::optional<std::uint64_t> releases_;  ///< as last seen in the store
    core::OutboxMs now_ = 0;
    core::Moment moment_;
    core::Moment drain_began_;

    // What the store last told.
    bool rung_ = false;       ///< it has news
    bool claimable_ = false;  ///< a claim might find something
    std::optional<core::OutboxMs> next_due_;
    bool submitted_ = false;  ///< something may have been submitted just now, while paced
    bool look_ = false;       ///< unknown records may be due
    std::vector<outbox::ClaimedRecord> due_unknowns_;
    core::OutboxMs store_retry_at_ = 0;
    int store_failures_ = 0;

    // What is under way.
    std::uint64_t next_task_ = 1;
    std::map<std::uint64_t, Flight> flights_;
    const std::shared_ptr<std::uint64_t> withdrawals_ = std::make_shared<std::uint64_t>(0);
    std::deque<outbox::ClaimedRecord> ready_;
    std::map<std::string, OpenReading> readings_;  ///< by conversation
    std::vector<Settlement> pending_;
    core::OutboxMs pending_since_ = 0;
    std::vector<Event> uncommitted_events_;
    std::vector<Event> events_;

    // What was learnt.
    HoldTable holds_;
    Pacer pacer_;
    outbox::DrainState saved_;
    core::Route route_ = core::Route::conversation_feedbacks;
    bool route_lost_[2] = {false, false};  ///< since the last delivery
    ReadWay read_way_ = ReadWay::list;
    int refusals_in_row_ = 0;
    int unknowns_in_row_ = 0;
    int not_processed_in_row_ = 0;
    std::uint64_t deliveries_ = 0;
    std::uint64_t network_ = 0;     ///< counts network_changed
    std::uint64_t credential_ = 0;  ///< counts set_credential
    struct BadAnswers {
        std::uint64_t deliveries = 0;  ///< as many there were at the last
        int strikes = 0;               ///< the same in a row, with nothing delivered between
        int unknowns = 0;              ///< outcomes in a row that nobody knows
    };
    BadAnswers& bad_answers_of(std::int64_t key);
    std::unordered_map<std::int64_t, BadAnswers> bad_answers_;  ///< by key
    struct Missing {
        std::int64_t since = 0;  ///< boot time at which the server was first seen not to know it
        std::int64_t answers = 0;
    };
    std::unordered_map<std::string, Missing> missing_;  ///< by conversation
    std::optional<core::ConversationKey> ask_;          ///< to be read as a probe of the API itself
    bool api_readable_ = false;                         ///< it answered a read during this hold
    struct Troubles {
        struct Kind {
            int count = 0;                 ///< with deliveries between
            int tries = 0;                 ///< in a row
            std::uint64_t deliveries = 0;  ///< as many there were at the last
        };
        Kind kinds[4];
        Kind& of(Trouble what) { return kinds[static_cast<std::size_t>(what)]; }
        int tries() const {
            return kinds[0].tries + kinds[1].tries + kinds[2].tries + kinds[3].tries;
        }
    };
    std::unordered_map<std::string, Troubles> read_troubles_;  ///< by conversation
    bool probe_record_next_ = false;  ///< probes alternate: a reading, a record
    int throttle_step_ = 0;
    std::optional<core::UtcMs> server_date_;            ///< durable: also from earlier boots
    core::UtcMs trusted_time_ = 0;                      ///< durable; see Engine::trust_time
    core::UtcMs date_seen_ = 0;                         ///< the newest Date of this process ...
    std::optional<core::Moment> date_seen_at_;          ///< ... and when that was
    std::optional<std::int64_t> last_contact_boot_ms_;  ///< when the way was last proven
    bool asked_time_ = false;
    double mean_exchange_ms_ = 50;
    std::map<std::int64_t, core::OutboxMs> retried_;  ///< full speed: due times set meanwhile
    bool ignore_due_ = false;
    std::optional<core::OutboxMs> was_fast_;  ///< when full speed last began or ended
};

}  // namespace agentsight::delivery
