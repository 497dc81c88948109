#include "hold_words.hpp"
#include "output.hpp"
#include "record_json.hpp"
#include "text.hpp"
#include "times.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

void print_field(std::string_view name, std::string_view value) {
    print_line(styled(padded(name, 14), Style::bold) + std::string(value));
}

std::string time_words(const std::optional<UtcMilliseconds>& time, std::string_view none) {
    return time ? iso8601(*time) + " (" + ago(*time, utc_now()) + ")" : std::string(none);
}

std::string drainer_words(const Status& status) {
    if (!status.drainer) {
        return "none";
    }
    return "process " + std::to_string(status.drainer->pid) +
           (status.drainer->stopped ? ", stopped" : "");
}

/// The ledger: what was accepted is somewhere.
std::string ledger_words(const Status& status) {
    const std::uint64_t sum = status.delivered + status.waiting + status.claimed + status.unknown +
                              status.dead + status.discarded + status.dropped;
    return std::to_string(status.accepted) +
           (sum == status.accepted ? " accepted, every one accounted for"
                                   : " accepted, but " + std::to_string(sum) +
                                         " accounted for: run `agentsight-outbox verify`");
}

void print_counts(const Status& status) {
    print_field("waiting", std::to_string(status.waiting) +
                               (status.waiting_for_other_credential > 0
                                    ? " (" + std::to_string(status.waiting_for_other_credential) +
                                          " for another kind of credential)"
                                    : ""));
    print_field("claimed", std::to_string(status.claimed));
    print_field("unknown",
                std::to_string(status.unknown) +
                    (status.left_to_person > 0
                         ? " (" + std::to_string(status.left_to_person) +
                               " left to a person: see `agentsight-outbox resolve --help`)"
                     : status.unknown > 0 ? " (may or may not have arrived)"
                                          : ""));
    print_field("dead",
                std::to_string(status.dead) +
                    (status.dead > 0 ? " (see `agentsight-outbox list --state dead`)" : ""));
    print_field("delivered", std::to_string(status.delivered));
    print_field("discarded", std::to_string(status.discarded));
    print_field("dropped", std::to_string(status.dropped));
    if (status.possible_duplicates > 0) {
        print_field("may be double", std::to_string(status.possible_duplicates));
    }
}

/// The line a technician came for.
void print_verdict(const Status& status) {
    const std::uint64_t open = sendable_records(status);
    const auto left = left_words(status);
    if (const auto words = obstacle(status)) {
        const std::string wait =
            open == 0 ? "" : ": " + counted(open, "record") + (open == 1 ? " waits" : " wait");
        print_line(styled(inert(words->what) + wait, Style::bad));
        print_line("  what to do: " + inert(words->advice));
    } else if (open > 0) {
        print_line(styled(counted(open, "record") + (open == 1 ? " is" : " are") + " on the way",
                          Style::warning));
    } else if (!left) {
        print_line(styled("nothing waits", Style::good));
    }
    if (left) {
        print_line(styled(left->what, Style::bad));
        print_line("  what to do: " + left->advice);
    }
    print_line("");
}

void print_status(const Status& status) {
    print_verdict(status);
    print_field("outbox", inert(status.path.string()));
    print_counts(status);
    print_field("ledger", ledger_words(status));
    print_field("oldest", time_words(status.oldest_submitted_at, "none waits"));
    print_field("last success", time_words(status.last_delivered_at, "none yet"));
    print_field("drainer", drainer_words(status));
    print_field("size", human_bytes(status.bytes) + ", schema " + std::to_string(status.schema));
    if (status.bell_is_polled) {
        print_field("note", "the folder takes no bell: records of other processes wait up to 30 s");
    }
}

ExitCode status(const Common& common) {
    const Outbox outbox(common.path(), OutboxMode::read_only);
    const Status status = outbox.status();
    if (common.json) {
        print_json(to_json(status));
    } else {
        print_status(status);
    }
    return ExitCode::done;
}

}  // namespace

void add_status(CLI::App& app, Invocation& invocation) {
    CLI::App* verb = add_verb(app, invocation, "status",
                              "What is in the outbox, what holds it up and what to do about it",
                              "status --outbox /var/lib/kiosk/feedback.db");
    verb->callback(
        [&invocation] { invocation.run = [&invocation] { return status(invocation.common); }; });
}

}  // namespace agentsight::tool
