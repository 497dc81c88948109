#include <memory>

#include "output.hpp"
#include "record_json.hpp"
#include "record_lookup.hpp"
#include "text.hpp"
#include "times.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

struct ShowFlags {
    std::string id;
    bool reveal = false;
};

void print_field(std::string_view name, std::string_view value) {
    if (!value.empty()) {
        print_line(styled(padded(name, 14), Style::bold) + std::string(value));
    }
}

std::string state_words(const Record& record) {
    switch (record.state) {
        case RecordState::waiting:
            return "waiting to be sent";
        case RecordState::claimed:
            return "being sent";
        case RecordState::delivered:
            return "delivered";
        case RecordState::unknown:
            return record.left_to_person
                       ? "unknown: it may or may not have arrived, and only a person can tell; "
                         "see `agentsight-outbox resolve --help`"
                       : "unknown: it may or may not have arrived; being found out";
        case RecordState::dead:
            return "dead: it is not sent again unless someone requeues it";
        case RecordState::discarded:
            return "discarded";
    }
    return {};
}

void print_record(const Record& record, Reveal reveal) {
    const UtcMilliseconds now = utc_now();
    print_field("id", record.id);
    print_field("state", state_words(record));
    print_field("conversation", inert(shown_conversation(record)));
    print_field("sentiment", to_string(record.sentiment));
    print_field("comment", inert(shown_comment(record, reveal)));
    print_field("metadata", inert_json(shown_metadata(record, reveal)));
    print_field("credential", credential_name(record.credential_kind));
    print_field("submitted",
                iso8601(record.submitted_at) + " (" + ago(record.submitted_at, now) + ")");
    print_field("due", record.due_at ? iso8601(*record.due_at) : std::string{});
    print_field("delivered", record.delivered_at ? iso8601(*record.delivered_at) : std::string{});
    print_field("server id", inert(record.server_id));
    print_field("attempts", std::to_string(record.attempts));
    if (record.state != RecordState::delivered) {
        print_field("last error", inert(status_and_words(record.last_status, record.last_error)));
    }
    for (const Attempt& attempt : record.history) {
        print_field("attempt", iso8601(attempt.began) + "  " + inert(attempt.outcome) + "  " +
                                   inert(status_and_words(attempt.status, attempt.detail)));
    }
}

ExitCode show(const Common& common, const ShowFlags& flags) {
    const Reveal reveal = flags.reveal ? Reveal::yes : Reveal::no;
    refuse_empty_id(flags.id);
    const Outbox outbox(common.path(), OutboxMode::read_only);
    const Record record = look_up(flags.id, [&] { return outbox.get(flags.id); });
    if (common.json) {
        Json json = to_json(record, reveal);
        json["history"] = history_json(record);
        print_json(json);
    } else {
        print_record(record, reveal);
    }
    return ExitCode::done;
}

}  // namespace

void add_show(CLI::App& app, Invocation& invocation) {
    CLI::App* verb =
        add_verb(app, invocation, "show", "One record, its attempts and the server's last words",
                 "show 0193b5a0-7e2c-7d11-8f00-3c5a9e1f2b44 --reveal");
    auto flags = std::make_shared<ShowFlags>();
    verb->add_option("ID", flags->id, "The record's id")->required();
    verb->add_flag("--reveal", flags->reveal, "Show comment and metadata, which are masked");
    verb->callback([&invocation, flags] {
        invocation.run = [&invocation, flags] { return show(invocation.common, *flags); };
    });
}

}  // namespace agentsight::tool
