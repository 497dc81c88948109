#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "output.hpp"
#include "progress_bar.hpp"
#include "record_lookup.hpp"
#include "terminal.hpp"
#include "text.hpp"
#include "verbs.hpp"

// `requeue` and `discard`: the same but for what is done to each record.

namespace agentsight::tool {
namespace {

struct Change {
    const char* verb;
    const char* done;  ///< "requeued"
    void (Outbox::*apply)(std::string_view id, bool force);
    std::array<std::optional<RecordState>, 4> states;  ///< what --all takes without --state
    const char* all;                                   ///< the same in words
};

constexpr Change requeue{
    "requeue", "requeued", &Outbox::requeue, {RecordState::dead}, "all that are dead"};
constexpr Change discard{"discard",
                         "discarded",
                         &Outbox::discard,
                         {RecordState::waiting, RecordState::dead},
                         "all that wait or are dead"};

struct ChangeFlags {
    std::vector<std::string> ids;
    FilterFlags filter;
    bool all = false;
    bool force = false;
    bool yes = false;
};

void check(const ChangeFlags& flags) {
    std::for_each(flags.ids.begin(), flags.ids.end(), refuse_empty_id);
    if (flags.ids.empty() && !flags.all) {
        throw UsageError("name the records by their ids, or use --all with filters");
    }
    if (!flags.ids.empty() && (flags.all || flags.filter.given())) {
        throw UsageError("--all and filters cannot be combined with ids");
    }
    if (flags.all && !flags.yes && !is_terminal(Stream::in)) {
        throw UsageError("--all needs --yes where there is no terminal to ask on");
    }
}

struct Selected {
    std::string id;
    std::optional<RecordState> state;  ///< for which it was taken; none: named by its id
};

void collect(const Outbox& outbox, const Filter& filter, std::vector<Selected>& records) {
    outbox.for_each(filter, [&](const Record& record) {
        records.push_back({record.id, record.state});
        return true;
    });
}

std::vector<Selected> named(const std::vector<std::string>& ids) {
    std::vector<Selected> records;
    for (const std::string& id : ids) {
        records.push_back({id, std::nullopt});
    }
    return records;
}

/// What the filters name, taken before anything is changed: a requeued record goes to the
/// end of the order and must not be met a second time.
std::vector<Selected> selected(const Outbox& outbox, const Change& change,
                               const ChangeFlags& flags) {
    Filter filter = flags.filter.filter();
    std::vector<Selected> records;
    if (filter.state) {
        collect(outbox, filter, records);
        return records;
    }
    for (const std::optional<RecordState>& state : change.states) {
        if (state) {
            filter.state = state;
            collect(outbox, filter, records);
        }
    }
    if (flags.force) {
        filter.state = RecordState::unknown;
        collect(outbox, filter, records);
    }
    return records;
}

/// Not any more what --all meant: sent meanwhile, for instance, by the application.
bool has_moved_on(const Outbox& outbox, const Selected& record) {
    if (!record.state) {
        return false;
    }
    try {
        return outbox.get(record.id).state != *record.state;
    } catch (const Error& error) {
        return error.code() == errc::not_found;
    }
}

std::string words(const Change& change, const ChangeFlags& flags) {
    return flags.filter.given() ? flags.filter.words()
                                : change.all + std::string(flags.force ? ", or unknown" : "");
}

bool is_agreed(const Change& change, const ChangeFlags& flags, std::size_t number) {
    return flags.yes || confirmed(std::string(change.verb) + " " + counted(number, "record") +
                                  " (" + words(change, flags) + ")?");
}

class Tally {
  public:
    void done() { ++done_; }
    void moved_on() { ++moved_on_; }
    void failed(const std::string& id, const Error& error) {
        worst_ = worse(worst_, exit_code_for(error.code()));
        // A thousand lines would hide what matters: that it failed, and why.
        constexpr std::size_t most_shown = 10;
        if (++failed_ <= most_shown) {
            complain(shortened(id, 40) + ": " + error.what());
        }
    }

    ExitCode report(const Common& common, const Change& change) const {
        if (common.json) {
            Json json;
            json[change.done] = done_;
            json["failed"] = failed_;
            json["moved_on"] = moved_on_;
            print_json(json);
        } else {
            print_line(counted(done_, "record") + " " + change.done +
                       (failed_ > 0 ? ", " + std::to_string(failed_) + " not" : "") +
                       (moved_on_ > 0 ? ", " + std::to_string(moved_on_) +
                                            " had moved on to another state meanwhile"
                                      : ""));
        }
        return worst_;
    }

  private:
    std::size_t done_ = 0;
    std::size_t failed_ = 0;
    std::size_t moved_on_ = 0;
    ExitCode worst_ = ExitCode::done;
};

ExitCode run(const Common& common, const Change& change, const ChangeFlags& flags) {
    check(flags);
    flags.filter.filter();  // a bad value is refused before the file is opened
    Outbox outbox(common.path(), OutboxMode::read_write);
    const std::vector<Selected> records =
        flags.all ? selected(outbox, change, flags) : named(flags.ids);
    Tally tally;
    if (records.empty()) {
        if (common.json) {
            tally.report(common, change);
        }
        complain("no such records; `agentsight-outbox list` shows those there are");
        return ExitCode::nothing;
    }
    if (flags.all && !is_agreed(change, flags, records.size())) {
        complain("nothing was changed");
        return ExitCode::failed;
    }
    const Interrupts interrupts;
    ProgressBar bar("record", records.size());
    const bool has_bar = records.size() > 1;
    std::uint64_t tried = 0;
    for (const Selected& record : records) {
        if (interrupts.came()) {
            bar.erase();
            tally.report(common, change);
            complain("interrupted after " + std::to_string(tried) + " of " +
                     counted(records.size(), "record") + "; the others are as they were");
            return ExitCode::failed;
        }
        if (has_bar) {
            bar.show(tried, tried);
        }
        ++tried;
        if (has_moved_on(outbox, record)) {
            tally.moved_on();
            continue;
        }
        try {
            look_up(record.id, [&] { (outbox.*change.apply)(record.id, flags.force); });
            tally.done();
        } catch (const Error& error) {
            if (has_moved_on(outbox, record)) {
                tally.moved_on();
            } else {
                bar.erase();
                tally.failed(record.id, error);
            }
        }
    }
    bar.erase();
    return tally.report(common, change);
}

void add(CLI::App& app, Invocation& invocation, const Change& change,
         const std::string& description, const std::string& force, const std::string& example) {
    CLI::App* verb = add_verb(app, invocation, change.verb, description, example);
    auto flags = std::make_shared<ChangeFlags>();
    verb->add_option("ID", flags->ids, "The records' ids");
    verb->add_flag("--all", flags->all, "All that the filters leave");
    flags->filter.add_to(*verb);
    verb->add_flag("--force", flags->force, force);
    verb->add_flag("--yes", flags->yes, "Do not ask");
    verb->callback([&invocation, &change, flags] {
        invocation.run = [&invocation, &change, flags] {
            return run(invocation.common, change, *flags);
        };
    });
}

}  // namespace

void add_requeue(CLI::App& app, Invocation& invocation) {
    add(app, invocation, requeue, "Send dead records again, behind everything else",
        "Unknown records too: they may then arrive twice", "requeue --all --since 2h --yes");
}

void add_discard(CLI::App& app, Invocation& invocation) {
    add(app, invocation, discard, "Give records up and erase their text", "Unknown records too",
        "discard 0193b5a0-7e2c-7d11-8f00-3c5a9e1f2b44");
}

}  // namespace agentsight::tool
