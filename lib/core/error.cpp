#include "agentsight/error.hpp"

#include <cstddef>
#include <new>
#include <utility>

#include "agentsight/events.hpp"
#include "agentsight/feedback.hpp"
#include "core/feedback.hpp"
#include "core/throw_error.hpp"

namespace agentsight {

namespace {

/// The part that does not know what was being done, nor to what; Error's message does.
const char* sentence(errc code) noexcept {
    switch (code) {
        case errc::invalid_option:
            return "an option has a value that breaks its rule";
        case errc::id_conflict:
            return "this id names a record with other content";
        case errc::not_found:
            return "there is nothing of this id";
        case errc::refused_state:
            return "the record's state does not allow this";
        case errc::closed:
            return "the manager has been closed";
        case errc::forked:
            return "opened before fork(): the child must open its own";
        case errc::already_open:
            return "already open";
        case errc::outbox_full:
            return "the outbox is full: max_records or max_bytes is reached";
        case errc::disk_full:
            return "no space is left for the outbox";
        case errc::busy:
            return "busy: a lock or a queue was not free in time; try again";
        case errc::io_error:
            return "the storage failed; submit again with the same id";
        case errc::out_of_memory:
            return "out of memory";
        case errc::read_only:
            return "the outbox cannot be written";
        case errc::unsafe_path:
            return "the path is not safe for an outbox: others own it or may write it, or it is "
                   "not a regular file";
        case errc::network_file_system:
            return "a network file system; see Options::allow_network_file_system";
        case errc::foreign_file:
            return "a database of another application";
        case errc::newer_schema:
            return "written by a newer version of this library";
        case errc::damaged:
            return "the file is damaged";
        case errc::no_such_file:
            return "there is no such file";
        case errc::no_credential:
            return "no credential is set";
        case errc::network:
            return "the server did not answer";
        case errc::unauthorized:
            return "the server refused the credential";
        case errc::forbidden:
            return "the server forbids this to the credential";
        case errc::api:
            return "the server refused the request";
        default:
            return "unknown error";
    }
}

class Category final : public std::error_category {
  public:
    const char* name() const noexcept override { return "agentsight"; }

    std::string message(int value) const override {
        const std::error_code code{value, *this};
        if (is_validation_error(code)) {
            return core::validation_message(code);
        }
        return sentence(static_cast<errc>(value));
    }

    std::error_condition default_error_condition(int value) const noexcept override {
        switch (static_cast<errc>(value)) {
            case errc::disk_full:
                return std::errc::no_space_on_device;
            case errc::busy:
                return std::errc::device_or_resource_busy;
            case errc::io_error:
                return std::errc::io_error;
            case errc::out_of_memory:
                return std::errc::not_enough_memory;
            case errc::read_only:
                return std::errc::read_only_file_system;
            case errc::no_such_file:
                return std::errc::no_such_file_or_directory;
            default:
                return {value, *this};
        }
    }
};

}  // namespace

const std::error_category& error_category() noexcept {
    // Never destroyed: codes are compared in the destructors of other globals too. Nor allocated:
    // the first error may be that there is no memory.
    alignas(Category) static std::byte place[sizeof(Category)];
    static const Category* const category = new (place) Category;
    return *category;
}

Error::Error(errc code, const std::string& message, std::string record_id)
    : std::system_error(make_error_code(code)),
      message_(message.empty() ? this->code().message() : message),
      id_(std::move(record_id)) {}

Error::~Error() = default;

const char* Error::what() const noexcept {
    return message_.c_str();
}

Error& Error::with_response(int http_status, std::string body) {
    constexpr std::size_t max_response_bytes = 64 * 1024;
    if (body.size() > max_response_bytes) {
        body.resize(max_response_bytes);
    }
    http_status_ = http_status;
    response_ = std::move(body);
    return *this;
}

void core::throw_error(errc code, std::string_view message, std::string_view record_id) {
    throw Error(code, std::string{message}, std::string{record_id});
}

std::string_view to_string(Sentiment sentiment) noexcept {
    switch (sentiment) {
        case Sentiment::positive:
            return "positive";
        case Sentiment::neutral:
            return "neutral";
        case Sentiment::negative:
            return "negative";
    }
    return "";  // A number cast to the enum: validation refuses it.
}

std::string_view to_string(RecordState state) noexcept {
    switch (state) {
        case RecordState::waiting:
            return "waiting";
        case RecordState::claimed:
            return "claimed";
        case RecordState::delivered:
            return "delivered";
        case RecordState::unknown:
            return "unknown";
        case RecordState::dead:
            return "dead";
        case RecordState::discarded:
            return "discarded";
    }
    return "";
}

std::string_view to_string(HoldReason reason) noexcept {
    switch (reason) {
        case HoldReason::person:
            return "person";
        case HoldReason::no_credential:
            return "no_credential";
        case HoldReason::credential_refused:
            return "credential_refused";
        case HoldReason::account_unpaid:
            return "account_unpaid";
        case HoldReason::link_down:
            return "link_down";
        case HoldReason::throttled:
            return "throttled";
        case HoldReason::route_lost:
            return "route_lost";
        case HoldReason::endpoint:
            return "endpoint";
        case HoldReason::proxy:
            return "proxy";
        case HoldReason::refusals:
            return "refusals";
        case HoldReason::outage:
            return "outage";
    }
    return "";
}

}  // namespace agentsight
