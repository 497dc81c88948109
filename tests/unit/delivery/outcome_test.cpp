#include "delivery/outcome.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace agentsight::delivery {
namespace {

using core::Evidence;
using core::Failure;

const Sent sent{Sentiment::positive, {"=support-456"}};

constexpr const char* created =
    R"({"id": 10, "conversation": 42, "sentiment": "positive", "source": "customer",)"
    R"( "comment": "x", "created_at": "2024-01-15T10:40:00Z"})";

Evidence answer(int status, std::string body, bool json = true) {
    Evidence evidence;
    evidence.request_written = true;
    evidence.status = status;
    evidence.json = json;
    evidence.body = std::move(body);
    evidence.ended.utc_ms = 1'705'315'200'000;
    return evidence;
}

Evidence failed(Failure failure, bool written) {
    Evidence evidence;
    evidence.request_written = written;
    evidence.failure = failure;
    return evidence;
}

Class what(const Evidence& evidence) {
    return classify(evidence, sent).what;
}

TEST_CASE("200, 201 and 202 with a complete JSON object bearing an id are delivered") {
    for (const int status : {200, 201, 202}) {
        const Outcome outcome = classify(answer(status, created), sent);
        CHECK(outcome.what == Class::delivered);
        CHECK(outcome.server_id == "10");
        CHECK(outcome.server_time == 1'705'315'200'000);
    }
}

TEST_CASE("a created row of another sentiment is not ours") {
    CHECK(classify(answer(201, created), {Sentiment::negative, sent.conversation}).what ==
          Class::unknown);
    CHECK(what(answer(201, R"({"id": 10})")) == Class::delivered);
}

TEST_CASE(
    "H7: a created row of another conversation is not ours, where it shows the form we sent") {
    const auto about = [](const char* echo, const char* conversation) {
        const std::string body =
            R"({"id": 10, "sentiment": "positive", )" + std::string{echo} + "}";
        return classify(answer(201, body), {Sentiment::positive, {conversation}}).what;
    };
    const char* const both = R"("conversation": 42, "conversation_id": "support-456")";
    CHECK(about(both, "=support-456") == Class::delivered);
    CHECK(about(both, "= support-456\n") == Class::delivered);  // the server strips
    CHECK(about(both, "=support-457") == Class::unknown);
    CHECK(about(both, "#42") == Class::delivered);
    CHECK(about(both, "#43") == Class::unknown);
    CHECK(about(both, "=42") == Class::unknown);  // text is a business id
    // The other form says nothing of ours, and what is not as documented says nothing at all.
    CHECK(about(R"("conversation": 42)", "=support-456") == Class::delivered);
    CHECK(about(R"("conversation_id": "support-456")", "#42") == Class::delivered);
    CHECK(about(R"("conversation": {"id": 7}, "conversation_id": null)", "#42") ==
          Class::delivered);
    CHECK(about(R"("conversation": 7, "conversation_id": null)", "=support-456") ==
          Class::delivered);
    CHECK(about(R"("conversation": 123456789012345678901234567890)",
                "#123456789012345678901234567890") == Class::delivered);
}

TEST_CASE("H7, H8: a 2xx that is not the API's JSON is never delivered") {
    CHECK(what(answer(200, "<html>welcome</html>", false)) == Class::unknown);
    CHECK(what(answer(201, "<html>welcome</html>", false)) == Class::unknown);
    CHECK(what(answer(201, "{}")) == Class::unknown);
    CHECK(what(answer(201, R"({"id": ""})")) == Class::unknown);
    CHECK(what(answer(201, R"({"id": null})")) == Class::unknown);
    CHECK(what(answer(201, R"([{"id": 1}])")) == Class::unknown);
    CHECK(what(answer(201, created, false)) == Class::unknown);
    for (const int status : {203, 204, 205, 206, 207, 226, 299}) {
        CHECK(what(answer(status, created)) == Class::unknown);
    }
}

TEST_CASE("a created body cut at any byte is unknown") {
    const std::string body = created;
    for (std::size_t cut = 0; cut < body.size(); ++cut) {
        CAPTURE(cut);
        CHECK(what(answer(201, body.substr(0, cut))) == Class::unknown);
    }
}

TEST_CASE("nothing written is the link's fault, whatever failed, but for a proxy's 407") {
    for (const Failure failure : {Failure::resolve, Failure::connect, Failure::tls, Failure::clock,
                                  Failure::proxy, Failure::timeout, Failure::cut,
                                  Failure::malformed, Failure::too_large, Failure::aborted}) {
        CHECK(what(failed(failure, false)) == Class::link_down);
    }
    CHECK(what(failed(Failure::proxy_auth, false)) == Class::proxy);
}

TEST_CASE("a failure after the first byte is unknown") {
    for (const Failure failure :
         {Failure::resolve, Failure::connect, Failure::tls, Failure::clock, Failure::proxy,
          Failure::proxy_auth, Failure::timeout, Failure::cut, Failure::malformed,
          Failure::too_large, Failure::aborted}) {
        CHECK(what(failed(failure, true)) == Class::unknown);
    }
}

TEST_CASE("H11: 408, 421 and 425 were not processed") {
    for (const int status : {408, 421, 425}) {
        CHECK(what(answer(status, "", false)) == Class::not_processed);
    }
}

TEST_CASE("F7: a 201 that echoes another text is delivered all the same") {
    const auto outcome = classify(
        answer(201, R"({"id": 10, "sentiment": "positive", "comment": "as the server put it"})"),
        {.sentiment = Sentiment::positive, .conversation = {"=c"}});
    CHECK(outcome.what == Class::delivered);
    CHECK(outcome.server_id == "10");
}

TEST_CASE("H10: 429 is throttled, with and without Retry-After") {
    CHECK(what(answer(429, R"({"detail": "Request was throttled."})")) == Class::throttled);
    CHECK(what(answer(429, "slow down", false)) == Class::throttled);
    Evidence evidence = answer(429, R"({"detail": "Request was throttled."})");
    evidence.retry_after = "30";
    CHECK(classify(evidence, sent).retry_after_ms == 30'000);
}

TEST_CASE("H16, T3: Retry-After is a time relative to the response's own Date, clamped to a day") {
    Evidence evidence = answer(429, "{}");
    evidence.date = 784'111'777'000;  // Sun, 06 Nov 1994 08:49:37 GMT
    for (const char* const form : {"Sun, 06 Nov 1994 08:50:37 GMT",
                                   "Sunday, 06-Nov-94 08:50:37 GMT", "Sun Nov  6 08:50:37 1994"}) {
        evidence.retry_after = form;
        CAPTURE(form);
        CHECK(classify(evidence, sent).retry_after_ms == 60'000);
    }
    // Two digits of a year, and a device that thinks it is 2090.
    evidence.ended.utc_ms = 3'800'000'000'000;
    evidence.retry_after = "Sunday, 06-Nov-94 08:50:37 GMT";
    CHECK(classify(evidence, sent).retry_after_ms == 60'000);
    evidence.retry_after = "1000000000000";
    CHECK(classify(evidence, sent).retry_after_ms == 86'400'000);
    for (const char* const garbage : {"soon", "", "12 seconds", "1e3"}) {
        evidence.retry_after = garbage;
        CAPTURE(garbage);
        CHECK_FALSE(classify(evidence, sent).retry_after_ms.has_value());
        CHECK(what(evidence) == Class::throttled);
    }
}

TEST_CASE("H10: 503 is throttled only with Retry-After and the API's JSON") {
    Evidence evidence = answer(503, R"({"detail": "later"})");
    CHECK(what(evidence) == Class::unknown);
    evidence.retry_after = "5";
    CHECK(what(evidence) == Class::throttled);
    evidence.retry_after = "whenever";
    CHECK(what(evidence) == Class::unknown);
    evidence = answer(503, "<html>", false);
    evidence.retry_after = "5";
    CHECK(what(evidence) == Class::unknown);
    CHECK(classify(evidence, sent).server_error);
}

TEST_CASE("401 and 403 with the API's JSON are about the credential") {
    CHECK(what(answer(401, R"({"detail": "Invalid API key."})")) == Class::credential_refused);
    CHECK(what(answer(403, R"({"detail": "no"})")) == Class::credential_refused);
    CHECK(what(answer(403, R"({"error": "no"})")) == Class::credential_refused);
}

TEST_CASE("the 401 of an unpaid account is told apart") {
    const char* const words =
        R"({"detail": "Agent does not have an active subscription or development phase."})";
    CHECK(what(answer(401, words)) == Class::account_unpaid);
    CHECK(what(answer(403, words)) == Class::credential_refused);
}

TEST_CASE("407 and 511 are a proxy's or a portal's") {
    CHECK(what(answer(407, "", false)) == Class::proxy);
    CHECK(what(answer(511, "", false)) == Class::proxy);
}

TEST_CASE("405, 410 and 501 with any body, and a 404 that is not the API's, lose the route") {
    for (const int status : {405, 410, 501}) {
        CHECK(what(answer(status, "<html>", false)) == Class::route_lost);
        CHECK(what(answer(status, R"({"detail": "x"})")) == Class::route_lost);
    }
    CHECK(what(answer(404, "<html>", false)) == Class::route_lost);
    CHECK(what(answer(404, R"({"detail": "x"})", false)) == Class::route_lost);
    CHECK(what(answer(404, R"("text")")) == Class::route_lost);
}

TEST_CASE("404 with the API's JSON is about the conversation") {
    CHECK(what(answer(404, R"({"detail": "Not found."})")) == Class::not_found);
}

TEST_CASE("H14: other 4xx with the API's JSON are refusals, and keep the server's words") {
    for (const int status : {400, 402, 406, 409, 411, 413, 414, 415, 422, 431, 451, 499}) {
        CAPTURE(status);
        const Outcome outcome = classify(answer(status, R"({"sentiment": ["bad choice"]})"), sent);
        CHECK(outcome.what == Class::refused);
        CHECK(outcome.detail == "sentiment: bad choice");
    }
}

TEST_CASE("other 4xx without it, and 3xx but 303, are somebody in between") {
    for (const int status : {400, 401, 402, 403, 406, 413, 422, 451}) {
        CHECK(what(answer(status, "<html>", false)) == Class::intercepted);
    }
    for (const int status : {300, 301, 302, 304, 307, 308}) {
        CHECK(what(answer(status, created)) == Class::intercepted);
    }
    CHECK(what(answer(303, created)) == Class::unknown);
}

TEST_CASE("H9: other 5xx are unknown, and known to be the server's") {
    for (const int status : {500, 502, 503, 504, 505, 507, 520, 599}) {
        const Outcome outcome = classify(answer(status, R"({"detail": "x"})"), sent);
        CHECK(outcome.what == Class::unknown);
        CHECK(outcome.server_error);
    }
}

TEST_CASE("an interim or impossible status is unknown") {
    for (const int status : {100, 101, 103, 199, 600, 999, 1, -1}) {
        CHECK(what(answer(status, created)) == Class::unknown);
    }
}

TEST_CASE("details are bounded and printable") {
    const std::string shout = R"({"detail": ")" + std::string(50'000, 'a') + R"("})";
    CHECK(classify(answer(400, shout), sent).detail.size() <= 300);
    Evidence evidence = failed(Failure::cut, true);
    evidence.detail = "\x1b[31mred\n";
    const std::string detail = classify(evidence, sent).detail;
    CHECK(detail.find('\x1b') == std::string::npos);
    CHECK(detail.find('\n') == std::string::npos);
}

/// The table of the design once more, in its own words and order, to compare with.
Class by_the_table(const Evidence& evidence, bool object, bool with_id) {
    if (!evidence.request_written) {
        return evidence.failure == Failure::proxy_auth ? Class::proxy : Class::link_down;
    }
    if (evidence.failure != Failure::none) {
        return Class::unknown;
    }
    const bool api = evidence.json && object;
    switch (evidence.status) {
        case 200:
        case 201:
        case 202:
            return api && with_id ? Class::delivered : Class::unknown;
        case 303:
            return Class::unknown;
        case 401:
        case 403:
            return api ? Class::credential_refused : Class::intercepted;
        case 404:
            return api ? Class::not_found : Class::route_lost;
        case 405:
        case 410:
        case 501:
            return Class::route_lost;
        case 407:
        case 511:
            return Class::proxy;
        case 408:
        case 421:
        case 425:
            return Class::not_processed;
        case 429:
            return Class::throttled;
        case 503:
            return api && evidence.retry_after ? Class::throttled : Class::unknown;
        default:
            break;
    }
    switch (evidence.status / 100) {
        case 3:
            return Class::intercepted;
        case 4:
            return api ? Class::refused : Class::intercepted;
        default:
            return Class::unknown;
    }
}

TEST_CASE("the classifier is total and never calls delivered what is not proven") {
    const std::vector<std::string> bodies = {
        "", created, "{}", "<html>", R"({"detail": "x"})", R"({"id": 3})", "[]", "null", "{"};
    const std::vector<Failure> failures = {
        Failure::none,  Failure::resolve,   Failure::connect,    Failure::tls,
        Failure::clock, Failure::proxy,     Failure::proxy_auth, Failure::timeout,
        Failure::cut,   Failure::malformed, Failure::too_large,  Failure::aborted};
    std::size_t seen = 0;
    for (int status = 0; status <= 600; ++status) {
        for (const std::string& body : bodies) {
            for (const Failure failure : failures) {
                for (const int bits : {0, 1, 2, 3, 4, 5, 6, 7}) {
                    Evidence evidence = answer(status, body, (bits & 1) != 0);
                    evidence.request_written = (bits & 2) != 0;
                    evidence.failure = failure;
                    if ((bits & 4) != 0) {
                        evidence.retry_after = "7";
                    }
                    const Outcome outcome = classify(evidence, sent);
                    const bool proof = evidence.request_written && failure == Failure::none &&
                                       status >= 200 && status <= 202 && evidence.json &&
                                       (body == created || body == bodies[5]);
                    const bool object = !body.empty() && body.front() == '{' && body.back() == '}';
                    const bool with_id = body == created || body == bodies[5];
                    const bool sound =
                        outcome.what == by_the_table(evidence, object, with_id) &&
                        (outcome.what == Class::delivered) == proof &&
                        (outcome.what == Class::delivered) == !outcome.server_id.empty() &&
                        (evidence.request_written || outcome.what == Class::link_down ||
                         (outcome.what == Class::proxy && failure == Failure::proxy_auth)) &&
                        (!evidence.request_written || outcome.what != Class::link_down) &&
                        (!outcome.retry_after_ms || outcome.what == Class::throttled) &&
                        (!outcome.server_error || outcome.what == Class::unknown) &&
                        (proof || !outcome.detail.empty()) && to_string(outcome.what).size() > 3;
                    if (!sound) {
                        CAPTURE(status);
                        CAPTURE(body);
                        CAPTURE(static_cast<int>(failure));
                        CAPTURE(bits);
                        FAIL_CHECK("classified as " << to_string(outcome.what));
                    }
                    (void)classify_read(evidence);
                    ++seen;
                }
            }
        }
    }
    CHECK(seen > 400'000);
}

TEST_CASE("what a read's answer means") {
    const auto read = [](const Evidence& evidence) { return classify_read(evidence).what; };
    CHECK(read(answer(200, "{}")) == ReadClass::readable);
    CHECK(read(answer(200, "<html>", false)) == ReadClass::foreign);
    CHECK(read(answer(302, "{}")) == ReadClass::foreign);
    CHECK(read(answer(401, "{}")) == ReadClass::credential_refused);
    CHECK(read(answer(401, R"({"detail": "no active subscription"})")) ==
          ReadClass::account_unpaid);
    CHECK(read(answer(403, "{}")) == ReadClass::refused);
    CHECK(read(answer(403, "<html>", false)) == ReadClass::foreign);
    CHECK(read(answer(404, "{}")) == ReadClass::not_found);
    CHECK(read(answer(404, "<html>", false)) == ReadClass::route_lost);
    CHECK(read(answer(405, "{}")) == ReadClass::route_lost);
    CHECK(read(answer(407, "", false)) == ReadClass::proxy);
    CHECK(read(answer(408, "", false)) == ReadClass::broken);
    CHECK(read(answer(429, "{}")) == ReadClass::throttled);
    CHECK(read(answer(500, "{}")) == ReadClass::broken);
    CHECK(read(failed(Failure::connect, false)) == ReadClass::link_down);
    CHECK(read(failed(Failure::proxy_auth, false)) == ReadClass::proxy);
    CHECK(read(failed(Failure::too_large, true)) == ReadClass::too_large);
    CHECK(read(failed(Failure::cut, true)) == ReadClass::broken);
}

}  // namespace
}  // namespace agentsight::delivery
