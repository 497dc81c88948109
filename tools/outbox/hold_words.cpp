#include "hold_words.hpp"

#include "text.hpp"
#include "times.hpp"

namespace agentsight::tool {
namespace {

/// " (401 Invalid API key.)", as far as known.
std::string answer(const Hold& hold) {
    const std::string words =
        status_and_words(hold.status != 0 ? std::optional(hold.status) : std::nullopt, hold.detail);
    return words.empty() ? words : " (" + words + ")";
}

/// Which kind it was stands nowhere but in the server's own words.
bool is_of_key(const Hold& hold) {
    return hold.detail.find("API key") != std::string::npos;
}

std::string next_try(const Hold& hold, Sender sender) {
    if (sender != Sender::lives) {
        if (hold.reason == HoldReason::throttled && hold.until) {
            return "run `agentsight-outbox drain` after " + iso8601(*hold.until);
        }
        return sender == Sender::ended
                   ? "run `agentsight-outbox drain` again later, or start the application"
                   : "no process is sending: start the application, or run "
                     "`agentsight-outbox drain`";
    }
    return hold.until ? "it is tried again by itself at " + iso8601(*hold.until)
                      : std::string("it is tried again by itself");
}

}  // namespace

HoldWords hold_words(const Hold& hold, Sender sender) {
    const std::string then = next_try(hold, sender);
    const std::string since = " since " + iso8601(hold.since);
    switch (hold.reason) {
        case HoldReason::person:
            return {"sending is stopped by a person" + since,
                    "`agentsight-outbox release` starts it again"};
        case HoldReason::no_credential:
            return {"there is no API key to send with" + since,
                    "set AGENTSIGHT_API_KEY for the application, or drain with --credential-file; "
                    "nothing is lost"};
        case HoldReason::credential_refused:
            return {"the server refuses the " +
                        std::string(is_of_key(hold) ? "API key" : "credential") + since +
                        answer(hold),
                    "set a new " + std::string(is_of_key(hold) ? "key" : "credential") +
                        "; nothing is lost"};
        case HoldReason::account_unpaid:
            return {"the server says that the account is not active" + since + answer(hold),
                    "renew the subscription (another credential changes nothing); nothing is lost"};
        case HoldReason::link_down:
            return {"there is no way through to the server" + since + answer(hold),
                    "check the network; " + then};
        case HoldReason::throttled:
            return {"the server asked to wait" + since + answer(hold),
                    (sender == Sender::lives ? "nothing to do; " : "") + then};
        case HoldReason::route_lost:
            return {"neither of the API's routes answers any more" + since + answer(hold),
                    "check the endpoint, or update the application; " + then};
        case HoldReason::endpoint:
            return {"something else than the API answers at the endpoint" + since + answer(hold),
                    "check the endpoint's URL and what stands before it; " + then};
        case HoldReason::proxy:
            return {"a proxy or a portal wants to be answered first" + since + answer(hold),
                    "sign in to the network, or set the proxy's credential; " + then};
        case HoldReason::refusals:
            return {"the server refused one record after the other" + since + answer(hold),
                    "look at `agentsight-outbox list --state dead`, update the application, then "
                    "`agentsight-outbox release`"};
        case HoldReason::outage:
            return {"the server answers nothing but errors" + since + answer(hold),
                    (sender == Sender::lives ? "nothing to do; " : "") + then};
    }
    return {"sending waits" + since + answer(hold), then};
}

std::optional<HoldWords> obstacle(const Status& status) {
    const bool is_held_by_person = status.hold && status.hold->reason == HoldReason::person;
    if (status.drainer && status.drainer->stopped && sendable_records(status) > 0 &&
        !is_held_by_person) {
        const std::string pid = std::to_string(status.drainer->pid);
        return HoldWords{"the process that sends, " + pid + ", is stopped",
                         "continue it (`kill -CONT " + pid + "`) or end it"};
    }
    if (status.hold) {
        return hold_words(*status.hold, status.drainer ? Sender::lives : Sender::absent);
    }
    if (status.waiting > 0 && status.waiting == status.waiting_for_other_credential) {
        return HoldWords{"every waiting record was submitted under another kind of credential",
                         "drain with a credential of that kind (`list --json` names it)"};
    }
    if (!status.drainer && sendable_records(status) > 0) {
        return HoldWords{"no process is sending",
                         "start the application, or run `agentsight-outbox drain`"};
    }
    return std::nullopt;
}

std::optional<HoldWords> left_words(const Status& status) {
    if (status.left_to_person == 0) {
        return std::nullopt;
    }
    return HoldWords{counted(status.left_to_person, "record") +
                         " may have arrived, and only a person can settle " +
                         (status.left_to_person == 1 ? "it" : "them"),
                     "look on the server for each of `agentsight-outbox list --state unknown`, "
                     "then `agentsight-outbox resolve ID --delivered` or `--resend`"};
}

}  // namespace agentsight::tool
