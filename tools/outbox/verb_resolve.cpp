#include <limits>
#include <memory>

#include "output.hpp"
#include "record_lookup.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

struct ResolveFlags {
    std::string id;
    bool delivered = false;
    bool resend = false;
    TextFlag server_id;
};

ExitCode resolve(const Common& common, const ResolveFlags& flags) {
    refuse_empty_id(flags.id);
    if (flags.delivered == flags.resend) {
        throw UsageError("either --delivered or --resend is required");
    }
    if (flags.server_id.given() && !flags.delivered) {
        throw UsageError("--server-id: only with --delivered");
    }
    std::string server_id;
    if (flags.server_id.given()) {
        server_id = std::to_string(parse_number("--server-id", flags.server_id.text, 1,
                                                std::numeric_limits<std::uint64_t>::max()));
    }
    Outbox outbox(common.path(), OutboxMode::read_write);
    look_up(flags.id, [&] {
        if (flags.delivered) {
            outbox.resolve_delivered(flags.id, server_id);
        } else {
            outbox.resolve_resend(flags.id);
        }
    });
    const char* state = flags.delivered ? "delivered" : "waiting";
    if (common.json) {
        Json json;
        json["id"] = flags.id;
        json["state"] = state;
        print_json(json);
    } else {
        print_line("the record is now " + std::string(state));
    }
    return ExitCode::done;
}

}  // namespace

void add_resolve(CLI::App& app, Invocation& invocation) {
    CLI::App* verb = add_verb(app, invocation, "resolve",
                              "Settle an unknown record: look on the server whether it arrived",
                              "resolve 0193b5a0-7e2c-7d11-8f00-3c5a9e1f2b44 --delivered");
    auto flags = std::make_shared<ResolveFlags>();
    verb->add_option("ID", flags->id, "The record's id")->required();
    verb->add_flag("--delivered", flags->delivered, "It did arrive");
    verb->add_flag("--resend", flags->resend, "It did not: send it again");
    add_text_flag(*verb, flags->server_id, "--server-id", "The id that the server gave it", "N");
    verb->callback([&invocation, flags] {
        invocation.run = [&invocation, flags] { return resolve(invocation.common, *flags); };
    });
}

}  // namespace agentsight::tool
