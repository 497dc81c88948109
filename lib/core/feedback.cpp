#include "core/feedback.hpp"

#include <utility>

#include "core/metadata.hpp"
#include "core/text.hpp"

namespace agentsight::core {

namespace {

constexpr std::size_t max_id_code_points = 255;
constexpr std::size_t max_comment_code_points = 5000;

bool has_nul(std::string_view text) {
    return text.find('\0') != std::string_view::npos;
}

std::error_code validate_business_id(std::string_view id) {
    if (id.empty()) {
        return errc::id_empty;
    }
    if (strip(id).empty()) {
        return errc::id_blank;
    }
    const auto length = count_code_points(id);
    if (!length) {
        return errc::id_not_utf8;
    }
    if (*length > max_id_code_points) {
        return errc::id_too_long;
    }
    if (has_nul(id)) {
        return errc::id_has_nul;
    }
    return {};
}

std::error_code validate_conversation(const ConversationRef& conversation) {
    if (!conversation.is_number()) {
        return validate_business_id(conversation.text());
    }
    return conversation.number() == 0 ? make_error_code(errc::id_not_positive) : std::error_code{};
}

std::error_code validate_comment(std::string_view comment) {
    const auto length = count_code_points(comment);
    if (!length) {
        return errc::comment_not_utf8;
    }
    if (*length > max_comment_code_points) {
        return errc::comment_too_long;
    }
    if (has_nul(comment)) {
        return errc::comment_has_nul;
    }
    return {};
}

ConversationKey key_of(const ConversationRef& conversation) {
    if (conversation.is_number()) {
        return {"#" + std::to_string(conversation.number())};
    }
    std::string value{"="};
    value.append(conversation.text());
    return {std::move(value)};
}

}  // namespace

std::error_code validate(const FeedbackInput& input, const ValidationLimits& limits,
                         Feedback& feedback) {
    if (const auto problem = validate_conversation(input.conversation)) {
        return problem;
    }
    const auto sentiment = parse_sentiment(input.sentiment.text());
    if (!sentiment) {
        return errc::sentiment_invalid;
    }
    const std::string_view comment = input.comment.value_or(std::string_view{});
    if (const auto problem = validate_comment(comment)) {
        return problem;
    }
    if (input.metadata_problem) {
        return input.metadata_problem;
    }
    std::string metadata;
    if (const auto problem =
            compact_metadata(input.metadata_json, limits.max_metadata_bytes, metadata)) {
        return problem;
    }
    feedback = {key_of(input.conversation), *sentiment, std::string{comment}, std::move(metadata)};
    return {};
}

std::string validation_message(std::error_code code, const ValidationLimits& limits) {
    if (!is_validation_error(code)) {
        return code.message();
    }
    const auto at_most = [](std::string_view field, std::size_t count, std::string_view unit) {
        return joined({field, " must have at most ", std::to_string(count), " ", unit});
    };
    switch (static_cast<errc>(code.value())) {
        case errc::id_empty:
            return "conversation_id must not be empty";
        case errc::id_not_positive:
            return "conversation (the database id) must be at least 1";
        case errc::id_blank:
            return "conversation_id must not be only white space";
        case errc::id_too_long:
            return at_most("conversation_id", max_id_code_points, "characters (code points)");
        case errc::id_not_utf8:
            return "conversation_id must be UTF-8";
        case errc::id_has_nul:
            return "conversation_id must not contain NUL";
        case errc::sentiment_invalid:
            return "sentiment must be one of positive, neutral, negative (lower case)";
        case errc::comment_too_long:
            return at_most("comment", max_comment_code_points, "characters (code points)");
        case errc::comment_not_utf8:
            return "comment must be UTF-8";
        case errc::comment_has_nul:
            return "comment must not contain NUL";
        case errc::metadata_not_object:
            return "metadata must be a JSON object";
        case errc::metadata_not_utf8:
            return "metadata must be UTF-8 throughout";
        case errc::metadata_not_finite:
            return "metadata must not contain NaN or an infinite number";
        case errc::metadata_too_deep:
            return at_most("metadata", max_metadata_levels, "levels");
        case errc::metadata_too_large:
            return at_most("metadata", limits.max_metadata_bytes, "bytes as JSON text");
        case errc::metadata_not_json:
            return "metadata must be JSON text (RFC 8259, no unpaired surrogates)";
        case errc::metadata_duplicate_name:
            return "metadata must not name a member twice in one object";
        case errc::metadata_integer_out_of_range:
            return "metadata must not contain a number out of range (integers are -2^63 to "
                   "2^64-1, others those of a double)";
        case errc::record_id_invalid:
            return "the record's id must be a UUID of 36 characters";
        default:
            return "the feedback breaks a rule this version does not know";
    }
}

std::optional<Sentiment> parse_sentiment(std::string_view name) {
    for (const Sentiment sentiment :
         {Sentiment::positive, Sentiment::neutral, Sentiment::negative}) {
        if (name == to_string(sentiment)) {
            return sentiment;
        }
    }
    return std::nullopt;
}

}  // namespace agentsight::core
