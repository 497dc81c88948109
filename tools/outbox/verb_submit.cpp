#include <memory>
#include <stdexcept>

#include "output.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

struct SubmitFlags {
    TextFlag conversation_id, conversation, sentiment, comment, metadata, id;
};

/// The flag that gave what breaks the rule.
std::string flag_of(const std::error_code& code, const SubmitFlags& flags) {
    if (code == errc::record_id_invalid) {
        return "--id";
    }
    if (code == errc::sentiment_invalid) {
        return "--sentiment";
    }
    if (code == errc::comment_too_long || code == errc::comment_not_utf8 ||
        code == errc::comment_has_nul) {
        return "--comment";
    }
    const bool is_id = code.value() <= static_cast<int>(errc::id_has_nul);
    return !is_id                       ? "--metadata"
           : flags.conversation.given() ? "--conversation"
                                        : "--conversation-id";
}

/// Before the outbox is opened, which would make it where it is missing.
void check(const Feedback& feedback, const SubmitFlags& flags) {
    try {
        Outbox::validate(feedback);
    } catch (const Error& error) {
        throw UsageError(flag_of(error.code(), flags) + ": " + error.what());
    }
}

/// Whoever cannot read the id might submit the same again: then the failure names it.
void tell(const Common& common, const Receipt& receipt) {
    try {
        if (common.json) {
            Json json;
            json["id"] = receipt.id;
            json["stored"] = receipt.stored;
            print_json(json);
        } else {
            print_line(receipt.id);
        }
        flush_output();
    } catch (const std::exception& error) {
        throw std::runtime_error("the feedback is stored, as " + receipt.id + "; but " +
                                 error.what());
    }
}

ExitCode submit(const Common& common, const SubmitFlags& flags) {
    if (!flags.conversation_id.given() && !flags.conversation.given()) {
        throw UsageError("--conversation-id or --conversation is required");
    }
    const ConversationRef conversation =
        flags.conversation.given() ? ConversationRef(parse_database_id(flags.conversation.text))
                                   : ConversationRef(flags.conversation_id.text);
    flags.id.refuse_empty();
    flags.metadata.refuse_empty();
    Feedback feedback{conversation, flags.sentiment.text};
    if (flags.comment.given()) {
        feedback.comment = flags.comment.text;
    }
    feedback.metadata_json = flags.metadata.text;
    feedback.id = flags.id.text;

    check(feedback, flags);
    Outbox outbox(common.path(), OutboxMode::create, telling_options());
    const Receipt receipt = outbox.submit(feedback);
    tell(common, receipt);
    if (!receipt.stored && !common.json) {
        complain("this record was there already; nothing was stored twice");
    }
    return ExitCode::done;
}

}  // namespace

void add_submit(CLI::App& app, Invocation& invocation) {
    CLI::App* verb = add_verb(app, invocation, "submit",
                              "Commit one feedback; it is sent by whoever drains. Prints its id",
                              "submit --conversation-id support-session-456 --sentiment positive "
                              "--comment 'Excellent service!' --metadata '{\"rating\": 5}'");
    auto flags = std::make_shared<SubmitFlags>();
    CLI::Option* text = add_text_flag(*verb, flags->conversation_id, "--conversation-id",
                                      "The conversation's business id", "TEXT");
    add_text_flag(*verb, flags->conversation, "--conversation", "The conversation's database id",
                  "N")
        ->excludes(text);
    add_text_flag(*verb, flags->sentiment, "--sentiment", "positive, neutral or negative", "S")
        ->required();
    add_text_flag(*verb, flags->comment, "--comment", "At most 5000 code points", "TEXT");
    add_text_flag(*verb, flags->metadata, "--metadata", "A JSON object", "JSON");
    add_text_flag(*verb, flags->id, "--id",
                  "The record's id: submitting again with it stores nothing twice", "UUID");
    verb->callback([&invocation, flags] {
        invocation.run = [&invocation, flags] { return submit(invocation.common, *flags); };
    });
}

}  // namespace agentsight::tool
