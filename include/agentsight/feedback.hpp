#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "agentsight/export.hpp"

namespace agentsight {

enum class Sentiment { positive, neutral, negative };

/// "positive", "neutral" or "negative".
AGENTSIGHT_API std::string_view to_string(Sentiment sentiment) noexcept;

/// Names the conversation a feedback is about: text is the business id, an
/// integer is the database id ("42" stays a business id). A view: it must not
/// outlive the text it was made from; submitting copies.
class ConversationRef {
  public:
    ConversationRef(std::string_view business_id) noexcept : text_(business_id) {}
    ConversationRef(const std::string& business_id) noexcept : text_(business_id) {}
    ConversationRef(const char* business_id) noexcept : text_(business_id ? business_id : "") {}
    template <std::integral T>
    requires(!std::same_as<T, bool> && !std::same_as<T, char> && !std::same_as<T, wchar_t> &&
             !std::same_as<T, char8_t> && !std::same_as<T, char16_t> && !std::same_as<T, char32_t>)
        ConversationRef(T database_id)
    noexcept
        : number_(database_id > 0 ? static_cast<std::uint64_t>(database_id) : 0),
          is_number_(true) {}

    bool is_number() const noexcept { return is_number_; }
    std::string_view text() const noexcept { return text_; }
    /// 0 stands for every integer that is not positive.
    std::uint64_t number() const noexcept { return number_; }

  private:
    std::string_view text_;
    std::uint64_t number_ = 0;
    bool is_number_ = false;
};

/// A sentiment given as the enum or as its exact, lower-case name. A view.
class SentimentRef {
  public:
    SentimentRef(Sentiment sentiment) noexcept : text_(to_string(sentiment)) {}
    SentimentRef(std::string_view name) noexcept : text_(name) {}
    SentimentRef(const std::string& name) noexcept : text_(name) {}
    SentimentRef(const char* name) noexcept : text_(name ? name : "") {}

    std::string_view text() const noexcept { return text_; }

  private:
    std::string_view text_;
};

/// A comment, or none: whatever an optional text is made of; a null pointer is none. A view.
class CommentRef {
  public:
    CommentRef(std::nullopt_t = std::nullopt) noexcept {}
    CommentRef(const char* text) noexcept {
        if (text) {
            text_ = text;
        }
    }
    template <class T>
    requires(std::convertible_to<const T&, std::optional<std::string_view>> &&
             !std::convertible_to<const T&, const char*>) CommentRef(const T& text)
    noexcept : text_(text) {}

    const std::optional<std::string_view>& text() const noexcept { return text_; }

  private:
    std::optional<std::string_view> text_;
};

/// One feedback whose metadata is JSON text already. A view: submitting copies.
struct Feedback {
    ConversationRef conversation;
    SentimentRef sentiment;
    std::optional<std::string_view> comment = std::nullopt;
    std::string_view metadata_json = {};  ///< empty: none
    std::string_view id = {};             ///< empty: the library makes one
};

/// Where a record stands. Every state may become `delivered` on proof.
enum class RecordState { waiting, claimed, delivered, unknown, dead, discarded };

AGENTSIGHT_API std::string_view to_string(RecordState state) noexcept;

/// What submit returns: the record is on stable storage (Options::durability).
struct Receipt {
    std::string id;      ///< UUID text, the record's name everywhere; UUIDv7 unless the caller's
    bool stored = true;  ///< false: a record of this id and content was there already
};

}  // namespace agentsight
