#include "agentsight/error.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <ostream>
#include <set>
#include <string>

#include "agentsight/events.hpp"
#include "agentsight/feedback.hpp"

using namespace agentsight;

namespace {

constexpr int ranges[][2] = {
    {static_cast<int>(errc::id_empty), static_cast<int>(errc::record_id_invalid)},
    {static_cast<int>(errc::invalid_option), static_cast<int>(errc::already_open)},
    {static_cast<int>(errc::outbox_full), static_cast<int>(errc::out_of_memory)},
    {static_cast<int>(errc::read_only), static_cast<int>(errc::no_such_file)},
    {static_cast<int>(errc::no_credential), static_cast<int>(errc::api)},
};

}  // namespace

TEST_CASE("every code says something of its own") {
    std::set<std::string> sentences;
    std::size_t count = 0;
    for (const auto& range : ranges) {
        for (int value = range[0]; value <= range[1]; ++value) {
            const std::error_code code = static_cast<errc>(value);
            CAPTURE(value);
            CHECK(code.message() != "unknown error");
            sentences.insert(code.message());
            ++count;
        }
    }
    CHECK(sentences.size() == count);
    CHECK(std::error_code{99, error_category()}.message() == "unknown error");
    CHECK_FALSE(std::error_code{150, error_category()}.message().empty());
}

TEST_CASE("the numbers of the codes are stable") {
    CHECK(static_cast<int>(errc::record_id_invalid) == 118);
    CHECK(static_cast<int>(errc::already_open) == 206);
    CHECK(static_cast<int>(errc::out_of_memory) == 304);
    CHECK(static_cast<int>(errc::no_such_file) == 406);
    CHECK(static_cast<int>(errc::api) == 504);
}

TEST_CASE("codes compare with the system's where these say the same") {
    CHECK(std::error_code{errc::disk_full} == std::errc::no_space_on_device);
    CHECK(std::error_code{errc::no_such_file} == std::errc::no_such_file_or_directory);
    CHECK(std::error_code{errc::out_of_memory} == std::errc::not_enough_memory);
    CHECK_FALSE(std::error_code{errc::id_empty} == std::errc::invalid_argument);
    CHECK(std::error_code{errc::id_empty} == errc::id_empty);
    CHECK(std::strcmp(error_category().name(), "agentsight") == 0);
    CHECK(is_validation_error(errc::comment_too_long));
    CHECK_FALSE(is_validation_error(errc::busy));
    CHECK_FALSE(is_validation_error(std::make_error_code(static_cast<std::errc>(100))));
}

TEST_CASE("an error carries its words, the record's id and the server's answer") {
    Error error{errc::busy, "feedback.db: locked by another process; try again", "some-id"};
    CHECK(error.code() == errc::busy);
    CHECK(std::string{error.what()} == "feedback.db: locked by another process; try again");
    CHECK(error.id() == "some-id");
    CHECK(error.http_status() == 0);
    CHECK(error.response().empty());
    error.with_response(403, std::string(100'000, 'x'));
    CHECK(error.http_status() == 403);
    CHECK(error.response().size() == 64 * 1024);

    const Error copy = error;
    CHECK(std::string{copy.what()} == error.what());
    CHECK(std::string{Error{errc::id_blank, ""}.what()} ==
          make_error_code(errc::id_blank).message());
    try {
        throw Error{errc::forked, "m"};
    } catch (const std::system_error& caught) {
        CHECK(caught.code() == errc::forked);
    }
}

TEST_CASE("names are those of the documentation") {
    CHECK(to_string(Sentiment::positive) == "positive");
    CHECK(to_string(Sentiment::neutral) == "neutral");
    CHECK(to_string(Sentiment::negative) == "negative");
    CHECK(to_string(static_cast<Sentiment>(9)).empty());
    CHECK(to_string(RecordState::waiting) == "waiting");
    CHECK(to_string(RecordState::claimed) == "claimed");
    CHECK(to_string(RecordState::delivered) == "delivered");
    CHECK(to_string(RecordState::unknown) == "unknown");
    CHECK(to_string(RecordState::dead) == "dead");
    CHECK(to_string(RecordState::discarded) == "discarded");
    CHECK(to_string(HoldReason::person) == "person");
    CHECK(to_string(HoldReason::no_credential) == "no_credential");
    CHECK(to_string(HoldReason::credential_refused) == "credential_refused");
    CHECK(to_string(HoldReason::account_unpaid) == "account_unpaid");
    CHECK(to_string(HoldReason::link_down) == "link_down");
    CHECK(to_string(HoldReason::throttled) == "throttled");
    CHECK(to_string(HoldReason::route_lost) == "route_lost");
    CHECK(to_string(HoldReason::endpoint) == "endpoint");
    CHECK(to_string(HoldReason::proxy) == "proxy");
    CHECK(to_string(HoldReason::refusals) == "refusals");
    CHECK(to_string(HoldReason::outage) == "outage");
}
