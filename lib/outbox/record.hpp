#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agentsight/feedback.hpp"
#include "agentsight/options.hpp"
#include "agentsight/status.hpp"
#include "core/feedback.hpp"
#include "core/time.hpp"
#include "core/uuid.hpp"

namespace agentsight::outbox {

/// Where a record stands inside; the numbers are in the file. The public state is coarser:
/// fresh, parked, other_kind, retry are `waiting`; unknown and left are `unknown`.
enum class Lane : int {
    fresh = 0,       ///< never looked at: no index knows it, so that inserting it is cheap
    parked = 1,      ///< behind an earlier record of its conversation
    other_kind = 2,  ///< looked at by a drainer whose credential is of the other kind
    retry = 3,       ///< due at `due`: tried before, or next in its conversation
    claimed = 4,     ///< taken by the drainer: what it may have sent
    unknown = 5,     ///< being reconciled; next look at `due`
    left = 6,        ///< unknown, left to a person
    dead = 7,
    delivered = 8,
    discarded = 9,
};

RecordState public_state(Lane lane);

/// Of a record's history, the newest.
constexpr std::size_t max_attempts_kept = 20;

/// One line of a record's history.
struct AttemptNote {
    core::UtcMs began = 0;
    core::UtcMs ended = 0;
    std::string outcome;
    std::optional<int> status;
    std::string detail;  ///< bounded, printable
};

struct Submission {
    core::Feedback feedback;
    Credential::Kind kind = Credential::Kind::none;
    std::optional<core::Uuid> id;  ///< the caller's; none: the store makes one

    // Of imported ones.
    std::optional<core::UtcMs> submitted;  ///< none: now
    bool may_have_arrived = false;         ///< left to a person
    bool is_dead = false;                  ///< a dead letter where it comes from
    int attempts = 0;                      ///< counted there
    std::optional<int> last_status;        ///< of the last failure there
    std::string last_error;
    std::vector<AttemptNote> history;

    bool was_attempted() const {
        return attempts > 0 || last_status || !last_error.empty() || !history.empty();
    }
};

struct SubmitResult {
    std::error_code error;
    std::string message;  ///< for people, where `error`
    core::Uuid id;        ///< also on failure once one was made or given
    bool has_id = false;
    bool stored = false;  ///< false without error: it was there already
};

/// A record in the drainer's hands: all that an attempt or a look needs.
struct ClaimedRecord {
    std::int64_t key = 0;
    core::Uuid id;
    core::Feedback feedback;
    Credential::Kind kind = Credential::Kind::none;
    core::Moment submitted;
    int attempts = 0;  ///< counted ones, before this
    int refusals = 0;  ///< answers of `last_status` in a row, see Settlement::last_status
    std::optional<int> last_status;
    std::optional<core::Moment> first_attempt;

    // Of the attempt whose outcome is unknown.
    core::Moment attempt_began;                 ///< when it was claimed
    std::optional<core::Moment> attempt_ended;  ///< none: its process died
    std::optional<core::UtcMs> server_date;     ///< the server's Date last seen before the claim
    std::string origin;                         ///< where it went
    int looks = 0;                              ///< complete reads that did not find it
    std::optional<core::UtcMs> first_absent;    ///< the first of those, on the server's clock
};

/// What the drainer decided about one record it holds (claimed, or unknown).
struct Settlement {
    enum class To { waiting, unknown, left, delivered, dead };

    std::int64_t key = 0;
    /// ClaimedRecord::attempt_began of what was decided about; none: whichever it is. Where the
    /// record was claimed again meanwhile, only a proof of delivery counts.
    std::optional<core::Moment> attempt;
    To to = To::waiting;
    core::OutboxMs due = 0;          ///< waiting, unknown
    bool behind = false;             ///< waiting: behind all accepted so far, as if requeued
    bool counts_attempt = false;     ///< attempts + 1
    std::optional<int> last_status;  ///< what to remember as the last answer
    std::string last_error;          ///< and its words; empty with no status: leave as it was
    int refusals = 0;                ///< see ClaimedRecord
    std::string server_id;           ///< delivered
    std::optional<core::UtcMs> server_time;  ///< delivered: created_at, or Date
    std::string origin;                      ///< delivered: whose id that is
    bool possible_duplicate = false;  ///< counted: sent again though the first may have arrived
    int looks = 0;                    ///< unknown
    std::optional<core::UtcMs> first_absent;
    std::optional<core::Moment> attempt_ended;
    std::optional<AttemptNote> note;
};

/// A hold of the drainer's own making, durable for display and backoff.
struct HoldRow {
    HoldReason reason = HoldReason::link_down;
    core::UtcMs since = 0;
    std::optional<core::OutboxMs> until;
    /// Of the backoff; of a throttle: by how many milliseconds `until` is later than the server
    /// said, so that what it said binds the next drainer too.
    int step = 0;
    int status = 0;
    std::string detail;

    /// Of a throttle: when it ends by what the server said.
    std::optional<core::OutboxMs> told() const {
        return until ? std::optional{*until - std::max(step, 0)} : std::nullopt;
    }
};

/// What the drainer remembers from run to run. Small; written as a whole.
struct DrainState {
    int route = 0;                           ///< core::Route in use
    std::optional<core::UtcMs> server_date;  ///< last Date seen, for the windows of later boots
    core::UtcMs trusted_time = 0;            ///< newest Date over verified TLS: judges certificates
    int refusals_in_row = 0;
    std::vector<HoldRow> holds;
    bool operator==(const DrainState&) const = default;
};
inline bool operator==(const HoldRow& a, const HoldRow& b) {
    return a.reason == b.reason && a.since == b.since && a.until == b.until && a.step == b.step &&
           a.status == b.status && a.detail == b.detail;
}

/// What people and other processes tell the drainer, read with every drain step.
struct Control {
    bool person_hold = false;
    core::UtcMs person_hold_since = 0;
    std::uint64_t releases = 0;  ///< grows with every `release`
    bool operator==(const Control&) const = default;
};

/// Feedback no older than this may overtake a backlog that waits (of other conversations).
constexpr std::int64_t just_submitted_ms = 5'000;

struct DrainRequest {
    std::vector<Settlement> settlements;
    std::size_t claim = 0;                           ///< how many at most
    Credential::Kind kind = Credential::Kind::none;  ///< the drainer's own
    std::string origin;                              ///< the endpoint's
    std::optional<core::UtcMs> server_date;          ///< last seen, kept with each claim
    bool ignore_due = false;                         ///< stored backoff is ignored
    bool only_just_submitted = false;                ///< claim no backlog: see just_submitted_ms
    std::optional<DrainState> save;                  ///< where it changed
};

struct DrainReply {
    std::vector<ClaimedRecord> claimed;
    /// Another call now would (or might) claim more, or would but for a person's hold.
    bool more = false;
    std::optional<core::OutboxMs> next_due;  ///< earliest due ahead, of retry and unknown
    Control control;
    std::vector<std::int64_t> duplicate_server_ids;  ///< settled, but another record owns that id
    std::uint64_t unknown = 0;                       ///< being reconciled
    std::uint64_t other_kind = 0;                    ///< waiting records this kind may not send
    /// What was claimed has become unknown just now, that in flight too: as begin_draining().
    bool began_again = false;
};

}  // namespace agentsight::outbox
