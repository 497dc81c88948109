#include <algorithm>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <future>
#include <iostream>
#include <memory>
#include <utility>
#include <vector>

#include "background.hpp"
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
/// Committed, or about to be, while another is read.
constexpr std::size_t batches_ahead = 2;

class Import {
  public:
    Import(const Common& common, std::istream& input, std::uint64_t size)
        : common_(common),
          input_(input),
          reader_(input, max_line_bytes),
          outbox_(common.path(), OutboxMode::create, telling_options()),
          bar_("line", size) {}

    ExitCode run() {
        std::string text;
        // A line during which the signal came may have been cut short.
        const auto came = [&] { return interrupts_.came(); };
        while (!came() && reader_.next(text, came) && !came()) {
            if (reader_.number() == 1 && text.starts_with("\xEF\xBB\xBF")) {
                text.erase(0, 3);  // a byte order mark, as some editors write it
            }
            bar_.show(reader_.number(), reader_.bytes());
            take(text);
            taken_ = reader_.number();
            if (filling_.is_full()) {
                hand_over();
            }
        }
        hand_over();
        settle_all();
        bar_.erase();
        if (interrupts_.came()) {
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

    /// What is still to be known of a line once its feedback is in the batch.
    struct Line {
        std::uint64_t number;
        bool has_id, may_have_arrived, is_dead;
    };

    /// Lines read and not yet committed.
    struct Batch {
        FeedbackBatch feedbacks;
        std::vector<Line> lines;  ///< one for each feedback
        std::vector<Rejected> rejected;
        std::size_t bytes = 0;

        bool is_full() const {
            return lines.size() == batch_lines || bytes >= batch_bytes ||
                   rejected.size() >= batch_lines;
        }
    };

    /// To the committer; stays where it is until its outcomes are settled.
    struct HandedOver {
        Batch batch;
        std::future<std::vector<SubmitOutcome>> outcomes;
    };

    void take(const std::string& text) {
        if (reader_.is_too_long()) {
            return reject(reader_.number(), "longer than 4 MiB");
        }
        if (text.find_first_not_of(" \t\r") == std::string::npos) {
            return;
        }
        try {
            const ImportLine line(text);
            if (line.is_done_with()) {
                ++done_with_;
                return;
            }
            filling_.feedbacks.add(line.feedback());
            filling_.lines.push_back(
                {reader_.number(), line.has_id(), line.may_have_arrived(), line.is_dead()});
            filling_.bytes += text.size();
            if (!line.has_id() && !std::exchange(warned_, true)) {
                bar_.erase();
                complain("line " + std::to_string(reader_.number()) +
                         " has no id: importing it again would store it again");
            }
        } catch (const BadLine& error) {
            reject(reader_.number(), error.what());
        } catch (const Error& error) {
            reject(reader_.number(), error.what());
        }
    }

    /// While batches are committed the next ones are read.
    void hand_over() {
        while (handed_over_.size() >= batches_ahead) {
            settle_first();
        }
        HandedOver& next = handed_over_.emplace_back();
        next.batch = std::exchange(filling_, {});
        next.outcomes = committer_.run([this, &batch = next.batch] { return commit(batch); });
    }

    /// Durable on return. On the committer's thread. What comes behind a line that could not be
    /// stored is not stored either: importing again must not change the order.
    std::vector<SubmitOutcome> commit(const Batch& batch) {
        if (std::exchange(stopped_, true)) {
            return {};
        }
        std::vector<SubmitOutcome> outcomes = outbox_.submit_many(batch.feedbacks);
        stopped_ = std::any_of(outcomes.begin(), outcomes.end(), [](const SubmitOutcome& outcome) {
            return outcome.error && !is_about_the_line(outcome.error);
        });
        return outcomes;
    }

    static bool is_about_the_line(std::error_code error) {
        return is_validation_error(error) || error == errc::id_conflict;
    }

    void settle_first() {
        HandedOver& first = handed_over_.front();
        const std::vector<SubmitOutcome> outcomes = first.outcomes.get();
        for (std::size_t i = 0; i < outcomes.size(); ++i) {
            settle(first.batch, i, outcomes[i]);
        }
        tell_rejected(first.batch.rejected);
        handed_over_.pop_front();
    }

    void settle_all() {
        while (!handed_over_.empty()) {
            settle_first();
        }
    }

    void settle(Batch& batch, std::size_t i, const SubmitOutcome& outcome) {
        const Line& line = batch.lines[i];
        if (!outcome.error) {
            ++(outcome.receipt.stored ? stored_ : already_there_);
            without_id_ += line.has_id ? 0 : 1;
            unknown_ += outcome.receipt.stored && line.may_have_arrived ? 1 : 0;
            dead_ += outcome.receipt.stored && line.is_dead ? 1 : 0;
        } else if (is_about_the_line(outcome.error)) {
            batch.rejected.push_back({line.number, outcome.message});
        } else {
            bar_.erase();
            throw Error(static_cast<errc>(outcome.error.value()),
                        "stopped at line " + std::to_string(line.number) + ": " + outcome.message +
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
    const Interrupts interrupts_;  ///< before the outbox: each signal is one to end in order
    std::istream& input_;
    LineReader reader_;
    Outbox outbox_;
    ProgressBar bar_;
    Batch filling_;
    std::uint64_t stored_ = 0, already_there_ = 0, bad_ = 0, without_id_ = 0;
    std::uint64_t done_with_ = 0;  ///< delivered or discarded where they were exported
    bool warned_ = false;          ///< of a line without an id
    std::uint64_t taken_ = 0;      ///< number of the last line that was
    std::uint64_t dead_ = 0;       ///< given up where they were exported
    std::uint64_t unknown_ = 0;    ///< may have arrived from where they were exported
    std::deque<HandedOver> handed_over_;
    bool stopped_ = false;                              ///< the committer's
    Background<std::vector<SubmitOutcome>> committer_;  ///< last: waited for before all else goes
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
