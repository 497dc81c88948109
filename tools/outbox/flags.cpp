#include "flags.hpp"

#include <array>
#include <charconv>
#include <limits>

#include "agentsight/events.hpp"
#include "credentials.hpp"
#include "output.hpp"
#include "text.hpp"
#include "times.hpp"

namespace agentsight::tool {
namespace {

constexpr std::array<RecordState, 6> states{RecordState::waiting,   RecordState::claimed,
                                            RecordState::delivered, RecordState::unknown,
                                            RecordState::dead,      RecordState::discarded};

RecordState parse_state(const std::string& text) {
    for (const RecordState state : states) {
        if (to_string(state) == text) {
            return state;
        }
    }
    throw UsageError("--state: '" + shortened(text, 40) +
                     "' is none of waiting, claimed, delivered, unknown, dead, discarded");
}

/// What no record can have would be looked for in all of them.
std::string parse_business_id(const std::string& text) {
    try {
        Outbox::validate({ConversationRef(text), "neutral"});
    } catch (const Error& error) {
        throw UsageError("--conversation-id: " + std::string(error.what()));
    }
    return text;
}

}  // namespace

std::filesystem::path Common::path() const {
    if (outbox_flag != nullptr && outbox_flag->count() > 0) {
        if (outbox.empty()) {
            throw UsageError("--outbox: must not be empty; name the outbox's file");
        }
        return outbox;
    }
    const std::string from_environment = environment("AGENTSIGHT_OUTBOX");
    return from_environment.empty() ? Outbox::default_path()
                                    : std::filesystem::path(from_environment);
}

CLI::App* add_verb(CLI::App& app, Invocation& invocation, const std::string& name,
                   const std::string& description, const std::string& example) {
    CLI::App* verb = app.add_subcommand(name, description)->group("Verbs");
    CLI::Option* outbox =
        verb->add_option("--outbox", invocation.common.outbox,
                         "The outbox's file (default: AGENTSIGHT_OUTBOX, else the per-user one)")
            ->type_name("FILE");
    verb->add_flag("--json", invocation.common.json, "Print JSON");
    verb->footer("Example:\n  agentsight-outbox " + example);
    verb->preparse_callback(
        [&invocation, outbox](std::size_t) { invocation.common.outbox_flag = outbox; });
    return verb;
}

void TextFlag::refuse_empty() const {
    if (given() && text.empty()) {
        throw UsageError(flag->get_name() + ": must not be empty");
    }
}

CLI::Option* add_text_flag(CLI::App& verb, TextFlag& flag, const std::string& name,
                           const std::string& description, const std::string& type) {
    flag.flag = verb.add_option(name, flag.text, description)->type_name(type);
    return flag.flag;
}

void FilterFlags::add_to(CLI::App& verb) {
    add_text_flag(verb, state, "--state",
                  "Only waiting, claimed, delivered, unknown, dead or discarded ones", "STATE");
    add_text_flag(verb, conversation_id, "--conversation-id",
                  "Only those of this conversation (business id)", "TEXT");
    add_text_flag(verb, conversation, "--conversation",
                  "Only those of this conversation (database id)", "N")
        ->excludes(conversation_id.flag);
    add_text_flag(verb, since, "--since",
                  "Only those submitted at or after: 2026-08-17T18:52:44Z, 2026-08-17, or 2h",
                  "TIME");
}

bool FilterFlags::given() const {
    return state.given() || conversation_id.given() || conversation.given() || since.given();
}

Filter FilterFlags::filter() const {
    Filter filter;
    if (state.given()) {
        filter.state = parse_state(state.text);
    }
    if (conversation_id.given()) {
        filter.conversation_id = parse_business_id(conversation_id.text);
    }
    if (conversation.given()) {
        filter.conversation = parse_database_id(conversation.text);
    }
    if (since.given()) {
        filter.since = parse_time("--since", since.text);
    }
    return filter;
}

std::string FilterFlags::words() const {
    std::string words = state.given() ? state.text + " records" : "records";
    if (conversation_id.given()) {
        words += " of conversation '" + shortened(conversation_id.text, 40) + "'";
    }
    if (conversation.given()) {
        words += " of conversation #" + conversation.text;
    }
    if (since.given()) {
        words += " since " + since.text;
    }
    return words;
}

void SendingFlags::add_to(CLI::App& verb) {
    add_text_flag(verb, endpoint, "--endpoint",
                  "The API's URL (default: AGENTSIGHT_API_ENDPOINT, else "
                  "https://api.agentsight.io)",
                  "URL");
    add_text_flag(verb, credential_file, "--credential-file",
                  "A file with one line, 'Api-Key KEY' or 'Bearer TOKEN' (default: "
                  "AGENTSIGHT_API_KEY, else AGENTSIGHT_JWT)",
                  "FILE");
}

std::uint64_t parse_number(const std::string& flag, const std::string& text, std::uint64_t least,
                           std::uint64_t most) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool is_whole = error == std::errc{} && end == text.data() + text.size();
    if (!is_whole || number < least || number > most) {
        std::string rule = flag + ": must be a whole number, at least " + std::to_string(least);
        if (most != std::numeric_limits<std::uint64_t>::max()) {
            rule += " and at most " + std::to_string(most);
        }
        throw UsageError(rule);
    }
    return number;
}

Options telling_options() {
    Options options;
    options.observer = [](const Event& event) {
        if (const auto* salvaged = std::get_if<event::Salvaged>(&event)) {
            complain("the outbox was damaged: its file was moved aside, whole, to '" +
                     salvaged->moved_to + "'; " + counted(salvaged->rescued, "record") +
                     " rescued from it");
        }
    };
    return options;
}

void refuse_empty_id(const std::string& id) {
    if (id.empty()) {
        throw UsageError("ID: must not be empty");
    }
}

std::uint64_t parse_database_id(const std::string& text) {
    return parse_number("--conversation", text, 1, std::numeric_limits<std::uint64_t>::max());
}

}  // namespace agentsight::tool
