#pragma once

#include <string>
#include <system_error>

#include "agentsight/export.hpp"

namespace agentsight {

/// What went wrong, each about what the caller can do. Values are stable.
enum class errc {
    // The feedback breaks a rule: nothing was written; change it and submit again.
    id_empty = 100,
    id_not_positive,
    id_blank,
    id_too_long,
    id_not_utf8,
    id_has_nul,
    sentiment_invalid,
    comment_too_long,
    comment_not_utf8,
    comment_has_nul,
    metadata_not_object,
    metadata_not_utf8,
    metadata_not_finite,
    metadata_too_deep,
    metadata_too_large,
    metadata_not_json,
    metadata_duplicate_name,
    metadata_integer_out_of_range,
    record_id_invalid,
    // The call is wrong.
    invalid_option = 200,  ///< an option's value breaks its rule; the message names the option
    id_conflict,           ///< this id names a record with other content
    not_found,             ///< no record, or no conversation, of this id
    refused_state,         ///< the record's state does not allow this
    closed,                ///< the manager has been closed
    forked,                ///< a handle opened before fork(2) was used in the child
    already_open,          ///< reserved
    // The outbox cannot take it now: nothing already accepted is lost.
    outbox_full = 300,  ///< `max_records` or `max_bytes` reached
    disk_full,          ///< no space, or a quota
    busy,               ///< a lock was not free, or a queue had no room, within its bound
    io_error,           ///< the storage failed; submit again with the same id
    out_of_memory,
    // The file cannot be used as an outbox, and was left untouched.
    read_only = 400,
    unsafe_path,  ///< a folder or file owned or writable by others, a link, not a regular file
    network_file_system,  ///< see Options::allow_network_file_system
    foreign_file,         ///< a database of another application
    newer_schema,         ///< written by a newer version of this library
    damaged,              ///< not readable as a database
    no_such_file,
    // Online calls (Client).
    no_credential = 500,
    network,       ///< no answer: link, name, TLS, time
    unauthorized,  ///< 401
    forbidden,     ///< 403
    api,           ///< any other refusal; see Error::http_status
};

AGENTSIGHT_API const std::error_category& error_category() noexcept;

inline std::error_code make_error_code(errc code) noexcept {
    return {static_cast<int>(code), error_category()};
}

/// True for the codes that say the feedback itself breaks a rule.
inline bool is_validation_error(const std::error_code& code) noexcept {
    return code.category() == error_category() && code.value() >= 100 && code.value() < 200;
}

/// What the throwing overloads throw. `what()` names the field and the rule, or
/// what was being done, to what, and what to do next; it never holds the
/// feedback's text or a credential.
class AGENTSIGHT_API Error : public std::system_error {
  public:
    Error(errc code, const std::string& message, std::string record_id = {});
    ~Error() override;

    /// The message alone; the code's own sentence where the message is empty.
    const char* what() const noexcept override;

    /// The record's id where one had been given or made: submitting again with
    /// this id can never store the feedback twice. Else empty.
    const std::string& id() const noexcept { return id_; }

    /// The server's status and body (at most 64 KiB) for `unauthorized`,
    /// `forbidden`, `not_found` and `api`; else 0 and empty.
    int http_status() const noexcept { return http_status_; }
    const std::string& response() const noexcept { return response_; }
    Error& with_response(int http_status, std::string body);

  private:
    std::string message_;
    std::string id_;
    std::string response_;
    int http_status_ = 0;
};

}  // namespace agentsight

template <>
struct std::is_error_code_enum<agentsight::errc> : std::true_type {};
