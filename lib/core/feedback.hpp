#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "agentsight/error.hpp"
#include "agentsight/feedback.hpp"

namespace agentsight::core {

/// A conversation's name as the outbox keeps it: '=' and the business id, or '#' and the
/// database id in decimal digits. A text id and a database id never compare equal.
struct ConversationKey {
    std::string value;

    auto operator<=>(const ConversationKey&) const = default;
    bool is_number() const { return !value.empty() && value.front() == '#'; }
    std::string_view name() const { return std::string_view{value}.substr(value.empty() ? 0 : 1); }
};

/// A feedback that passed every rule, or came from the outbox.
struct Feedback {
    ConversationKey conversation;
    Sentiment sentiment = Sentiment::neutral;
    std::string comment;   ///< exactly as given; empty: none
    std::string metadata;  ///< JSON object as compact text; empty: none

    bool operator==(const Feedback&) const = default;
};

struct ValidationLimits {
    std::size_t max_metadata_bytes = 256 * 1024;
};

/// What a caller gave, still unchecked. `metadata_problem` is what the inline part of
/// the public header found before the JSON became text.
struct FeedbackInput {
    ConversationRef conversation;
    SentimentRef sentiment;
    std::optional<std::string_view> comment;
    std::string_view metadata_json;
    std::error_code metadata_problem;
};

/// Checks every rule of the documentation in the order id, sentiment, comment, metadata.
/// On the first broken rule returns its code and leaves `feedback` alone. Metadata text
/// is parsed (names twice, integers out of range, depth, size) and written compactly.
std::error_code validate(const FeedbackInput& input, const ValidationLimits& limits,
                         Feedback& feedback);

/// The sentence for a validation code: names the field and the rule, never the text.
std::string validation_message(std::error_code code, const ValidationLimits& limits = {});

/// Parses one of the three exact names.
std::optional<Sentiment> parse_sentiment(std::string_view name);

}  // namespace agentsight::core
