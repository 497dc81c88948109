#include "c_options.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "agentsight/error.hpp"
#include "core/json_tree.hpp"
#include "core/metadata.hpp"
#include "core/text.hpp"
#include "core/throw_error.hpp"

namespace agentsight {
namespace {

using Json = nlohmann::json;

/// All options, paths and a token included; more is a mistake.
constexpr std::size_t max_options_bytes = 64 * 1024;

[[noreturn]] void refuse(std::string_view name, std::string_view rule) {
    core::throw_error(errc::invalid_option, core::joined({"option ", core::printable(name, 60), " ",
                                                          rule, ": set another value"}));
}

std::string text_of(std::string_view name, const Json& value) {
    if (!value.is_string()) {
        refuse(name, "must be text");
    }
    return value.get<std::string>();
}

bool flag_of(std::string_view name, const Json& value) {
    if (!value.is_boolean()) {
        refuse(name, "must be true or false");
    }
    return value.get<bool>();
}

std::uint64_t count_of(std::string_view name, const Json& value) {
    if (!value.is_number_unsigned()) {
        refuse(name, "must be an integer that is not negative");
    }
    return value.get<std::uint64_t>();
}

/// The range is the constructor's to check; here only what would overflow on the way there.
std::chrono::milliseconds milliseconds_of(std::string_view name, const Json& value) {
    constexpr std::uint64_t longest = std::uint64_t{1} << 40;
    const std::uint64_t count = count_of(name, value);
    if (count > longest) {
        refuse(name, "is too long");
    }
    return std::chrono::milliseconds{static_cast<std::int64_t>(count)};
}

template <class Enum, std::size_t size>
Enum choice_of(std::string_view name, const Json& value,
               const std::array<std::pair<std::string_view, Enum>, size>& choices) {
    std::string names;
    for (const auto& [word, choice] : choices) {
        if (value.is_string() && value.get_ref<const std::string&>() == word) {
            return choice;
        }
        names += core::joined({names.empty() ? "\"" : ", \"", word, "\""});
    }
    refuse(name, "must be one of " + names);
}

constexpr std::array<std::pair<std::string_view, Dialect>, 3> dialects{
    {{"automatic", Dialect::automatic},
     {"conversation_feedbacks", Dialect::conversation_feedbacks},
     {"feedbacks", Dialect::feedbacks}}};
constexpr std::array<std::pair<std::string_view, Durability>, 2> durabilities{
    {{"power_cut", Durability::power_cut}, {"relaxed", Durability::relaxed}}};
constexpr std::array<std::pair<std::string_view, WhenFull>, 2> ways_when_full{
    {{"refuse", WhenFull::refuse}, {"drop_oldest", WhenFull::drop_oldest}}};
constexpr std::array<std::pair<std::string_view, WhenUnknown>, 2> ways_when_unknown{
    {{"resend", WhenUnknown::resend}, {"leave_to_person", WhenUnknown::leave_to_person}}};

template <class Member>
struct Named {
    std::string_view name;
    Member Options::*member;
};

constexpr std::array<Named<std::string>, 3> texts{{
    {"application", &Options::application},
    {"endpoint", &Options::endpoint},
    {"proxy", &Options::proxy},
}};
constexpr std::array<Named<std::filesystem::path>, 4> paths{{
    {"outbox_path", &Options::outbox_path},
    {"ca_file", &Options::ca_file},
    {"client_certificate", &Options::client_certificate},
    {"client_key", &Options::client_key},
}};
constexpr std::array<Named<bool>, 3> flags{{
    {"allow_insecure", &Options::allow_insecure},
    {"stamp_collected_at", &Options::stamp_collected_at},
    {"allow_network_file_system", &Options::allow_network_file_system},
}};
constexpr std::array<Named<std::uint64_t>, 3> counts{{
    {"max_records", &Options::max_records},
    {"max_bytes", &Options::max_bytes},
    {"keep_delivered", &Options::keep_delivered},
}};
constexpr std::array<Named<std::chrono::milliseconds>, 8> durations{{
    {"request_timeout_ms", &Options::request_timeout},
    {"connect_timeout_ms", &Options::connect_timeout},
    {"close_deadline_ms", &Options::close_deadline},
    {"busy_timeout_ms", &Options::busy_timeout},
    {"reconcile_after_ms", &Options::reconcile_after},
    {"not_found_grace_ms", &Options::not_found_grace},
    {"backoff_base_ms", &Options::backoff_base},
    {"backoff_cap_ms", &Options::backoff_cap},
}};

/// Sets the option where the table has its name.
template <class Table, class Read>
bool set_from(const Table& table, Options& options, std::string_view name, const Json& value,
              Read read) {
    for (const auto& entry : table) {
        if (entry.name == name) {
            options.*entry.member = read(name, value);
            return true;
        }
    }
    return false;
}

void set_credential(Options& options, std::string_view name, const Json& value) {
    if (options.credential.kind() != Credential::Kind::none) {
        refuse(name, "must not stand beside the other kind of credential");
    }
    std::string secret = text_of(name, value);
    options.credential =
        name == "jwt" ? Credential{Jwt{std::move(secret)}} : Credential{ApiKey{std::move(secret)}};
}

void set_connections(Options& options, const Json& value) {
    constexpr std::uint64_t beyond_all = 1'000'000;
    options.connections = static_cast<int>(std::min(count_of("connections", value), beyond_all));
}

bool set_choice(Options& options, std::string_view name, const Json& value) {
    if (name == "dialect") {
        options.dialect = choice_of(name, value, dialects);
    } else if (name == "durability") {
        options.durability = choice_of(name, value, durabilities);
    } else if (name == "when_full") {
        options.when_full = choice_of(name, value, ways_when_full);
    } else if (name == "when_unknown") {
        options.when_unknown = choice_of(name, value, ways_when_unknown);
    } else {
        return false;
    }
    return true;
}

void set(Options& options, std::string_view name, const Json& value) {
    if (set_from(texts, options, name, value, text_of) ||
        set_from(paths, options, name, value, text_of) ||
        set_from(flags, options, name, value, flag_of) ||
        set_from(counts, options, name, value, count_of) ||
        set_from(durations, options, name, value, milliseconds_of) ||
        set_choice(options, name, value)) {
        return;
    }
    if (name == "connections") {
        set_connections(options, value);
    } else if (name == "max_metadata_bytes") {
        options.max_metadata_bytes = static_cast<std::size_t>(count_of(name, value));
    } else if (name == "api_key" || name == "jwt") {
        set_credential(options, name, value);
    } else {
        refuse(name, "is unknown: see agentsight/options.hpp");
    }
}

}  // namespace

Options options_from_json(std::string_view json) {
    Options options;
    if (json.empty()) {
        return options;
    }
    // The same rules as for metadata: UTF-8, no name twice, a bounded depth.
    std::string text;
    if (const std::error_code problem = core::compact_metadata(json, max_options_bytes, text)) {
        core::throw_error(
            errc::invalid_option,
            "the options are not a JSON object (as text, UTF-8, each name once, at most "
            "64 KiB): set others");
    }
    if (text.empty()) {
        return options;
    }
    const Json object = core::parse_json(text);
    for (const auto& [name, value] : object.items()) {
        set(options, name, value);
    }
    return options;
}

}  // namespace agentsight
