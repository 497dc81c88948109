#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "agentsight/agentsight.hpp"
#include "sweep.hpp"

namespace agentsight::test {

namespace {

Options facade_options(const Bench& bench) {
    Options options;
    options.outbox_path = bench.options.path;
    options.busy_timeout = std::chrono::milliseconds{0};
    options.keep_delivered = bench.options.keep_delivered;
    // Nobody listens there, and nothing is sent without a credential.
    options.endpoint = "http://127.0.0.1:9";
    options.close_deadline = std::chrono::milliseconds{200};
    return options;
}

/// One verb of the tool: opens the file, does it, closes.
Scenario verb(const char* name, OutboxMode mode, std::function<void(Outbox&, Bench&)> call) {
    Scenario made;
    made.name = name;
    made.opens = false;
    made.by_default_vfs = true;
    made.call = [=](Bench& bench) {
        Outbox outbox{bench.options.path, mode, facade_options(bench)};
        call(outbox, bench);
        return true;
    };
    return made;
}

Scenario moving_verb(const char* name, Place from, Place to,
                     std::function<void(Outbox&, const std::string&)> call) {
    Scenario made = verb(name, OutboxMode::read_write, [=](Outbox& outbox, Bench& bench) {
        call(outbox, bench.any(from).text());
    });
    made.prepare = [=](Bench& bench) { bench.truth.may_become(bench.any(from), to); };
    made.tell = [=](Bench& bench) { bench.truth.became(bench.any(from), to); };
    return made;
}

Feedback feedback_of(const outbox::Submission& submission, const std::string& id) {
    Feedback feedback{submission.feedback.conversation.name(), submission.feedback.sentiment,
                      submission.feedback.comment};
    feedback.id = id;
    return feedback;
}

/// A submit with an id, by whatever takes it.
Scenario submitting(const char* name, bool has_worker,
                    std::function<bool(Bench&, const Feedback&)> call) {
    auto submission = std::make_shared<outbox::Submission>();
    Scenario made;
    made.name = name;
    made.opens = false;
    made.by_default_vfs = true;
    made.has_worker = has_worker;
    made.prepare = [=](Bench& bench) {
        *submission = bench.submission(true);
        submission->kind = Credential::Kind::none;
        bench.truth.may_appear(*submission);
        if (has_worker) {
            for (const core::Uuid& id : bench.truth.ids_in(Place::claimed)) {
                bench.truth.may_become(id, Place::unknown);
            }
        }
    };
    made.call = [=](Bench& bench) {
        return call(bench, feedback_of(*submission, submission->id->text()));
    };
    made.tell = [=](Bench& bench) {
        bench.truth.settled(*submission);
        bench.truth.appeared(*submission->id, *submission);
        bench.truth.acknowledged(*submission->id);
    };
    return made;
}

Scenario managing() {
    return submitting("manager: submit, stats, close", true,
                      [](Bench& bench, const Feedback& feedback) {
                          ConversationManager manager{facade_options(bench)};
                          manager.submit_feedback(feedback);
                          manager.stats();
                          manager.close(std::chrono::milliseconds{200});
                          return true;
                      });
}

/// The other calls, around a submit that the worker commits.
Scenario managing_meanwhile() {
    return submitting(
        "manager: async submit and rest", true, [](Bench& bench, const Feedback& feedback) {
            using namespace std::chrono_literals;
            int calls = 0;
            std::error_code failed;
            std::binary_semaphore done{0};
            ConversationManager manager{facade_options(bench)};
            manager.pause();
            manager.async_submit_feedback(feedback, [&](std::error_code error, const Receipt&) {
                ++calls;
                failed = error;
                done.release();
            });
            manager.resume();
            manager.set_credential({});
            manager.network_changed();
            const bool answered = done.try_acquire_for(10s);
            if (answered && !failed) {
                manager.flush(1ms);
                manager.wait(feedback.id, 1ms);
            }
            manager.close(200ms);
            if (!answered || calls != 1) {
                throw std::logic_error("the callback did not run, or more than once");
            }
            return !failed;
        });
}

/// More than one commit takes: what the first of them stored stays stored.
Scenario submitting_a_batch(std::size_t count) {
    struct State {
        std::vector<outbox::Submission> submissions;
        std::vector<SubmitOutcome> outcomes;
    };
    auto state = std::make_shared<State>();
    Scenario made;
    made.name = "outbox: submit many";
    made.opens = false;
    made.by_default_vfs = true;
    made.prepare = [=](Bench& bench) {
        *state = {};
        for (std::size_t i = 0; i < count; ++i) {
            outbox::Submission submission = bench.submission(true);
            submission.kind = Credential::Kind::none;
            bench.truth.may_appear(submission);
            state->submissions.push_back(std::move(submission));
        }
    };
    made.call = [=](Bench& bench) {
        FeedbackBatch batch;
        for (const outbox::Submission& submission : state->submissions) {
            const std::string id = submission.id->text();
            batch.add({feedback_of(submission, id)});
        }
        Outbox outbox{bench.options.path, OutboxMode::create, facade_options(bench)};
        state->outcomes = outbox.submit_many(batch);
        for (const SubmitOutcome& outcome : state->outcomes) {
            if (outcome.error) {
                return false;
            }
        }
        return true;
    };
    made.tell = [=](Bench& bench) {
        for (std::size_t i = 0; i < state->outcomes.size(); ++i) {
            const outbox::Submission& submission = state->submissions[i];
            if (!state->outcomes[i].error) {
                bench.truth.settled(submission);
                bench.truth.appeared(*submission.id, submission);
                bench.truth.acknowledged(*submission.id);
            }
        }
    };
    made.tell_parts = made.tell;
    return made;
}

/// As the store does it, by the public class.
Scenario by_verb(const char* name, Scenario made, OutboxMode mode,
                 std::function<void(Outbox&, Bench&)> call) {
    Scenario taken = verb(name, mode, std::move(call));
    taken.prepare = std::move(made.prepare);
    taken.tell = std::move(made.tell);
    return taken;
}

Scenario salvaging_verb() {
    Scenario made = salvaging();
    made.name = "outbox: salvage";
    made.opens = false;
    made.by_default_vfs = true;
    made.call = [](Bench& bench) {
        Outbox::salvage(bench.options.path, facade_options(bench), true);
        return true;
    };
    return made;
}

}  // namespace

std::vector<Scenario> facade_scenarios() {
    return {
        submitting("outbox: submit", false,
                   [](Bench& bench, const Feedback& feedback) {
                       Outbox outbox{bench.options.path, OutboxMode::create, facade_options(bench)};
                       outbox.submit(feedback);
                       return true;
                   }),
        submitting_a_batch(260),
        verb("outbox: status", OutboxMode::read_only,
             [](Outbox& outbox, Bench&) { outbox.status(); }),
        verb("outbox: list", OutboxMode::read_only,
             [](Outbox& outbox, Bench&) { outbox.list({}, 100); }),
        verb("outbox: for each", OutboxMode::read_only,
             [](Outbox& outbox, Bench&) {
                 outbox.for_each({}, [](const Record&) { return true; });
             }),
        verb("outbox: get", OutboxMode::read_only,
             [](Outbox& outbox, Bench& bench) { outbox.get(bench.any(Place::delivered).text()); }),
        verb("outbox: count", OutboxMode::read_only,
             [](Outbox& outbox, Bench&) { outbox.count({.state = RecordState::waiting}); }),
        moving_verb("outbox: requeue", Place::dead, Place::waiting,
                    [](Outbox& outbox, const std::string& id) { outbox.requeue(id); }),
        moving_verb("outbox: discard", Place::waiting, Place::discarded,
                    [](Outbox& outbox, const std::string& id) { outbox.discard(id); }),
        moving_verb(
            "outbox: resolve as delivered", Place::left, Place::delivered,
            [](Outbox& outbox, const std::string& id) { outbox.resolve_delivered(id, "54321"); }),
        moving_verb("outbox: resolve to send again", Place::unknown, Place::waiting,
                    [](Outbox& outbox, const std::string& id) { outbox.resolve_resend(id); }),
        verb("outbox: hold", OutboxMode::read_write, [](Outbox& outbox, Bench&) { outbox.hold(); }),
        verb("outbox: release", OutboxMode::read_write,
             [](Outbox& outbox, Bench&) { outbox.release(); }),
        verb("outbox: verify", OutboxMode::read_only,
             [](Outbox& outbox, Bench&) { outbox.verify_report(); }),
        by_verb("outbox: purge", purging(), OutboxMode::read_write,
                [](Outbox& outbox, Bench&) {
                    outbox.purge(std::numeric_limits<UtcMilliseconds>::max());
                }),
        verb("outbox: compact", OutboxMode::read_write,
             [](Outbox& outbox, Bench&) { outbox.compact(); }),
        salvaging_verb(),
        managing(),
        managing_meanwhile(),
    };
}

}  // namespace agentsight::test
