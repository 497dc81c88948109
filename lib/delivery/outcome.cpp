#include "delivery/outcome.hpp"

#include "core/http_date.hpp"
#include "core/text.hpp"
#include "core/wire.hpp"

namespace agentsight::delivery {

namespace {

/// A server that says "come back in a year" means "not today": looked at again daily.
constexpr std::int64_t retry_after_cap_ms = 24 * 3'600'000;

std::string_view words(core::Failure failure) {
    switch (failure) {
        case core::Failure::none:
            return "no complete response";
        case core::Failure::resolve:
            return "the server's name was not found";
        case core::Failure::connect:
            return "no connection to the server";
        case core::Failure::tls:
            return "no secure connection to the server";
        case core::Failure::clock:
            return "the certificate is not valid at this device's time";
        case core::Failure::proxy:
            return "the proxy refused the connection";
        case core::Failure::proxy_auth:
            return "the proxy wants credentials";
        case core::Failure::timeout:
            return "no answer in time";
        case core::Failure::cut:
            return "the connection broke";
        case core::Failure::malformed:
            return "the answer was not understood";
        case core::Failure::too_large:
            return "the answer was too large";
        case core::Failure::aborted:
            return "the attempt was abandoned";
    }
    return "no complete response";
}

/// A complete response taken apart once: the rows of the table ask these questions.
struct Answer {
    int status = 0;
    bool api_json = false;  ///< an object, and said to be JSON
    std::string api_words;
    std::optional<std::int64_t> retry_after_ms;
};

Answer take_apart(const core::Evidence& evidence) {
    Answer answer{.status = evidence.status};
    std::string detail;
    answer.api_json = evidence.json && core::parse_api_error(evidence.body, detail);
    if (answer.api_json && evidence.status >= 400) {  // else they are a row's: feedback
        answer.api_words = std::move(detail);
    }
    if (evidence.retry_after) {
        answer.retry_after_ms = core::parse_retry_after(*evidence.retry_after, evidence.date,
                                                        evidence.ended.utc_ms, retry_after_cap_ms);
    }
    return answer;
}

bool says_unpaid(const Answer& answer) {
    return answer.status == 401 &&
           answer.api_words.find("active subscription") != std::string::npos;
}

Class client_error(const Answer& answer) {
    switch (answer.status) {
        case 401:
        case 403:
            if (!answer.api_json) {
                return Class::intercepted;
            }
            return says_unpaid(answer) ? Class::account_unpaid : Class::credential_refused;
        case 404:
            return answer.api_json ? Class::not_found : Class::route_lost;
        case 405:
        case 410:
            return Class::route_lost;
        case 407:
            return Class::proxy;
        case 408:
        case 421:
        case 425:
            return Class::not_processed;
        case 429:
            return Class::throttled;
        default:
            return answer.api_json ? Class::refused : Class::intercepted;
    }
}

Class server_error(const Answer& answer) {
    switch (answer.status) {
        case 501:
            return Class::route_lost;
        case 503:
            // Only an API that says when to come back has not begun: a gateway's 503 may
            // hide a request that the server behind it goes on with.
            return answer.api_json && answer.retry_after_ms ? Class::throttled : Class::unknown;
        case 511:
            return Class::proxy;
        default:
            return Class::unknown;
    }
}

Class success(const core::Evidence& evidence, const Sent& sent, Outcome& outcome) {
    if (evidence.status > 202 || !evidence.json) {
        return Class::unknown;
    }
    std::optional<core::Created> created = core::parse_created(evidence.body);
    if (!created || created->id.empty()) {
        return Class::unknown;
    }
    if (created->sentiment && *created->sentiment != to_string(sent.sentiment)) {
        return Class::unknown;
    }
    if (!created->may_be_of(sent.conversation)) {
        return Class::unknown;
    }
    outcome.server_id = std::move(created->id);
    outcome.server_time = created->created_at ? created->created_at : evidence.date;
    return Class::delivered;
}

Class judge(const core::Evidence& evidence, const Answer& answer, const Sent& sent,
            Outcome& outcome) {
    const int status = evidence.status;
    if (status >= 200 && status < 300) {
        return success(evidence, sent, outcome);
    }
    if (status >= 300 && status < 400) {
        return status == 303 ? Class::unknown : Class::intercepted;
    }
    if (status >= 400 && status < 500) {
        return client_error(answer);
    }
    if (status >= 500 && status < 600) {
        return server_error(answer);
    }
    return Class::unknown;
}

std::string describe(const core::Evidence& evidence, const Answer& answer, Class what) {
    if (!answer.api_words.empty()) {
        return core::printable(answer.api_words);
    }
    std::string text = "status " + std::to_string(evidence.status);
    if (what == Class::intercepted && !evidence.location.empty()) {
        return core::printable(text + ", redirected to " + evidence.location);
    }
    return answer.api_json ? text : text + " without the API's JSON";
}

}  // namespace

Outcome classify(const core::Evidence& evidence, const Sent& sent) {
    Outcome outcome;
    if (!evidence.request_written || evidence.failure != core::Failure::none ||
        evidence.status == 0) {
        outcome.what = evidence.request_written                        ? Class::unknown
                       : evidence.failure == core::Failure::proxy_auth ? Class::proxy
                                                                       : Class::link_down;
        outcome.status = outcome.what == Class::proxy ? 407 : 0;
        outcome.detail = evidence.detail.empty() ? std::string{words(evidence.failure)}
                                                 : core::printable(evidence.detail);
        return outcome;
    }
    const Answer answer = take_apart(evidence);
    outcome.status = evidence.status;
    outcome.what = judge(evidence, answer, sent, outcome);
    if (outcome.what == Class::throttled) {
        outcome.retry_after_ms = answer.retry_after_ms;
    }
    outcome.server_error =
        outcome.what == Class::unknown && evidence.status >= 500 && evidence.status < 600;
    if (outcome.what != Class::delivered) {
        outcome.detail = describe(evidence, answer, outcome.what);
    }
    return outcome;
}

ReadOutcome classify_read(const core::Evidence& evidence) {
    ReadOutcome outcome;
    if (!evidence.request_written || evidence.failure != core::Failure::none ||
        evidence.status == 0) {
        outcome.what = !evidence.request_written
                           ? (evidence.failure == core::Failure::proxy_auth ? ReadClass::proxy
                                                                            : ReadClass::link_down)
                       : evidence.failure == core::Failure::too_large ? ReadClass::too_large
                                                                      : ReadClass::broken;
        outcome.detail = evidence.detail.empty() ? std::string{words(evidence.failure)}
                                                 : core::printable(evidence.detail);
        return outcome;
    }
    const Answer answer = take_apart(evidence);
    outcome.status = evidence.status;
    outcome.detail = describe(evidence, answer, Class::refused);
    if (evidence.status == 200) {
        outcome.what = evidence.json ? ReadClass::readable : ReadClass::foreign;
        return outcome;
    }
    if (evidence.status < 400 || evidence.status >= 600) {
        outcome.what = ReadClass::foreign;
        return outcome;
    }
    const Class what = evidence.status < 500 ? client_error(answer) : server_error(answer);
    switch (what) {
        case Class::credential_refused:
        case Class::account_unpaid:
            outcome.what = evidence.status == 403          ? ReadClass::refused
                           : what == Class::account_unpaid ? ReadClass::account_unpaid
                                                           : ReadClass::credential_refused;
            break;
        case Class::not_found:
            outcome.what = ReadClass::not_found;
            break;
        case Class::refused:
            outcome.what = ReadClass::refused;
            break;
        case Class::route_lost:
            outcome.what = ReadClass::route_lost;
            break;
        case Class::throttled:
            outcome.what = ReadClass::throttled;
            outcome.retry_after_ms = answer.retry_after_ms;
            break;
        case Class::proxy:
            outcome.what = ReadClass::proxy;
            break;
        case Class::intercepted:
            outcome.what = ReadClass::foreign;
            break;
        default:
            outcome.what = ReadClass::broken;
    }
    return outcome;
}

std::string_view to_string(Class what) noexcept {
    switch (what) {
        case Class::delivered:
            return "delivered";
        case Class::link_down:
            return "link_down";
        case Class::not_processed:
            return "not_processed";
        case Class::throttled:
            return "throttled";
        case Class::credential_refused:
            return "credential_refused";
        case Class::account_unpaid:
            return "account_unpaid";
        case Class::proxy:
            return "proxy";
        case Class::route_lost:
            return "route_lost";
        case Class::not_found:
            return "not_found";
        case Class::refused:
            return "refused";
        case Class::intercepted:
            return "intercepted";
        case Class::unknown:
            return "unknown";
    }
    return "unknown";
}

}  // namespace agentsight::delivery
