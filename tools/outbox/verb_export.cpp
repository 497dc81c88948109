#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>

#include "output.hpp"
#include "progress_bar.hpp"
#include "record_json.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

struct ExportFlags {
    FilterFlags filter;
    TextFlag limit, after;
};

/// With the history of what may still be sent; `import` passes over the rest.
Json exported(const Outbox& outbox, const Record& listed) {
    const bool is_settled =
        listed.state == RecordState::delivered || listed.state == RecordState::discarded;
    if (is_settled || (listed.state == RecordState::waiting && listed.attempts == 0 &&
                       !listed.last_status && listed.last_error.empty())) {
        return to_json(listed, Reveal::yes);
    }
    try {
        const Record record = outbox.get(listed.id);
        Json json = to_json(record, Reveal::yes);
        json["history"] = history_json(record);
        return json;
    } catch (const Error& error) {
        if (error.code() != errc::not_found) {
            throw;
        }
        return to_json(listed, Reveal::yes);  // purged meanwhile
    }
}

ExitCode run(const Common& common, const ExportFlags& flags) {
    Filter filter = flags.filter.filter();
    flags.after.refuse_empty();
    filter.after = flags.after.text;
    constexpr std::uint64_t all = std::numeric_limits<std::uint64_t>::max();
    const std::uint64_t limit =
        flags.limit.given() ? parse_number("--limit", flags.limit.text, 1, all) : all;
    const Outbox outbox(common.path(), OutboxMode::read_only);
    complain("export shows comments and metadata in full; keep it as private as the outbox");
    // Records on the terminal and a bar between them would be read by nobody.
    const bool wants_bar = !is_terminal(Stream::out) && is_terminal(Stream::error);
    ProgressBar bar("record", wants_bar ? std::min(limit, outbox.count(filter)) : 0);
    std::uint64_t count = 0;
    outbox.for_each(filter, [&](const Record& record) {
        print_json(exported(outbox, record));
        ++count;
        if (wants_bar) {
            bar.show(count, count);
        }
        return count < limit;
    });
    if (count == 0 && !common.json) {
        complain("no such records; `agentsight-outbox status` counts those there are");
    }
    return count == 0 ? ExitCode::nothing : ExitCode::done;
}

}  // namespace

void add_export(CLI::App& app, Invocation& invocation) {
    CLI::App* verb = add_verb(app, invocation, "export",
                              "Records as JSON, one a line, comments and metadata in full",
                              "export --state dead > dead.ndjson");
    auto flags = std::make_shared<ExportFlags>();
    flags->filter.add_to(*verb);
    add_text_flag(*verb, flags->limit, "--limit", "At most so many (default: all)", "N");
    add_text_flag(*verb, flags->after, "--after", "Only those behind this record", "ID");
    verb->callback([&invocation, flags] {
        invocation.run = [&invocation, flags] { return run(invocation.common, *flags); };
    });
}

}  // namespace agentsight::tool
