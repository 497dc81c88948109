#include <memory>

#include "output.hpp"
#include "text.hpp"
#include "times.hpp"
#include "verbs.hpp"

// `salvage`, `compact` and `purge`: what keeps the file itself in order.

namespace agentsight::tool {
namespace {

ExitCode salvage(const Common& common) {
    const Salvage salvaged = Outbox::salvage(common.path());
    if (common.json) {
        Json json;
        json["rescued"] = salvaged.rescued;
        json["lost"] = salvaged.lost;
        json["moved_to"] =
            salvaged.moved_to.empty() ? Json(nullptr) : Json(salvaged.moved_to.string());
        print_json(json);
        return ExitCode::done;
    }
    if (salvaged.moved_to.empty()) {
        print_line("sound: nothing to salvage, left as it is");
        return ExitCode::done;
    }
    print_line(
        counted(salvaged.rescued, "record") + " rescued, " +
        (salvaged.lost == 0
             ? "none known to be lost (those at the end of a file that was cut off leave no trace)"
             : "at least " + std::to_string(salvaged.lost) + " lost"));
    print_line("the damaged file, whole: " + inert(salvaged.moved_to.string()));
    return ExitCode::done;
}

ExitCode compact(const Common& common) {
    Outbox outbox(common.path(), OutboxMode::read_write);
    const Compacted compacted = outbox.compact();
    if (common.json) {
        Json json;
        json["bytes_before"] = compacted.bytes_before;
        json["bytes_after"] = compacted.bytes_after;
        print_json(json);
    } else {
        print_line(human_bytes(compacted.bytes_before) + " before, " +
                   human_bytes(compacted.bytes_after) + " after");
    }
    return ExitCode::done;
}

struct PurgeFlags {
    TextFlag before;
    bool yes = false;
};

ExitCode purge(const Common& common, const PurgeFlags& flags) {
    if (!flags.before.given()) {
        throw UsageError(
            "--delivered-before is needed: a time as 2026-08-17T18:52:44Z, 2026-08-17, or 90d "
            "(that long ago)");
    }
    const UtcMilliseconds before = parse_time("--delivered-before", flags.before.text);
    const bool asks = !flags.yes && is_terminal(Stream::in);
    Outbox outbox(common.path(), OutboxMode::read_write);
    if (asks && !confirmed("purge the history of records delivered or discarded before " +
                           iso8601(before) + "? It cannot be brought back.")) {
        complain("nothing was changed");
        return ExitCode::failed;
    }
    const std::uint64_t purged = outbox.purge(before);
    if (common.json) {
        Json json;
        json["purged"] = purged;
        print_json(json);
    } else {
        print_line(counted(purged, "record") + " purged");
    }
    return ExitCode::done;
}

}  // namespace

void add_salvage(CLI::App& app, Invocation& invocation) {
    CLI::App* verb = add_verb(app, invocation, "salvage",
                              "Move a damaged file aside, whole, and rescue what is readable into "
                              "a fresh outbox; a sound one is left as it is",
                              "salvage --outbox /var/lib/kiosk/feedback.db");
    verb->callback(
        [&invocation] { invocation.run = [&invocation] { return salvage(invocation.common); }; });
}

void add_compact_and_purge(CLI::App& app, Invocation& invocation) {
    CLI::App* verb = add_verb(app, invocation, "compact",
                              "Give space that nothing uses back to the file system", "compact");
    verb->callback(
        [&invocation] { invocation.run = [&invocation] { return compact(invocation.common); }; });

    verb = add_verb(app, invocation, "purge",
                    "Remove the history of records delivered or discarded before a time, and "
                    "their text with it",
                    "purge --delivered-before 90d --yes");
    auto flags = std::make_shared<PurgeFlags>();
    add_text_flag(*verb, flags->before, "--delivered-before",
                  "Before when: 2026-08-17T18:52:44Z, 2026-08-17, or 90d (that long ago)", "TIME");
    verb->add_flag("--yes", flags->yes, "Do not ask");
    verb->callback([&invocation, flags] {
        invocation.run = [&invocation, flags] { return purge(invocation.common, *flags); };
    });
}

}  // namespace agentsight::tool
