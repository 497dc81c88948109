#include "import_line.hpp"

#include <algorithm>
#include <array>
#include <bitset>
#include <charconv>
#include <set>
#include <utility>

#include "exit_code.hpp"
#include "flags.hpp"
#include "times.hpp"

namespace agentsight::tool {
namespace {

bool is_text(const JsonMember& member) {
    return member.raw.starts_with('"');
}

std::string text_of(const JsonMember& member) {
    if (!is_text(member)) {
        throw BadLine(member.name + " must be a string");
    }
    return json_text(member.raw);
}

std::optional<Credential::Kind> kind_named(std::string_view name) {
    if (name == "none") {
        return Credential::Kind::none;
    }
    if (name == "api_key") {
        return Credential::Kind::api_key;
    }
    return name == "jwt" ? std::optional(Credential::Kind::jwt) : std::nullopt;
}

std::optional<int> number_in(std::string_view text, int least, int most) {
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool is_number = error == std::errc{} && end == text.data() + text.size();
    return is_number && number >= least && number <= most ? std::optional(number) : std::nullopt;
}

bool is_from_1970_to_2099(const std::optional<UtcMilliseconds>& time) {
    constexpr UtcMilliseconds year_2100 = 4'102'444'800'000;
    return time && *time >= 0 && *time < year_2100;
}

/// The status of an answer, or null. Throws BadLine.
std::optional<int> status_in(const JsonMember& member, const std::string& where) {
    if (member.raw == "null") {
        return std::nullopt;
    }
    const std::optional<int> status = number_in(member.raw, 100, 999);
    if (!status) {
        throw BadLine(where + ": status must be a whole number from 100 to 999, or null");
    }
    return status;
}

Attempt attempt_in(std::string_view text) {
    const auto members = object_members(text);
    if (!members) {
        throw BadLine("history must be an array of attempts, each as `show --json` has it");
    }
    Attempt attempt{};
    std::set<std::string> seen;
    for (const JsonMember& member : *members) {
        if (!seen.insert(member.name).second) {
            throw BadLine("history: " + member.name + " is named twice");
        }
        if (member.name == "status") {
            attempt.status = status_in(member, "history");
        } else if (member.name == "began_at" || member.name == "ended_at") {
            const auto time = is_text(member) ? time_from(json_text(member.raw)) : std::nullopt;
            if (!is_from_1970_to_2099(time)) {
                throw BadLine("history: " + member.name +
                              " must be a time as 2026-08-17T18:52:44Z");
            }
            (member.name == "began_at" ? attempt.began : attempt.ended) = *time;
        } else if (member.name == "outcome" || member.name == "detail") {
            if (!is_text(member)) {
                throw BadLine("history: " + member.name + " must be a string");
            }
            (member.name == "outcome" ? attempt.outcome : attempt.detail) = json_text(member.raw);
        }
    }
    for (const char* name : {"began_at", "ended_at", "outcome", "status", "detail"}) {
        if (!seen.contains(name)) {
            throw BadLine(std::string("history: an attempt has no ") + name);
        }
    }
    return attempt;
}

}  // namespace

const std::array<ImportLine::Field, 12> ImportLine::fields{{
    {"id", &ImportLine::take_id},
    {"conversation_id", &ImportLine::take_conversation_id},
    {"conversation", &ImportLine::take_conversation},
    {"sentiment", &ImportLine::take_sentiment},
    {"comment", &ImportLine::take_comment},
    {"metadata", &ImportLine::take_metadata},
    {"submitted_at", &ImportLine::take_time},
    {"state", &ImportLine::take_state},
    {"credential", &ImportLine::take_credential},
    {"attempts", &ImportLine::take_attempts},
    {"last_error", &ImportLine::take_last_error},
    {"history", &ImportLine::take_history},
}};

ImportLine::ImportLine(std::string_view text) {
    const auto members = object_members(text);
    if (!members) {
        throw BadLine(has_half_a_pair(text)
                          ? "a \\ud800 to \\udfff escape must stand in a surrogate pair"
                          : "not one JSON object");
    }
    std::bitset<fields.size()> seen;
    for (const JsonMember& member : *members) {
        const auto field = std::ranges::find(fields, member.name, &Field::name);
        if (field == fields.end()) {
            continue;  // what else `export` writes: its lines can be imported as they are
        }
        const auto number = static_cast<std::size_t>(field - fields.begin());
        if (seen[number]) {
            throw BadLine(member.name + " is named twice");  // which one was meant?
        }
        seen.set(number);
        if (member.raw != "null") {
            (this->*field->take)(member);
        }
    }
    if (conversation_id_.has_value() == conversation_.has_value()) {
        throw BadLine("needs one of conversation_id and conversation");
    }
    if (!sentiment_) {
        throw BadLine("needs a sentiment");
    }
}

ImportedFeedback ImportLine::feedback() const {
    Feedback feedback{
        conversation_ ? ConversationRef(*conversation_) : ConversationRef(*conversation_id_),
        *sentiment_};
    if (comment_) {
        feedback.comment = *comment_;
    }
    feedback.metadata_json = metadata_;
    feedback.id = id_ ? std::string_view(*id_) : std::string_view{};
    return {feedback,     submitted_at_,
            credential_,  may_have_arrived(),
            is_dead(),    attempts_,
            last_status_, last_error_ ? std::string_view(*last_error_) : std::string_view{},
            history_};
}

void ImportLine::take_id(const JsonMember& member) {
    id_ = text_of(member);
    if (id_->empty()) {
        throw BadLine("id must not be empty");
    }
}

void ImportLine::take_conversation_id(const JsonMember& member) {
    conversation_id_ = text_of(member);
}

void ImportLine::take_sentiment(const JsonMember& member) {
    sentiment_ = text_of(member);
}

void ImportLine::take_comment(const JsonMember& member) {
    comment_ = text_of(member);
}

void ImportLine::take_metadata(const JsonMember& member) {
    metadata_ = member.raw;
}

void ImportLine::take_credential(const JsonMember& member) {
    const auto kind = is_text(member) ? kind_named(json_text(member.raw)) : std::nullopt;
    if (!kind) {
        throw BadLine("credential must be one of none, api_key, jwt");
    }
    credential_ = *kind;
}

void ImportLine::take_state(const JsonMember& member) {
    const std::string name = is_text(member) ? json_text(member.raw) : std::string();
    for (const RecordState state :
         {RecordState::waiting, RecordState::claimed, RecordState::delivered, RecordState::unknown,
          RecordState::dead, RecordState::discarded}) {
        if (name == to_string(state)) {
            state_ = name;
            return;
        }
    }
    // Taken for one that waits it might be sent twice.
    throw BadLine("state must be one of waiting, claimed, delivered, unknown, dead, discarded");
}

void ImportLine::take_attempts(const JsonMember& member) {
    const std::optional<int> count = number_in(member.raw, 0, 1'000'000'000);
    if (!count) {
        throw BadLine("attempts must be a whole number from 0 to 1000000000");
    }
    attempts_ = *count;
}

void ImportLine::take_last_error(const JsonMember& member) {
    const auto parts = object_members(member.raw);
    if (!parts) {
        throw BadLine("last_error must be null or an object of status and detail");
    }
    bool has_status = false;
    for (const JsonMember& part : *parts) {
        if (part.name == "status") {
            if (std::exchange(has_status, true)) {
                throw BadLine("last_error: status is named twice");
            }
            last_status_ = status_in(part, "last_error");
        } else if (part.name == "detail" && part.raw != "null") {
            if (last_error_ || !is_text(part)) {
                throw BadLine("last_error: detail must be one string");
            }
            last_error_ = json_text(part.raw);
        }
    }
}

void ImportLine::take_history(const JsonMember& member) {
    // Twenty attempts with the longest words, every byte of them escaped, take half of it.
    constexpr std::size_t most_bytes = std::size_t{128} << 10;
    if (member.raw.size() > most_bytes) {
        throw BadLine("history must not be longer than 128 KiB");
    }
    const auto attempts = array_elements(member.raw);
    if (!attempts) {
        throw BadLine("history must be an array of attempts, each as `show --json` has it");
    }
    for (const std::string_view attempt : *attempts) {
        history_.push_back(attempt_in(attempt));
    }
}

void ImportLine::take_conversation(const JsonMember& member) {
    try {
        conversation_ = parse_database_id(std::string(member.raw));
    } catch (const UsageError&) {
        throw BadLine("conversation must be a whole number, at least 1");
    }
}

void ImportLine::take_time(const JsonMember& member) {
    submitted_at_ = is_text(member) ? time_from(json_text(member.raw)) : std::nullopt;
    // Later ids would follow one from the end of time.
    if (!is_from_1970_to_2099(submitted_at_)) {
        throw BadLine(
            "submitted_at must be a time as 2026-08-17T18:52:44Z, from 1970 to the end of 2099");
    }
}

}  // namespace agentsight::tool
