#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/exchange.hpp"
#include "core/wire.hpp"
#include "delivery/outcome.hpp"
#include "outbox/record.hpp"

namespace agentsight::delivery {

/// How the server's rows of one conversation are read: the newer API lists feedbacks, both
/// generations show a conversation with its feedbacks.
enum class ReadWay { list, conversation };

/// One reading of one conversation's rows, page by page, for its unknown records.
/// Sans I/O: request() says what to ask next, take() digests the answer.
class Reading {
  public:
    /// `records`: unknown ones of the conversation, at least one, in the order submitted; which
    /// of several equal ones finds a row does not matter. `lists_since`: a lower bound for the
    /// server's own filter, which only saves pages; 0: none.
    Reading(std::vector<outbox::ClaimedRecord> records, ReadWay way, core::UtcMs lists_since);

    core::HttpRequest request() const;

    enum class Progress {
        again,       ///< ask request()
        complete,    ///< every row that could be ours has been seen
        other_way,   ///< not this way: way() says which was tried, begin again the other way
        unreadable,  ///< the server does not let us read, this way or at all
        trouble,     ///< nothing learnt, see outcome(): try again later
    };
    Progress take(const core::Evidence& evidence);

    /// What the last answer was, where it was not rows.
    const ReadOutcome& outcome() const { return outcome_; }
    ReadWay way() const { return way_; }
    const core::ConversationKey& conversation() const;
    const std::vector<outbox::ClaimedRecord>& records() const { return records_; }

    // Once complete.
    const std::vector<core::ServerRow>& rows() const { return rows_; }
    core::UtcMs date() const { return date_.value_or(0); }
    const core::Moment& asked() const { return asked_; }
    const core::Moment& answered() const { return answered_; }

    static constexpr int max_pages = 50;
    /// The longest comment, all of it written as \uXXXX, fits into an answer of 64 KiB once.
    static constexpr int smallest_page = 1;

  private:
    Progress take_page(const core::Evidence& evidence);
    Progress take_found(const core::Evidence& evidence);
    Progress take_conversation(const core::Evidence& evidence);
    Progress take_failure(const core::Evidence& evidence);
    Progress ask_for_less();
    Progress foreign(const char* why);
    bool note_times(const core::Evidence& evidence);
    std::optional<core::UtcMs> oldest_window() const;

    std::vector<outbox::ClaimedRecord> records_;
    ReadWay way_;
    core::UtcMs lists_since_;
    ReadOutcome outcome_;
    std::vector<core::ServerRow> rows_;
    std::set<std::string> ids_;
    std::string database_id_;  ///< of the conversation, once found
    std::optional<core::UtcMs> date_;
    core::Moment asked_;
    core::Moment answered_;
    std::optional<core::UtcMs> last_created_;
    bool newest_first_ = true;
    int page_ = 1;
    int pages_read_ = 0;
    int page_size_ = 100;
};

}  // namespace agentsight::delivery
