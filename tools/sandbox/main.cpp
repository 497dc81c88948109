#include <CLI/CLI.hpp>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "arguments.hpp"
#include "sandbox/server.hpp"
#include "sandbox/tail.hpp"

namespace {

constexpr std::uint16_t default_port = 8787;

struct Arguments {
    sandbox::ServerOptions options;
    std::optional<std::uint16_t> control_port;
    std::vector<std::string> faults;
    std::vector<std::string> conversations;
    bool tail = false;
    bool reveal = false;
};

/// CLI11 would take -1 for the largest number there is.
CLI::Validator at_most(std::uint64_t most) {
    const auto check = [most](const std::string& text) -> std::string {
        std::uint64_t number = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        const bool is_sound =
            error == std::errc{} && end == text.data() + text.size() && number <= most;
        return is_sound ? "" : "must be a whole number, at most " + std::to_string(most);
    };
    return {check, ""};
}

void describe_server(CLI::App& app, Arguments& arguments) {
    auto& options = arguments.options;
    options.port = default_port;
    app.add_option("--port", options.port, "port of the API on 127.0.0.1; 0: the system picks one")
        ->check(at_most(65'535))
        ->capture_default_str();
    app.add_option("--control-port", arguments.control_port,
                   "port of the control API (faults, rows, requests); absent or 0: the system "
                   "picks one")
        ->check(at_most(65'535));
    app.add_option("--db", options.file, "file that keeps the rows, one JSON object a line");
    app.add_option("--fault", arguments.faults,
                   "a fault from the start: JSON, or KIND,member=value,... (repeatable)")
        ->take_all()
        ->type_name("SPEC");
    app.add_flag_callback(
        "--help-faults",
        [] {
            std::fputs(("Faults, each with an example:\n" + sandbox::kinds_help()).c_str(), stdout);
            throw CLI::Success{};
        },
        "print every kind of fault with an example and exit");
    app.add_option("--request-log", options.request_log, "requests kept for the control API")
        ->check(at_most(1'000'000'000))
        ->capture_default_str();
    app.add_option("--certificate", options.certificate, "PEM chain: the API speaks https");
    app.add_option("--private-key", options.private_key, "PEM key of the certificate")
        ->needs("--certificate");
    app.add_flag("--tail", arguments.tail, "print one line for each row that arrives");
    app.add_flag("--reveal", arguments.reveal, "with --tail: show comments");
}

void describe_api(CLI::App& app, Arguments& arguments) {
    auto& settings = arguments.options.settings;
    app.add_option("--api-key", settings.api_keys, "a key that may write; default: any")
        ->take_all();
    app.add_option("--read-key", settings.read_keys, "a key that may only read")->take_all();
    app.add_option("--jwt", settings.jwts, "a token that is accepted; default: any")->take_all();
    app.add_flag("--unpaid", settings.unpaid, "the account has no subscription: 401");
    app.add_flag("--strict-conversations", settings.strict_conversations,
                 "only conversations made by --conversation or on the control port exist");
    app.add_option("--conversation", arguments.conversations, "a conversation that exists")
        ->take_all();
    app.add_flag("--older-envelope", settings.older_envelope, "lists as older servers send them");
    app.add_flag("--discard-metadata", settings.discard_metadata, "metadata is not kept");
    app.add_flag("--whole-seconds", settings.whole_seconds, "timestamps without a fraction");
    app.add_flag("--hide-source", settings.hide_source, "feedbacks are shown without source");
    app.add_option("--keep-alive-ms", settings.keep_alive_ms, "idle connections are closed after")
        ->check(at_most(86'400'000))
        ->capture_default_str();
}

void say(const std::string& line) {
    std::fputs((line + "\n").c_str(), stdout);
    std::fflush(stdout);
}

/// Blocked before any thread starts, so that only the wait below gets them.
sigset_t block_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    return signals;
}

void run(Arguments arguments) {
    const sigset_t signals = block_signals();
    for (const std::string& spec : arguments.faults) {
        try {
            arguments.options.faults.push_back(sandbox::parse_fault(spec));
        } catch (const std::invalid_argument& error) {
            throw std::invalid_argument{std::string{"--fault: "} + error.what() +
                                        "; see --help-faults"};
        }
    }
    arguments.options.control_port = arguments.control_port.value_or(0);
    if (arguments.tail)
        arguments.options.on_row = [reveal = arguments.reveal](const sandbox::Row& row) {
            say(sandbox::tail_line(row, reveal));
        };
    std::error_code error;
    if (std::filesystem::is_directory(arguments.options.file, error))
        throw std::invalid_argument{"--db: " + arguments.options.file.string() + " is a folder"};
    sandbox::Server server{std::move(arguments.options)};
    for (const std::string& name : arguments.conversations)
        server.add_conversation(name);
    say("listening on " + server.url());
    say("control on " + server.control_url());
    int signal = 0;
    sigwait(&signals, &signal);
    server.stop();
}

}  // namespace

int main(int count, char** values) {
    std::signal(SIGPIPE, SIG_IGN);
    CLI::App app{
        "A local server that speaks the AgentSight API, with faults on demand.\n"
        "Loopback only; for demos and tests."};
    app.footer("Kinds of faults (--help-faults explains each): " + sandbox::kind_names() +
               ".\nMembers: route, method, path, comment, conversation_id (what to match); skip, "
               "nth, every,\ntimes, probability, seed (how often); status, body, header.NAME, "
               "retry_after, location, at,\nbytes, ms, interval_ms, count, requests, per_ms, "
               "store, reset, generation, variant.\nFor example: --fault drop_after,times=2 "
               "--fault status,status=503,retry_after=5,nth=4");
    app.option_defaults()->disable_flag_override();
    Arguments arguments;
    describe_server(app, arguments);
    describe_api(app, arguments);
    try {
        app.parse(agentsight::tool::arguments_in_reverse(app, count, values));
    } catch (const CLI::Success& help) {
        return app.exit(help);
    } catch (const CLI::ParseError& error) {
        std::cerr << "agentsight-sandbox: " << error.what() << "; see --help\n";
        return 2;
    }
    try {
        run(std::move(arguments));
    } catch (const std::invalid_argument& error) {
        std::cerr << "agentsight-sandbox: " << error.what() << "\n";
        return 2;
    } catch (const std::exception& error) {
        std::cerr << "agentsight-sandbox: " << error.what() << "\n";
        return 1;
    }
    return 0;
}
