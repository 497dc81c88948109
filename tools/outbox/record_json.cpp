#include "record_json.hpp"

#include <charconv>
#include <cstdint>

#include "text.hpp"
#include "times.hpp"

namespace agentsight::tool {
namespace {

/// The server's ids are integers; one that is not comes out as the text it is.
Json server_id_json(const std::string& id) {
    if (id.empty()) {
        return nullptr;
    }
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
    const bool is_canonical = error == std::errc{} && end == id.data() + id.size() &&
                              (id.front() != '0' || id.size() == 1);
    return is_canonical ? Json(number) : Json(id);
}

Json metadata_json(const Record& record, Reveal reveal) {
    if (record.metadata_json.empty()) {
        return nullptr;
    }
    Json metadata = Json::parse(record.metadata_json, nullptr, false);
    if (!metadata.is_object()) {  // never written by the library
        return mask;
    }
    if (reveal == Reveal::no) {
        for (auto& [name, value] : metadata.items()) {
            value = mask;
        }
    }
    return metadata;
}

Json last_error_json(const Record& record) {
    const bool is_failure = !record.last_error.empty() ||
                            (record.last_status && record.state != RecordState::delivered);
    if (!is_failure) {
        return nullptr;
    }
    Json error;
    error["status"] = record.last_status ? Json(*record.last_status) : Json(nullptr);
    error["detail"] = record.last_error;
    return error;
}

Json hold_json(const std::optional<Hold>& hold) {
    if (!hold) {
        return nullptr;
    }
    Json json;
    json["reason"] = to_string(hold->reason);
    json["since"] = iso8601(hold->since);
    json["until"] = time_json(hold->until);
    json["status"] = hold->status != 0 ? Json(hold->status) : Json(nullptr);
    json["detail"] = hold->detail;
    return json;
}

Json drainer_json(const std::optional<Drainer>& drainer) {
    if (!drainer) {
        return nullptr;
    }
    Json json;
    json["pid"] = drainer->pid;
    json["stopped"] = drainer->stopped;
    return json;
}

}  // namespace

Json time_json(const std::optional<UtcMilliseconds>& time) {
    return time ? Json(iso8601(*time)) : Json(nullptr);
}

std::string_view credential_name(Credential::Kind kind) {
    switch (kind) {
        case Credential::Kind::api_key:
            return "api_key";
        case Credential::Kind::jwt:
            return "jwt";
        case Credential::Kind::none:
            break;
    }
    return "none";
}

std::string shown_comment(const Record& record, Reveal reveal) {
    if (record.comment.empty()) {
        return {};
    }
    return reveal == Reveal::yes ? record.comment : mask;
}

std::string shown_metadata(const Record& record, Reveal reveal) {
    const Json metadata = metadata_json(record, reveal);
    return metadata.is_null() ? std::string{}
                              : metadata.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string shown_conversation(const Record& record) {
    return record.conversation_id.empty() ? "#" + std::to_string(record.conversation)
                                          : record.conversation_id;
}

Json to_json(const Record& record, Reveal reveal) {
    Json json;
    json["id"] = record.id;
    json["state"] = to_string(record.state);
    if (record.conversation_id.empty()) {
        json["conversation"] = record.conversation;
    } else {
        json["conversation_id"] = record.conversation_id;
    }
    json["sentiment"] = to_string(record.sentiment);
    json["comment"] = record.comment.empty() ? Json(nullptr) : Json(shown_comment(record, reveal));
    json["metadata"] = metadata_json(record, reveal);
    json["credential"] = credential_name(record.credential_kind);
    json["submitted_at"] = iso8601(record.submitted_at);
    json["due_at"] = time_json(record.due_at);
    json["delivered_at"] = time_json(record.delivered_at);
    json["attempts"] = record.attempts;
    json["server_id"] = server_id_json(record.server_id);
    json["last_error"] = last_error_json(record);
    json["left_to_person"] = record.left_to_person;
    return json;
}

Json history_json(const Record& record) {
    Json history = Json::array();
    for (const Attempt& attempt : record.history) {
        Json entry;
        entry["began_at"] = iso8601(attempt.began);
        entry["ended_at"] = iso8601(attempt.ended);
        entry["outcome"] = attempt.outcome;
        entry["status"] = attempt.status ? Json(*attempt.status) : Json(nullptr);
        entry["detail"] = attempt.detail;
        history.push_back(std::move(entry));
    }
    return history;
}

Json to_json(const Status& status) {
    Json json;
    json["path"] = status.path.string();
    json["schema"] = status.schema;
    json["accepted"] = status.accepted;
    json["waiting"] = status.waiting;
    json["claimed"] = status.claimed;
    json["unknown"] = status.unknown;
    json["dead"] = status.dead;
    json["delivered"] = status.delivered;
    json["discarded"] = status.discarded;
    json["dropped"] = status.dropped;
    json["oldest_submitted_at"] = time_json(status.oldest_submitted_at);
    json["last_delivered_at"] = time_json(status.last_delivered_at);
    json["hold"] = hold_json(status.hold);
    json["bytes"] = status.bytes;
    json["possible_duplicates"] = status.possible_duplicates;
    json["drainer"] = drainer_json(status.drainer);
    json["left_to_person"] = status.left_to_person;
    json["waiting_for_other_credential"] = status.waiting_for_other_credential;
    json["bell_is_polled"] = status.bell_is_polled;
    return json;
}

}  // namespace agentsight::tool
