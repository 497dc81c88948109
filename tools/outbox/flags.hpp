#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "agentsight/options.hpp"
#include "agentsight/outbox.hpp"
#include "exit_code.hpp"

namespace agentsight::tool {

/// What every verb takes.
struct Common {
    std::string outbox;
    CLI::Option* outbox_flag = nullptr;  ///< of the verb that was chosen
    bool json = false;

    /// --outbox, else AGENTSIGHT_OUTBOX, else the library's default path. A flag given
    /// empty (an unset variable in a script) is refused, never taken for the default.
    std::filesystem::path path() const;
};

/// The verb the command line chose, ready to run.
struct Invocation {
    Common common;
    std::function<ExitCode()> run;
};

/// Adds a verb with the flags that all take, and an example that teaches.
CLI::App* add_verb(CLI::App& app, Invocation& invocation, const std::string& name,
                   const std::string& description, const std::string& example);

/// A flag whose value is text; given empty is not the same as not given.
struct TextFlag {
    CLI::Option* flag = nullptr;
    std::string text;

    bool given() const { return flag != nullptr && flag->count() > 0; }
    /// Throws UsageError where the flag was given an empty value.
    void refuse_empty() const;
};

/// Adds a flag; `flag` must outlive the parsing.
CLI::Option* add_text_flag(CLI::App& verb, TextFlag& flag, const std::string& name,
                           const std::string& description, const std::string& type);

/// Which records: as `list` has it, shared by the verbs that work on many.
struct FilterFlags {
    TextFlag state;
    TextFlag conversation_id;
    TextFlag conversation;
    TextFlag since;

    void add_to(CLI::App& verb);
    bool given() const;
    /// Throws UsageError.
    Filter filter() const;
    /// For questions and messages: "dead records of conversation 'x'"; no feedback text.
    std::string words() const;
};

/// The verbs that send.
struct SendingFlags {
    TextFlag endpoint;
    TextFlag credential_file;

    void add_to(CLI::App& verb);
};

/// A whole decimal number within bounds. Throws UsageError naming the flag.
std::uint64_t parse_number(const std::string& flag, const std::string& text, std::uint64_t least,
                           std::uint64_t most);

/// What a verb that makes the outbox where it is missing opens it with: a damaged file is moved
/// aside by itself, and whoever did not ask for that must be told.
Options telling_options();

/// A record's id; throws UsageError where it was given empty, by an unset variable perhaps.
void refuse_empty_id(const std::string& id);

/// --conversation N.
std::uint64_t parse_database_id(const std::string& text);

}  // namespace agentsight::tool
