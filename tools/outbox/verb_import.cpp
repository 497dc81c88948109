#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <memory>
#include <utility>
#include <vector>

#include "import_line.hpp"
#include "line_reader.hpp"
#include "output.hpp"
#include "progress_bar.hpp"
#include "terminal.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

/// Longer than any line within the rules: 5000 code points of comment and 256 KiB of metadata,
/// every character of them escaped, take 1.7 MB. A bound on the memory one line may cost.
constexpr std::size_t max_line_bytes = std::size_t{4} << 20;

/// What is committed at once; see Outbox::submit_many.
constexpr std::size_t batch_lines = 256;
constexpr std::size_t batch_bytes = std::size_t{1} << 20;

class Import {
  public:
    Import(const Common& common, std::istream& input, std::uint64_t size)
        : common_(common),
          input_(input),
          reader_(input, max_line_bytes),
          outbox_(common.path(), OutboxMode::create, telling_options()),
          bar_("line", size) {}

    ExitCode run() {
        const Interrupts interrupts;
        std::string text;
        // A line during which the signal came may have been cut short.
        while (!interrupts.came() && reader_.next(text) && !interrupts.came()) {
            bar_.show(reader_.number(), reader_.bytes());
            take(text);
            taken_ = reader_.number();
            if (filling_.is_full()) {
                hand_over();
            }
        }
        hand_over();
        settle_pending();
        bar_.erase();
        if (interrupts.came()) {
            report();
            complain("interrupted after line " + std::to_string(taken_) +
                     "; import again: lines with an id are not stored twice");
            return ExitCode::failed;
        }
        // Standard input reads by C's stream, which tells its own errors.
        if (input_.bad() || (&input_ == &std::cin && std::ferror(stdin) != 0)) {
            throw std::runtime_error("cannot read on after line " +
                                     std::to_string(reader_.number()) +
                                     "; import again: lines with an id are not stored twice");
        }
        report();
        return bad_ == 0 ? ExitCode::done : ExitCode::failed;
    }

  private:
    struct Rejected {
        std::uint64_t number;
        std::string why;
    };

    /// Lines read and not yet committed.
    struct Batch {
        std::vector<ImportLine> lines;
        std::vector<std::uint64_t> numbers;
        std::vector<Rejected> rejected;
        std::size_t bytes = 0;

        bool is_full() const {
            return lines.size() == batch_lines || bytes >= batch_bytes ||
                   rejected.size() >= batch_lines;
        }
    };

    void take(const std::string& text) {
        if (reader_.is_too_long()) {
            return reject(reader_.number(), "longer than 4 MiB");
        }
        if (text.find_first_not_of(" \t\r") == std::string::npos) {
            return;
        }
        try {
            ImportLine line(text);
            if (line.is_done_with()) {
                ++done_with_;
                return;
            }
            if (!warned_ && !line.has_id() && keeps_the_rules(line)) {
                warned_ = true;
                bar_.erase();
                complain("line " + std::to_string(reader_.number()) +
                         " has no id: importing it again would store it again");
            }
            filling_.lines.push_back(std::move(line));
            filling_.numbers.push_back(reader_.number());
            filling_.bytes += text.size();
        } catch (const BadLine& error) {
            reject(reader_.number(), error.what());
        }
    }

    static bool keeps_the_rules(const ImportLine& line) {
        try {
            Outbox::validate(line.feedback().feedback);
            return true;
        } catch (const Error&) {
            return false;
        }
    }

    /// While one batch is committed the next is read: reading costs half as much again.
    void hand_over() {
        settle_pending();
        pending_ = std::exchange(filling_, {});
        outcomes_ = std::async(std::launch::async, [this] { return commit(pending_); });
    }

    /// Durable on return. Only one thread at a time is here.
    std::vector<SubmitOutcome> commit(const Batch& batch) {
        std::vector<ImportedFeedback> feedbacks;
        feedbacks.reserve(batch.lines.size());
        for (const ImportLine& line : batch.lines) {
            feedbacks.push_back(line.feedback());
        }
        return outbox_.submit_many(feedbacks);
    }

    void settle_pending() {
        if (!outcomes_.valid()) {
            return;
        }
        const std::vector<SubmitOutcome> outcomes = outcomes_.get();
        for (std::size_t i = 0; i < outcomes.size(); ++i) {
            settle(pending_.lines[i], pending_.numbers[i], outcomes[i]);
        }
        tell_rejected(pending_.rejected);
    }

    void settle(const ImportLine& line, std::uint64_t number, const SubmitOutcome& outcome) {
        if (!outcome.error) {
            ++(outcome.receipt.stored ? stored_ : already_there_);
            without_id_ += line.has_id() ? 0 : 1;
            unknown_ += outcome.receipt.stored && line.may_have_arrived() ? 1 : 0;
            dead_ += outcome.receipt.stored && line.is_dead() ? 1 : 0;
        } else if (is_validation_error(outcome.error) || outcome.error == errc::id_conflict) {
            pending_.rejected.push_back({number, outcome.message});
        } else {
            bar_.erase();
            throw Error(static_cast<errc>(outcome.error.value()),
                        "stopped at line " + std::to_string(number) + ": " + outcome.message +
                            "; then import again: lines with an id are not stored twice");
        }
    }

    void reject(std::uint64_t number, std::string why) {
        filling_.rejected.push_back({number, std::move(why)});
    }

    /// In the order of the lines: some are found bad when read, some when submitted.
    void tell_rejected(std::vector<Rejected>& rejected) {
        std::sort(rejected.begin(), rejected.end(),
                  [](const Rejected& a, const Rejected& b) { return a.number < b.number; });
        constexpr std::uint64_t most_shown = 20;
        for (const Rejected& line : rejected) {
            if (++bad_ <= most_shown) {
                bar_.erase();
                complain("line " + std::to_string(line.number) + ": " + line.why);
            } else if (bad_ == most_shown + 1) {
                bar_.erase();
                complain("more bad lines follow; they are counted, not shown");
            }
        }
    }

    void report() const {
        if (done_with_ > 0) {
            complain(counted(done_with_, "line") +
                     " passed over: delivered or discarded, as exported");
        }
        if (unknown_ > 0) {
            complain(counted(unknown_, "record") +
                     " may have arrived already; see `agentsight-outbox list --state unknown` and "
                     "settle each with `resolve`");
        }
        if (dead_ > 0) {
            complain(counted(dead_, "dead letter") +
                     " as exported: not sent unless someone requeues; see `agentsight-outbox "
                     "list --state dead`");
        }
        if (without_id_ > 0) {
            complain(counted(without_id_, "line") +
                     " had no id: importing this again would store them again");
        }
        if (common_.json) {
            Json json;
            json["stored"] = stored_;
            json["already_there"] = already_there_;
            json["bad"] = bad_;
            json["without_id"] = without_id_;
            json["done_with"] = done_with_;
            json["unknown"] = unknown_;
            json["dead"] = dead_;
            print_json(json);
            return;
        }
        print_line(counted(stored_, "record") + " stored, " + std::to_string(already_there_) +
                   " there already, " + counted(bad_, "bad line"));
    }

    const Common& common_;
    std::istream& input_;
    LineReader reader_;
    Outbox outbox_;
    ProgressBar bar_;
    Batch filling_;
    Batch pending_;  ///< being committed
    std::uint64_t stored_ = 0, already_there_ = 0, bad_ = 0, without_id_ = 0;
    std::uint64_t done_with_ = 0;  ///< delivered or discarded where they were exported
    bool warned_ = false;          ///< of a line without an id
    std::uint64_t taken_ = 0;      ///< number of the last line that was
    std::uint64_t dead_ = 0;       ///< given up where they were exported
    std::uint64_t unknown_ = 0;    ///< may have arrived from where they were exported
    std::future<std::vector<SubmitOutcome>> outcomes_;  ///< last: waited for before all else goes
};

ExitCode import(const Common& common, const std::string& file) {
    if (file == "-") {
        return Import(common, std::cin, 0).run();
    }
    if (file.empty()) {
        throw UsageError("FILE: must not be empty; name a file, or - for standard input");
    }
    std::error_code ec;
    if (std::filesystem::is_directory(file, ec)) {
        throw UsageError("FILE: '" + file + "' is a folder");
    }
    std::ifstream input(file, std::ios::binary);
    if (!input) {
        complain("cannot open '" + file + "'; name a file that this user may read, or -");
        return ExitCode::nothing;
    }
    const std::uintmax_t size = std::filesystem::file_size(file, ec);
    return Import(common, input, ec ? 0 : size).run();
}

}  // namespace

void add_import(CLI::App& app, Invocation& invocation) {
    CLI::App* verb = add_verb(app, invocation, "import",
                              "Commit one feedback for each line of a file of JSON objects "
                              "(id, conversation_id or conversation, sentiment, comment, metadata)",
                              "import backlog.ndjson");
    auto file = std::make_shared<std::string>();
    verb->add_option("FILE", *file, "The file, or - for standard input")->required();
    verb->callback([&invocation, file] {
        invocation.run = [&invocation, file] { return import(invocation.common, *file); };
    });
}

}  // namespace agentsight::tool
