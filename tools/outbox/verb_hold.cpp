#include "hold_words.hpp"
#include "output.hpp"
#include "times.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

std::string released(const Status& status) {
    const bool is_told = status.hold && status.hold->reason == HoldReason::throttled &&
                         status.hold->until && *status.hold->until > utc_now();
    if (status.hold && status.hold->reason == HoldReason::no_credential) {
        const HoldWords words =
            hold_words(*status.hold, status.drainer ? Sender::lives : Sender::absent);
        return "released; but " + words.what + ": " + words.advice;
    }
    if (!status.drainer || status.drainer->stopped) {
        return "released: whoever sends next does so " +
               (is_told ? "once the server's own time is over, " + iso8601(*status.hold->until)
                        : std::string("at once")) +
               (status.drainer ? "; now the process that sends is stopped"
                               : "; now no process does (start the application, or run "
                                 "`agentsight-outbox drain`)");
    }
    return is_told ? "released: sending goes on once the server's own time is over, " +
                         iso8601(*status.hold->until)
                   : "released: sending goes on at once";
}

ExitCode change(const Common& common, bool hold) {
    Outbox outbox(common.path(), OutboxMode::read_write);
    if (hold) {
        outbox.hold();
    } else {
        outbox.release();
    }
    if (common.json) {
        Json json;
        json["held"] = hold;
        print_json(json);
    } else {
        print_line(hold ? "nothing is sent until `agentsight-outbox release`; submits go on"
                        : released(outbox.status()));
    }
    return ExitCode::done;
}

}  // namespace

void add_hold_and_release(CLI::App& app, Invocation& invocation) {
    add_verb(app, invocation, "hold", "Stop sending until `release`, also over a restart", "hold")
        ->callback([&invocation] {
            invocation.run = [&invocation] { return change(invocation.common, true); };
        });
    add_verb(app, invocation, "release", "End every hold and its backoff: send at once", "release")
        ->callback([&invocation] {
            invocation.run = [&invocation] { return change(invocation.common, false); };
        });
}

}  // namespace agentsight::tool
