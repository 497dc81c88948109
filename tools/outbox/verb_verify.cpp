#include <array>
#include <map>

#include "output.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

struct Findings {
    std::vector<std::string> problems;
    std::uint64_t records_read = 0;
};

void check_ledger(const Status& status, Findings& findings) {
    const std::uint64_t sum = status.delivered + status.waiting + status.claimed + status.unknown +
                              status.dead + status.discarded + status.dropped;
    if (sum != status.accepted) {
        findings.problems.push_back(
            "the ledger does not add up: " + std::to_string(status.accepted) + " accepted, " +
            std::to_string(sum) + " accounted for");
    }
}

bool is_same(const Status& one, const Status& other) {
    return one.accepted == other.accepted && one.waiting == other.waiting &&
           one.claimed == other.claimed && one.unknown == other.unknown && one.dead == other.dead &&
           one.delivered == other.delivered && one.discarded == other.discarded &&
           one.dropped == other.dropped;
}

/// Reads every record and compares the counts. An application may be at work: the counts
/// are compared only where nothing changed meanwhile; false where something did.
bool check_records(const Outbox& outbox, Findings& findings) {
    const Status before = outbox.status();
    check_ledger(before, findings);
    std::map<RecordState, std::uint64_t> counts;
    findings.records_read = 0;
    outbox.for_each({}, [&](const Record& record) {
        ++counts[record.state];
        ++findings.records_read;
        return true;
    });
    if (!is_same(before, outbox.status())) {
        return false;
    }
    struct Expected {
        RecordState state;
        std::uint64_t count;
    };
    // Delivered and discarded ones are kept only as far as the history reaches.
    for (const Expected& expected : {Expected{RecordState::waiting, before.waiting},
                                     Expected{RecordState::claimed, before.claimed},
                                     Expected{RecordState::unknown, before.unknown},
                                     Expected{RecordState::dead, before.dead}}) {
        if (counts[expected.state] != expected.count) {
            findings.problems.push_back(std::to_string(expected.count) + " records should be " +
                                        std::string(to_string(expected.state)) + ", but " +
                                        std::to_string(counts[expected.state]) + " are");
        }
    }
    return true;
}

ExitCode verify(const Common& common) {
    const Outbox outbox(common.path(), OutboxMode::read_only);
    Findings findings;
    constexpr int most_tries = 3;
    bool compared = false;
    for (int i = 0; i < most_tries && !compared && findings.problems.empty(); ++i) {
        compared = check_records(outbox, findings);
    }
    if (common.json) {
        Json json;
        json["ok"] = findings.problems.empty();
        json["records"] = findings.records_read;
        json["counts_compared"] = compared;
        json["problems"] = findings.problems;
        print_json(json);
    } else if (findings.problems.empty()) {
        print_line("sound: " + counted(findings.records_read, "record") +
                   " read, the ledger adds up" +
                   (compared ? ", the counts agree" : " (the counts kept changing)"));
    }
    for (const std::string& problem : findings.problems) {
        complain(problem);
    }
    return findings.problems.empty() ? ExitCode::done : ExitCode::damaged;
}

}  // namespace

void add_verify(CLI::App& app, Invocation& invocation) {
    CLI::App* verb = add_verb(app, invocation, "verify", "Read every record and check the ledger",
                              "verify --json");
    verb->callback(
        [&invocation] { invocation.run = [&invocation] { return verify(invocation.common); }; });
}

}  // namespace agentsight::tool
