#include <optional>
#include <vector>

#include "output.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

struct Findings {
    VerifyReport report;
    std::optional<std::uint64_t> records;  ///< none: they cannot be counted
};

/// That it cannot even be opened is a finding too.
Findings examine(const Common& common) {
    Findings findings;
    try {
        const Outbox outbox(common.path(), OutboxMode::read_only);
        findings.report = outbox.verify_report();
        findings.records = outbox.count({});
    } catch (const Error& error) {
        if (error.code() != errc::damaged) {
            throw;
        }
        if (findings.report.problems.empty()) {
            findings.report.problems.push_back(error.what());
        }
    }
    return findings;
}

ExitCode verify(const Common& common) {
    const Findings findings = examine(common);
    const bool is_sound = findings.report.problems.empty();
    if (common.json) {
        Json json;
        json["ok"] = is_sound;
        json["file_checked"] = findings.report.file_checked;
        json["records"] = findings.records ? Json(*findings.records) : Json(nullptr);
        json["problems"] = findings.report.problems;
        print_json(json);
    } else if (is_sound) {
        const std::string records = counted(findings.records.value_or(0), "record");
        print_line(findings.report.file_checked
                       ? "sound: " + records +
                             ", the file is whole, the ledger adds up, the counts agree"
                       : "sound: " + records +
                             ", the ledger adds up, the counts agree; the check of the file's "
                             "pages was given up, as others wrote much meanwhile: verify again");
    }
    for (const std::string& problem : findings.report.problems) {
        complain(problem);
    }
    if (!is_sound) {
        complain(
            "the outbox is damaged: `agentsight-outbox salvage` rescues what is readable; the "
            "damaged file is kept");
    }
    return is_sound ? ExitCode::done : ExitCode::damaged;
}

}  // namespace

void add_verify(CLI::App& app, Invocation& invocation) {
    CLI::App* verb = add_verb(app, invocation, "verify",
                              "Check the file, the ledger against a recount, and the order of "
                              "records; changes nothing",
                              "verify --json");
    verb->callback(
        [&invocation] { invocation.run = [&invocation] { return verify(invocation.common); }; });
}

}  // namespace agentsight::tool
