#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "agentsight/outbox.hpp"
#include "json_line.hpp"

namespace agentsight::tool {

/// A line that breaks a rule; the message repeats nothing of it.
class BadLine : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// One feedback as a line of JSON has it: what `submit` takes, and what `export` writes. Owns
/// what the views of a Feedback point to. Throws BadLine.
class ImportLine {
  public:
    explicit ImportLine(std::string_view text);

    bool has_id() const { return id_.has_value(); }
    /// `export` wrote it of a record that is done with: stored again, it would be sent again.
    bool is_done_with() const { return state_ == "delivered" || state_ == "discarded"; }
    bool is_dead() const { return state_ == "dead"; }
    bool may_have_arrived() const { return state_ == "unknown" || state_ == "claimed"; }

    /// Valid as long as the line stays where it is.
    ImportedFeedback feedback() const;

  private:
    /// A member that is taken, unless it is null.
    struct Field {
        std::string_view name;
        void (ImportLine::*take)(const JsonMember&);
    };
    static const std::array<Field, 12> fields;

    void take_id(const JsonMember& member);
    void take_conversation_id(const JsonMember& member);
    void take_sentiment(const JsonMember& member);
    void take_comment(const JsonMember& member);
    void take_metadata(const JsonMember& member);
    void take_credential(const JsonMember& member);
    void take_state(const JsonMember& member);
    void take_conversation(const JsonMember& member);
    void take_time(const JsonMember& member);
    void take_attempts(const JsonMember& member);
    void take_last_error(const JsonMember& member);
    void take_history(const JsonMember& member);

    std::optional<std::string> id_, conversation_id_, sentiment_, comment_;
    std::optional<std::uint64_t> conversation_;
    std::optional<UtcMilliseconds> submitted_at_;
    Credential::Kind credential_ = Credential::Kind::none;
    std::string metadata_, state_;
    int attempts_ = 0;
    std::optional<int> last_status_;
    std::optional<std::string> last_error_;
    std::vector<Attempt> history_;
};

}  // namespace agentsight::tool
