#include "c_text.hpp"

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include "core/json_text.hpp"
#include "core/text.hpp"

namespace agentsight {
namespace {

/// Builds one JSON object, members in the order given.
class Object {
  public:
    Object& text(std::string_view name, std::string_view value) {
        begin(name);
        if (core::count_code_points(value)) {
            core::append_json_string(text_, value);
        } else {  // a path, say: whatever bytes the file system has
            core::append_json_string(text_, core::printable(value, 4096));
        }
        return *this;
    }
    Object& number(std::string_view name, std::int64_t value) {
        begin(name);
        core::append_json_number(text_, value);
        return *this;
    }
    Object& count(std::string_view name, std::uint64_t value) {
        begin(name);
        core::append_json_number(text_, value);
        return *this;
    }
    Object& raw(std::string_view name, std::string_view json) {
        begin(name);
        text_ += json;
        return *this;
    }
    Object& flag(std::string_view name, bool value) { return raw(name, value ? "true" : "false"); }
    Object& null(std::string_view name) { return raw(name, "null"); }
    Object& time(std::string_view name, const std::optional<UtcMilliseconds>& value) {
        return value ? text(name, core::iso8601(*value)) : null(name);
    }
    std::string str() { return text_ + '}'; }

  private:
    void begin(std::string_view name) {
        text_ += text_.empty() ? '{' : ',';
        core::append_json_string(text_, name);
        text_ += ':';
    }

    std::string text_;
};

struct EventWriter {
    std::string operator()(const event::Submitted& e) const {
        return Object{}.text("event", "submitted").text("id", e.id).str();
    }
    std::string operator()(const event::Delivered& e) const {
        return Object{}
            .text("event", "delivered")
            .text("id", e.id)
            .text("server_id", e.server_id)
            .str();
    }
    std::string operator()(const event::AttemptFailed& e) const {
        return refusal("attempt_failed", e.id, e.status, e.detail);
    }
    std::string operator()(const event::Held& e) const {
        return Object{}
            .text("event", "held")
            .text("reason", to_string(e.reason))
            .number("status", e.status)
            .text("detail", e.detail)
            .str();
    }
    std::string operator()(const event::Released& e) const {
        return Object{}.text("event", "released").text("reason", to_string(e.reason)).str();
    }
    std::string operator()(const event::DeadLetter& e) const {
        return refusal("dead_letter", e.id, e.status, e.detail);
    }
    std::string operator()(const event::Salvaged& e) const {
        return Object{}
            .text("event", "salvaged")
            .count("rescued", e.rescued)
            .text("moved_to", e.moved_to)
            .str();
    }
    std::string operator()(const event::Dropped& e) const {
        return Object{}.text("event", "dropped").count("count", e.count).str();
    }
    std::string operator()(const event::Alarm& e) const {
        return Object{}.text("event", "alarm").text("detail", e.detail).str();
    }

  private:
    static std::string refusal(std::string_view name, std::string_view id, int status,
                               std::string_view detail) {
        return Object{}
            .text("event", name)
            .text("id", id)
            .number("status", status)
            .text("detail", detail)
            .str();
    }
};

std::string hold_json(const Hold& hold) {
    Object object;
    object.text("reason", to_string(hold.reason));
    object.time("since", hold.since);
    object.time("until", hold.until);
    hold.status != 0 ? object.number("status", hold.status) : object.null("status");
    return object.text("detail", hold.detail).str();
}

std::string drainer_json(const Drainer& drainer) {
    return Object{}.number("pid", drainer.pid).flag("stopped", drainer.stopped).str();
}

}  // namespace

std::string event_json(const Event& event) {
    return std::visit(EventWriter{}, event);
}

std::string status_json(const Status& status) {
    Object object;
    object.text("path", status.path.native());
    object.number("schema", status.schema);
    object.count("accepted", status.accepted);
    object.count("waiting", status.waiting);
    object.count("claimed", status.claimed);
    object.count("unknown", status.unknown);
    object.count("dead", status.dead);
    object.count("delivered", status.delivered);
    object.count("discarded", status.discarded);
    object.count("dropped", status.dropped);
    object.time("oldest_submitted_at", status.oldest_submitted_at);
    object.time("last_delivered_at", status.last_delivered_at);
    object.raw("hold", status.hold ? hold_json(*status.hold) : "null");
    object.count("bytes", status.bytes);
    object.count("possible_duplicates", status.possible_duplicates);
    object.raw("drainer", status.drainer ? drainer_json(*status.drainer) : "null");
    object.count("left_to_person", status.left_to_person);
    object.count("waiting_for_other_credential", status.waiting_for_other_credential);
    object.flag("bell_is_polled", status.bell_is_polled);
    return object.str();
}

}  // namespace agentsight
