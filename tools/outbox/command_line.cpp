#include "command_line.hpp"

#include <CLI/CLI.hpp>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

#include "agentsight/error.hpp"
#include "agentsight/version.hpp"
#include "arguments.hpp"
#include "output.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

void add_verbs(CLI::App& app, Invocation& invocation) {
    add_submit(app, invocation);
    add_import(app, invocation);
    add_drain(app, invocation);
    add_status(app, invocation);
    add_list(app, invocation);
    add_show(app, invocation);
    add_watch(app, invocation);
    add_requeue(app, invocation);
    add_discard(app, invocation);
    add_resolve(app, invocation);
    add_hold_and_release(app, invocation);
    add_export(app, invocation);
    add_verify(app, invocation);
    add_salvage(app, invocation);
    add_compact_and_purge(app, invocation);
    add_metrics(app, invocation);
}

/// The verb's name where one was recognised, for "see ... --help".
std::string help_hint(const CLI::App& app) {
    for (const CLI::App* verb : app.get_subcommands()) {
        return "agentsight-outbox " + verb->get_name() + " --help";
    }
    return "agentsight-outbox --help";
}

/// CLI11's words, but for those that would repeat an argument: it may be a customer's comment
/// whose quotes were forgotten.
std::string parse_words(const CLI::App& app, const CLI::ParseError& error) {
    const std::vector<std::string> extras = app.remaining(true);
    const bool has_verb = !app.get_subcommands().empty();
    for (const std::string& before : app.remaining(false)) {
        if (has_verb && before.starts_with('-')) {
            return "the verb comes first, then its flags";
        }
    }
    if (has_verb && dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr) {
        const std::string words = error.what();
        const std::size_t override = words.find(" was given a disallowed flag override");
        return override == words.npos ? words
                                      : "--" + words.substr(0, override) + " takes no value";
    }
    for (const std::string& extra : extras) {
        if (extra.starts_with('-')) {
            const std::string flag = shortened(extra.substr(0, extra.find('=')), 40);
            return has_verb ? "unknown flag " + flag
                            : "the verb comes first; here stands the flag " + flag;
        }
    }
    if (has_verb) {
        return "an argument too many; quote text with spaces";
    }
    return extras.empty() ? "a verb is needed" : "unknown verb";
}

ExitCode parse(CLI::App& app, int argc, char** argv, bool& is_run) {
    try {
        app.parse(arguments_in_reverse(app, argc, argv));
        is_run = true;
        return ExitCode::done;
    } catch (const CLI::Success& help) {
        app.exit(help);
        return ExitCode::done;
    } catch (const CLI::ParseError& error) {
        complain(parse_words(app, error) + "; see `" + help_hint(app) + "`");
        return ExitCode::usage;
    }
}

ExitCode run(const Invocation& invocation) {
    try {
        const ExitCode code = invocation.run();
        flush_output();
        return code;
    } catch (const UsageError& error) {
        complain(error.what());
        return ExitCode::usage;
    } catch (const Error& error) {
        complain(error.what());
        return exit_code_for(error.code());
    } catch (const std::bad_alloc&) {
        complain("out of memory");
        return ExitCode::failed;
    } catch (const std::exception& error) {
        complain(error.what());
        return ExitCode::failed;
    }
}

}  // namespace

ExitCode run_command_line(int argc, char** argv) {
    CLI::App app{
        "Inspects and operates an outbox of AgentSight feedback, also while an "
        "application has it open.",
        "agentsight-outbox"};
    app.set_version_flag("--version", std::string("agentsight-outbox ") + version());
    app.require_subcommand(1);
    app.option_defaults()->disable_flag_override();  // `--json=no` would be on
    app.get_formatter()->label("SUBCOMMAND", "VERB");
    app.get_formatter()->label("Subcommands", "Verbs");
    app.footer(
        "Exit codes: 0 done, 1 failed, 2 a bad flag or value, 3 not everything is settled,\n"
        "4 no such record, file or result, 5 damaged.");
    Invocation invocation;
    add_verbs(app, invocation);
    bool is_run = false;
    const ExitCode parsed = parse(app, argc, argv, is_run);
    return is_run ? run(invocation) : parsed;
}

}  // namespace agentsight::tool
