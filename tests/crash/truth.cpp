#include "truth.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace agentsight::test {

namespace {

constexpr std::size_t more_than_there_are = 1'000'000;

Place place_of(const Record& record) {
    switch (record.state) {
        case RecordState::waiting:
            return Place::waiting;
        case RecordState::claimed:
            return Place::claimed;
        case RecordState::unknown:
            return record.left_to_person ? Place::left : Place::unknown;
        case RecordState::dead:
            return Place::dead;
        case RecordState::delivered:
            return Place::delivered;
        case RecordState::discarded:
            return Place::discarded;
    }
    return Place::absent;
}

std::string describe(const core::Uuid& id, const Known& known) {
    static constexpr std::array names{"absent", "waiting",   "claimed",   "unknown", "left",
                                      "dead",   "delivered", "discarded", "dropped"};
    std::string text =
        "record " + id.text() + " (number " + std::to_string(known.order) + ", may be";
    for (int place = 0; place <= static_cast<int>(Place::dropped); ++place) {
        if (known.allowed.has(static_cast<Place>(place))) {
            text += std::string{" "} + names[static_cast<std::size_t>(place)];
        }
    }
    return text + ")";
}

}  // namespace

bool same_content(const Record& record, const core::Feedback& feedback) {
    const std::string name = feedback.conversation.is_number()
                                 ? "#" + std::to_string(record.conversation)
                                 : "=" + record.conversation_id;
    return name == feedback.conversation.value && record.sentiment == feedback.sentiment &&
           record.comment == feedback.comment && record.metadata_json == feedback.metadata;
}

std::vector<core::Uuid> Truth::ids_in(Place place) const {
    std::vector<core::Uuid> ids;
    for (const auto& [id, known] : records_) {
        if (known.seen == place) {
            ids.push_back(id);
        }
    }
    return ids;
}

std::optional<core::Uuid> Truth::oldest_waiting() const {
    std::optional<core::Uuid> oldest;
    for (const auto& [id, known] : records_) {
        if (known.seen == Place::waiting && (!oldest || known.order < records_.at(*oldest).order)) {
            oldest = id;
        }
    }
    return oldest;
}

std::size_t Truth::open_count() const {
    return static_cast<std::size_t>(
        std::count_if(records_.begin(), records_.end(), [](const auto& entry) {
            const Place place = entry.second.seen;
            return place == Place::waiting || place == Place::claimed || place == Place::unknown ||
                   place == Place::left || place == Place::dead;
        }));
}

core::Uuid Truth::last_own_id() const {
    core::Uuid last;
    for (const auto& [id, known] : records_) {
        if (!known.submission.id) {
            last = std::max(last, id);
        }
    }
    return last;
}

void Truth::may_become(const core::Uuid& id, Place place) {
    records_.at(id).allowed.add(place);
}

void Truth::may_appear(const outbox::Submission& submission) {
    in_flight_.push_back(submission);
}

void Truth::may_claim(std::size_t count) {
    claims_in_flight_ = count;
    for (auto& [id, known] : records_) {
        if (known.seen == Place::waiting && count > 0) {
            known.allowed.add(Place::claimed);
        }
    }
}

void Truth::settled(const outbox::Submission& submission) {
    const auto found = std::find_if(in_flight_.begin(), in_flight_.end(), [&](const auto& entry) {
        return entry.id == submission.id && entry.feedback == submission.feedback;
    });
    if (found != in_flight_.end()) {
        in_flight_.erase(found);
    }
}

void Truth::forget_gone(outbox::Store& store) {
    std::set<core::Uuid> listed;
    for (const Record& record : store.list({}, more_than_there_are)) {
        listed.insert(*core::Uuid::parse(record.id));
    }
    std::erase_if(records_, [&](const auto& entry) {
        const auto& [id, known] = entry;
        const bool gone = !listed.contains(id);
        forgotten_delivered_ += gone && known.seen == Place::delivered ? 1 : 0;
        forgotten_discarded_ += gone && known.seen == Place::discarded ? 1 : 0;
        return gone;
    });
}

void Truth::appeared(const core::Uuid& id, const outbox::Submission& submission) {
    Known& known = records_[id];
    if (known.order != 0) {
        return;
    }
    known.submission = submission;
    known.order = next_order_++;
    known.seen = Place::waiting;
    known.allowed = Place::absent;
}

void Truth::became(const core::Uuid& id, Place place) {
    records_.at(id).seen = place;
}

void Truth::acknowledged() {
    for (auto& [id, known] : records_) {
        known.allowed = known.seen;
    }
    in_flight_.clear();
    claims_in_flight_ = 0;
}

void Truth::acknowledged(const core::Uuid& id) {
    Known& known = records_.at(id);
    known.allowed = known.seen;
}

std::string Truth::compare(outbox::Store& store, std::uint64_t keep_delivered, Seen seen) {
    const std::vector<Record> rows = store.list({}, more_than_there_are);
    std::vector<bool> found_in_flight(in_flight_.size());
    std::set<core::Uuid> listed;
    std::size_t claimed_now = 0;
    for (const Record& record : rows) {
        const core::Uuid id = *core::Uuid::parse(record.id);
        if (!listed.insert(id).second) {
            return "record " + record.id + " is there twice";
        }
        const auto before = records_.find(id);
        const bool was_waiting = before != records_.end() && before->second.seen == Place::waiting;
        if (std::string wrong = compare_record(record, found_in_flight); !wrong.empty()) {
            return wrong;
        }
        claimed_now += was_waiting && place_of(record) == Place::claimed ? 1 : 0;
    }
    if (claimed_now > claims_in_flight_) {
        return std::to_string(claimed_now) + " records claimed where only " +
               std::to_string(claims_in_flight_) + " were asked for";
    }
    // Commits are whole and in order: of one call's submits the first ones survive.
    if (in_order_ && !std::is_sorted(found_in_flight.rbegin(), found_in_flight.rend())) {
        return "of the submits under way a later one survived, an earlier one did not";
    }
    std::uint64_t pruned = 0;
    for (auto& [id, known] : records_) {
        if (listed.contains(id)) {
            continue;
        }
        if (std::string wrong = compare_missing(known); !wrong.empty()) {
            return describe(id, known) + wrong;
        }
        if (known.allowed.has(Place::delivered)) {
            ++pruned;
            known.seen = Place::delivered;
        } else if (known.allowed.has(Place::discarded)) {
            known.seen = Place::discarded;
        } else {
            known.seen = known.allowed.has(Place::dropped) ? Place::dropped : Place::absent;
        }
    }
    if (!history_may_go_ && pruned > 0 && ids_in(Place::delivered).size() <= keep_delivered) {
        return "delivered records are missing although all are to be kept";
    }
    if (std::string wrong = compare_status(store.status()); !wrong.empty()) {
        return wrong;
    }
    std::erase_if(records_, [](const auto& entry) { return entry.second.seen == Place::absent; });
    last_before_ = std::max(last_before_, last_own_id());
    if (seen == Seen::after_power_cut) {
        acknowledged();
    } else if (seen == Seen::after_kill) {
        in_flight_.clear();
        claims_in_flight_ = 0;
    } else {
        claims_in_flight_ -= claimed_now;
        for (std::size_t i = in_flight_.size(); i-- > 0;) {
            if (found_in_flight[i]) {
                in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(i));
            }
        }
    }
    return {};
}

std::string Truth::compare_record(const Record& record, std::vector<bool>& found_in_flight) {
    const core::Uuid id = *core::Uuid::parse(record.id);
    if (!records_.contains(id)) {
        for (std::size_t i = 0; i < in_flight_.size(); ++i) {
            const outbox::Submission& submission = in_flight_[i];
            const bool named = !submission.id || *submission.id == id;
            if (!found_in_flight[i] && named && same_content(record, submission.feedback)) {
                found_in_flight[i] = true;
                if (!submission.id && id <= (in_order_ ? last_own_id() : last_before_)) {
                    return "record " + record.id + " has an id that is not new";
                }
                appeared(id, submission);
                records_.at(id).allowed.add(Place::waiting);
                if (claims_in_flight_ > 0) {
                    records_.at(id).allowed.add(Place::claimed);
                }
                break;
            }
        }
    }
    const auto found = records_.find(id);
    if (found == records_.end()) {
        return "record " + record.id + " was never submitted";
    }
    Known& known = found->second;
    const Place place = place_of(record);
    if (!known.allowed.has(place)) {
        return describe(id, known) + " is " + std::string{to_string(record.state)};
    }
    if (place != Place::discarded && !same_content(record, known.submission.feedback)) {
        return describe(id, known) + " has other bytes";
    }
    if (place == Place::discarded && (!record.comment.empty() || !record.metadata_json.empty())) {
        return describe(id, known) + " is discarded and has its text";
    }
    known.seen = place;
    return {};
}

std::string Truth::compare_missing(const Known& known) const {
    for (const Place place : {Place::absent, Place::delivered, Place::discarded, Place::dropped}) {
        if (known.allowed.has(place)) {
            return {};
        }
    }
    return " is lost";
}

std::string Truth::compare_status(const Status& status) const {
    const auto count = [&](Place place) { return std::uint64_t{ids_in(place).size()}; };
    struct Expected {
        const char* what;
        std::uint64_t told;
        std::uint64_t seen;
    };
    const std::array expected{
        Expected{"waiting", status.waiting, count(Place::waiting)},
        Expected{"claimed", status.claimed, count(Place::claimed)},
        Expected{"unknown", status.unknown, count(Place::unknown) + count(Place::left)},
        Expected{"dead", status.dead, count(Place::dead)},
        Expected{"delivered", status.delivered, count(Place::delivered) + forgotten_delivered_},
        Expected{"discarded", status.discarded, count(Place::discarded) + forgotten_discarded_},
        Expected{"dropped", status.dropped, count(Place::dropped)},
        Expected{
            "accepted", status.accepted,
            records_.size() - count(Place::absent) + forgotten_delivered_ + forgotten_discarded_},
    };
    for (const Expected& item : expected) {
        if (item.told != item.seen) {
            return std::string{"status says "} + item.what + " " + std::to_string(item.told) +
                   ", there are " + std::to_string(item.seen);
        }
    }
    return {};
}

}  // namespace agentsight::test
