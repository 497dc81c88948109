#include "hold_words.hpp"

#include <array>

#include "tool.hpp"

// What a technician reads where nothing is sent, for every reason there is.

using agentsight::Hold;
using agentsight::HoldReason;
using agentsight::tool::hold_words;
using agentsight::tool::HoldWords;
using agentsight::tool::Sender;

namespace {

constexpr agentsight::UtcMilliseconds since = 1'786'975'200'000;

Hold hold_of(HoldReason reason, int status = 0, const std::string& detail = {}) {
    Hold hold{};
    hold.reason = reason;
    hold.since = since;
    hold.status = status;
    hold.detail = detail;
    return hold;
}

struct Wanted {
    HoldReason reason;
    const char* what;
    const char* advice;   ///< while a process sends
    bool needs_a_sender;  ///< without one the advice is to start one
};

constexpr std::array<Wanted, 11> all{{
    {HoldReason::person, "sending is stopped by a person", "`agentsight-outbox release`", false},
    {HoldReason::no_credential, "there is no API key to send with", "set AGENTSIGHT_API_KEY",
     false},
    {HoldReason::credential_refused, "the server refuses the credential", "set a new credential",
     false},
    {HoldReason::account_unpaid, "the account is not active", "renew the subscription", false},
    {HoldReason::link_down, "no way through to the server", "check the network; it is tried again",
     true},
    {HoldReason::throttled, "the server asked to wait", "nothing to do; it is tried again", true},
    {HoldReason::route_lost, "neither of the API's routes answers", "check the endpoint, or update",
     true},
    {HoldReason::endpoint, "something else than the API answers", "check the endpoint's URL", true},
    {HoldReason::proxy, "a proxy or a portal wants to be answered", "sign in to the network", true},
    {HoldReason::refusals, "refused one record after the other", "`agentsight-outbox release`",
     false},
    {HoldReason::outage, "answers nothing but errors", "nothing to do; it is tried again", true},
}};

}  // namespace

TEST_CASE("every reason to hold is said in plain words, with what to do about it") {
    for (const Wanted& wanted : all) {
        CAPTURE(agentsight::to_string(wanted.reason));
        const HoldWords words = hold_words(hold_of(wanted.reason, 499, "words"), Sender::lives);
        CHECK(words.what.find(wanted.what) != std::string::npos);
        CHECK(words.what.find(" since 2026-08-17T14:00:00.000Z") != std::string::npos);
        CHECK(words.advice.find(wanted.advice) != std::string::npos);
        const bool is_answer =
            wanted.reason != HoldReason::person && wanted.reason != HoldReason::no_credential;
        CHECK((words.what.find("(499 words)") != std::string::npos) == is_answer);
        const HoldWords alone = hold_words(hold_of(wanted.reason), Sender::absent);
        CHECK((alone.advice.find("no process is sending") != std::string::npos) ==
              wanted.needs_a_sender);
        const HoldWords after = hold_words(hold_of(wanted.reason), Sender::ended);
        CHECK(after.advice.find("no process is sending") == std::string::npos);
        CHECK((after.advice.find("drain` again later") != std::string::npos) ==
              wanted.needs_a_sender);
    }
}

TEST_CASE("a refused token is not called an API key") {
    const HoldWords token = hold_words(
        hold_of(HoldReason::credential_refused, 401, "Given token not valid for any token type"),
        Sender::lives);
    CHECK(token.what.find("API key") == std::string::npos);
    CHECK(token.advice.find("key") == std::string::npos);
    const HoldWords key =
        hold_words(hold_of(HoldReason::credential_refused, 401, "Invalid API key."), Sender::lives);
    CHECK(key.what.find("refuses the API key since") != std::string::npos);
    CHECK(key.advice == "set a new key; nothing is lost");
    const HoldWords unpaid = hold_words(hold_of(HoldReason::account_unpaid), Sender::lives);
    CHECK(unpaid.advice.find("key") == std::string::npos);
}
