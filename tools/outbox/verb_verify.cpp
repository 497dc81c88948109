#include <optional>
#include <vector>

#include "output.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

struct Findings {
    std::vector<std::string> problems;
    std::optional<std::uint64_t> records;  ///< none: they cannot be counted
};

/// That it cannot even be opened is a finding too.
Findings examine(const Common& common) {
    Findings findings;
    try {
        const Outbox outbox(common.path(), OutboxMode::read_only);
        findings.problems = outbox.verify();
        findings.records = outbox.count({});
    } catch (const Error& error) {
        if (error.code() != errc::damaged) {
            throw;
        }
        if (findings.problems.empty()) {
            findings.problems.push_back(error.what());
        }
    }
    return findings;
}

ExitCode verify(const Common& common) {
    const auto [problems, records] = examine(common);
    if (common.json) {
        Json json;
        json["ok"] = problems.empty();
        json["records"] = records ? Json(*records) : Json(nullptr);
        json["problems"] = problems;
        print_json(json);
    } else if (problems.empty()) {
        print_line("sound: " + counted(records.value_or(0), "record") +
                   ", the file is whole, the ledger adds up, the counts agree");
    }
    for (const std::string& problem : problems) {
        complain(problem);
    }
    if (!problems.empty()) {
        complain(
            "the outbox is damaged: `agentsight-outbox salvage` rescues what is readable; the "
            "damaged file is kept");
    }
    return problems.empty() ? ExitCode::done : ExitCode::damaged;
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
