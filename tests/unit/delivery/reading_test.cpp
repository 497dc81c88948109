#include "delivery/reading.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <map>

#include "core/text.hpp"

namespace agentsight::delivery {
namespace {

constexpr core::UtcMs date = 1'705'315'200'000;

outbox::ClaimedRecord record(const std::string& conversation) {
    outbox::ClaimedRecord one;
    one.key = 1;
    one.feedback.conversation.value = conversation;
    one.feedback.sentiment = Sentiment::positive;
    one.attempt_began = {.utc_ms = 0, .boot_ms = 900'000, .boot_id = 3};
    return one;
}

core::Evidence reply(int status, std::string body, bool json = true) {
    core::Evidence evidence;
    evidence.request_written = true;
    evidence.status = status;
    evidence.json = json;
    evidence.body = std::move(body);
    evidence.date = date;
    evidence.began = {.utc_ms = 0, .boot_ms = 999'000, .boot_id = 3};
    evidence.ended = {.utc_ms = 0, .boot_ms = 1'000'000, .boot_id = 3};
    return evidence;
}

std::string row(int id, core::UtcMs at, const std::string& conversation_id) {
    return R"({"id": )" + std::to_string(id) +
           R"(, "kind": "conversation", "conversation": 42, "conversation_id": ")" +
           conversation_id + R"(", "sentiment": "positive", "comment": "", "created_at": ")" +
           core::iso8601(at) + "\"}";
}

std::string list(const std::vector<std::string>& rows, bool more) {
    std::string body = R"({"count": 999, "next": )";
    body += more ? R"("http://x/?page=2")" : "null";
    body += R"(, "previous": null, "results": [)";
    for (std::size_t i = 0; i < rows.size(); ++i) {
        body += (i == 0 ? "" : ",") + rows[i];
    }
    return body + "]}";
}

using Progress = Reading::Progress;

TEST_CASE("a list of one page is complete") {
    Reading reading{{record("=abc")}, ReadWay::list, 0};
    CHECK(reading.request().target.starts_with("/api/feedbacks/?conversation_id=abc&"));
    CHECK(reading.take(reply(200, list({row(7, date, "abc"), row(6, date - 1, " abc ")}, false))) ==
          Progress::complete);
    CHECK(reading.rows().size() == 2);
    CHECK(reading.date() == date);
}

TEST_CASE("rows of other conversations, from a server that ignores the filter, are dropped") {
    Reading reading{{record("=abc")}, ReadWay::list, 0};
    CHECK(reading.take(reply(200, list({row(7, date, "xyz"), row(6, date - 1, "abc")}, false))) ==
          Progress::complete);
    REQUIRE(reading.rows().size() == 1);
    CHECK(reading.rows()[0].id == "6");
}

TEST_CASE("a list that does not show of which conversation its rows are is not believed") {
    Reading reading{{record("=abc")}, ReadWay::list, 0};
    const std::string nameless =
        R"({"id": 1, "sentiment": "positive", "comment": "", "created_at": "2024-01-15T10:40:00Z"})";
    CHECK(reading.take(reply(200, list({nameless}, false))) == Progress::other_way);
}

TEST_CASE("F8: pages are read until older than the window, then no more") {
    Reading reading{{record("=abc")}, ReadWay::list, 0};
    CHECK(reading.take(reply(200, list({row(9, date, "abc")}, true))) == Progress::again);
    CHECK(reading.request().target.find("page=2") != std::string::npos);
    CHECK(reading.take(reply(200, list({row(9, date, "abc"), row(8, date - 50'000, "abc")},
                                       true))) == Progress::again);
    // The attempt began 100 s before the reply; 30 s of slack and 60 s of overlap.
    CHECK(reading.take(reply(200, list({row(7, date - 190'001, "abc")}, true))) ==
          Progress::complete);
    CHECK(reading.rows().size() == 3);
}

TEST_CASE("a list that is not newest first is read to its end") {
    Reading reading{{record("=abc")}, ReadWay::list, 0};
    CHECK(reading.take(reply(200, list({row(1, date - 900'000, "abc"), row(9, date, "abc"),
                                        row(2, date - 800'000, "abc")},
                                       true))) == Progress::again);
    CHECK(reading.take(reply(200, list({row(10, date, "abc")}, false))) == Progress::complete);
    CHECK(reading.rows().size() == 4);
}

TEST_CASE("a server that ignores the page number is not read for ever") {
    Reading reading{{record("=abc")}, ReadWay::list, 0};
    const std::string same = list({row(9, date, "abc")}, true);
    CHECK(reading.take(reply(200, same)) == Progress::again);
    CHECK(reading.take(reply(200, same)) == Progress::other_way);
}

TEST_CASE("an endless list ends") {
    Reading reading{{record("=abc")}, ReadWay::list, 0};
    int pages = 0;
    Progress progress = Progress::again;
    while (progress == Progress::again && pages < 1'000) {
        progress = reading.take(reply(200, list({row(5'000 - pages, date - pages, "abc")}, true)));
        ++pages;
    }
    CHECK(progress == Progress::other_way);
    CHECK(pages == Reading::max_pages);
}

TEST_CASE("a page that is too large is asked for again in smaller pieces") {
    Reading reading{{record("=abc")}, ReadWay::list, 0};
    core::Evidence large = reply(0, "");
    large.failure = core::Failure::too_large;
    int asked = 0;
    Progress progress = Progress::again;
    while (progress == Progress::again && asked < 100) {
        progress = reading.take(large);
        ++asked;
    }
    CHECK(progress == Progress::other_way);
    CHECK(asked <= 4);
    CHECK(reading.request().target.find("page_size=1") != std::string::npos);
}

TEST_CASE("a conversation known by its business id is looked up, then read") {
    Reading reading{{record("=abc")}, ReadWay::conversation, 0};
    CHECK(reading.request().target.starts_with("/api/conversations/?conversation_id=abc&"));
    CHECK(reading.take(reply(200, R"({"count": 1, "next": null, "results": [)"
                                  R"({"id": 42, "conversation_id": "abc"}]})")) == Progress::again);
    CHECK(reading.request().target == "/api/conversations/42/");
    CHECK(
        reading.take(reply(200, R"({"id": 42, "feedbacks": [{"id": 3, "sentiment": "positive",)"
                                R"( "comment": null, "created_at": "2024-01-15T10:40:00Z"}]})")) ==
        Progress::complete);
    CHECK(reading.rows().size() == 1);
}

TEST_CASE("a conversation that the server does not have has no rows") {
    Reading reading{{record("=abc")}, ReadWay::conversation, 0};
    CHECK(reading.take(reply(200, R"({"count": 0, "next": null, "results": []})")) ==
          Progress::complete);
    CHECK(reading.rows().empty());
}

TEST_CASE("a look-up that was not filtered proves nothing") {
    Reading reading{{record("=abc")}, ReadWay::conversation, 0};
    CHECK(reading.take(reply(200, R"({"count": 1, "next": null, "results": [)"
                                  R"({"id": 41, "conversation_id": "other"}]})")) ==
          Progress::trouble);
}

TEST_CASE("a database id is read without a look-up") {
    Reading reading{{record("#42")}, ReadWay::conversation, 0};
    CHECK(reading.request().target == "/api/conversations/42/");
    CHECK(reading.take(reply(404, R"({"detail": "Not found."})")) == Progress::unreadable);
}

TEST_CASE("answers that are no rows") {
    const auto take = [](core::Evidence evidence) {
        Reading reading{{record("=abc")}, ReadWay::list, 0};
        return reading.take(evidence);
    };
    CHECK(take(reply(404, "<html>", false)) == Progress::other_way);
    CHECK(take(reply(405, R"({"detail": "no"})")) == Progress::other_way);
    CHECK(take(reply(501, "")) == Progress::other_way);
    CHECK(take(reply(403, R"({"detail": "no"})")) == Progress::unreadable);
    CHECK(take(reply(401, R"({"detail": "no"})")) == Progress::trouble);
    CHECK(take(reply(404, R"({"detail": "no"})")) == Progress::unreadable);
    CHECK(take(reply(500, "")) == Progress::trouble);
    CHECK(take(reply(200, "<html>", false)) == Progress::trouble);
    CHECK(take(reply(200, R"({"welcome": "to our hotel"})")) == Progress::trouble);
    CHECK(take(reply(200, R"({"count": 1, "next": null, "results": [{"id": 1}]})")) ==
          Progress::trouble);  // a row without its time
    core::Evidence dateless = reply(200, list({}, false));
    dateless.date.reset();
    CHECK(take(dateless) == Progress::trouble);
}

TEST_CASE("a promised page that is gone is no end of the list") {
    Reading reading{{record("=abc")}, ReadWay::list, 0};
    CHECK(reading.take(reply(200, list({row(9, date, "abc")}, true))) == Progress::again);
    CHECK(reading.take(reply(404, R"({"detail": "Invalid page."})")) == Progress::trouble);
}

}  // namespace
}  // namespace agentsight::delivery
