#include "delivery/reading.hpp"

#include <algorithm>

#include "delivery/reconcile.hpp"

namespace agentsight::delivery {

namespace {

/// Rows may be listed a little out of order: read on until this much older than needed.
constexpr std::int64_t overlap_ms = 60'000;

/// The list must show of which conversation a row is, because an unknown filter is ignored
/// and then the list is of everything.
bool shows_its_conversation(const core::ServerRow& row, const core::ConversationKey& key) {
    return key.is_number() ? row.conversation.has_value() : row.conversation_id.has_value();
}

}  // namespace

Reading::Reading(std::vector<outbox::ClaimedRecord> records, ReadWay way, core::UtcMs lists_since)
    : records_(std::move(records)), way_(way), lists_since_(lists_since) {
    if (conversation().is_number()) {
        database_id_ = std::string{conversation().name()};
    }
}

const core::ConversationKey& Reading::conversation() const {
    return records_.front().feedback.conversation;
}

core::HttpRequest Reading::request() const {
    if (way_ == ReadWay::list) {
        return core::list_feedbacks_request(conversation(), lists_since_, page_, page_size_);
    }
    return database_id_.empty() ? core::find_conversation_request(conversation().name())
                                : core::conversation_request(database_id_);
}

Reading::Progress Reading::take(const core::Evidence& evidence) {
    outcome_ = classify_read(evidence);
    if (outcome_.what != ReadClass::readable) {
        return take_failure(evidence);
    }
    if (!note_times(evidence)) {
        return foreign("the answer has no Date");
    }
    if (way_ == ReadWay::list) {
        return take_page(evidence);
    }
    return database_id_.empty() ? take_found(evidence) : take_conversation(evidence);
}

/// The first answer sets the clocks of the whole reading: later pages only add rows.
bool Reading::note_times(const core::Evidence& evidence) {
    if (!evidence.date) {
        return false;
    }
    if (!date_) {
        date_ = evidence.date;
        asked_ = evidence.began;
        answered_ = evidence.ended;
    }
    return true;
}

Reading::Progress Reading::foreign(const char* why) {
    outcome_.what = ReadClass::foreign;
    outcome_.detail = why;
    return Progress::trouble;
}

Reading::Progress Reading::take_failure(const core::Evidence&) {
    switch (outcome_.what) {
        case ReadClass::route_lost:
            return Progress::other_way;
        case ReadClass::too_large:
            return ask_for_less();
        case ReadClass::not_found:
            // A page that was promised and is gone: rows moved while we read.
            return way_ == ReadWay::list && page_ > 1 ? Progress::trouble : Progress::unreadable;
        case ReadClass::refused:
            return Progress::unreadable;
        default:
            return Progress::trouble;
    }
}

Reading::Progress Reading::ask_for_less() {
    if (way_ != ReadWay::list) {
        return Progress::unreadable;
    }
    if (page_size_ <= smallest_page) {
        return Progress::other_way;
    }
    // Pages of another size are other pages: begin again, what was read stays known.
    page_size_ = std::max(page_size_ / 5, smallest_page);
    page_ = 1;
    last_created_.reset();
    return Progress::again;
}

std::optional<core::UtcMs> Reading::oldest_window() const {
    std::optional<core::UtcMs> oldest;
    for (const outbox::ClaimedRecord& record : records_) {
        const auto start = window_start(record, answered_, *date_);
        if (start && (!oldest || *start < *oldest)) {
            oldest = start;
        }
    }
    return oldest;
}

Reading::Progress Reading::take_page(const core::Evidence& evidence) {
    const auto page = core::parse_feedback_list(evidence.body);
    if (!page) {
        return foreign("the list is not the API's");
    }
    bool any_new = false;
    for (const core::ServerRow& row : page->rows) {
        if (!row.created_at) {
            return foreign("a row shows no time");
        }
        if (last_created_ && *row.created_at > *last_created_) {
            newest_first_ = false;
        }
        last_created_ = row.created_at;
        if (!row.may_be_of(conversation())) {
            any_new = true;
            continue;
        }
        if (!shows_its_conversation(row, conversation())) {
            return Progress::other_way;
        }
        if (ids_.insert(row.id).second) {
            rows_.push_back(row);
            any_new = true;
        }
    }
    const auto oldest = oldest_window();
    const bool past_the_window =
        newest_first_ && last_created_ && oldest && *last_created_ < *oldest - overlap_ms;
    if (!page->more || past_the_window) {
        return Progress::complete;
    }
    ++pages_read_;
    if (!any_new || pages_read_ >= max_pages) {
        return Progress::other_way;  // a filter or the page number is ignored: no end
    }
    ++page_;
    return Progress::again;
}

Reading::Progress Reading::take_found(const core::Evidence& evidence) {
    auto found = core::parse_found_conversation(evidence.body, conversation().name());
    if (!found) {
        return foreign("the conversation could not be looked up");
    }
    if (found->empty()) {
        return Progress::complete;  // no conversation, no rows
    }
    database_id_ = std::move(*found);
    return Progress::again;
}

Reading::Progress Reading::take_conversation(const core::Evidence& evidence) {
    auto rows = core::parse_conversation(evidence.body);
    if (!rows) {
        return foreign("the conversation is not the API's");
    }
    for (core::ServerRow& row : rows->rows) {
        if (!row.created_at) {
            return foreign("a row shows no time");
        }
        if (row.may_be_of(conversation()) && ids_.insert(row.id).second) {
            rows_.push_back(std::move(row));
        }
    }
    return Progress::complete;
}

}  // namespace agentsight::delivery
