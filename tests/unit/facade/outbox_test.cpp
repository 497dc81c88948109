// The public Outbox class on space, privacy and damage; what they do is the store's own test.
#include <doctest/doctest.h>

#include <chrono>
#include <fstream>
#include <semaphore>

#include "agentsight/conversation_manager.hpp"
#include "agentsight/outbox.hpp"
#include "os/lock_file.hpp"
#include "support/temporary_folder.hpp"

using namespace agentsight;
using namespace agentsight::test;
namespace fs = std::filesystem;

namespace {

Feedback feedback(const char* comment) {
    Feedback made{"c1", Sentiment::positive};
    made.comment = comment;
    return made;
}

std::string content(const fs::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

}  // namespace

TEST_CASE("an outbox is verified, purged, compacted and salvaged through the public class") {
    TemporaryFolder folder;
    const fs::path path = folder / "feedback.db";
    std::string kept;
    {
        Outbox outbox{path, OutboxMode::create};
        const std::string id = outbox.submit(feedback("comment-secret")).id;
        kept = outbox.submit(feedback("comment-kept")).id;
        CHECK(outbox.verify().empty());
        outbox.discard(id);
        CHECK(outbox.purge(INT64_MAX) == 1);
        CHECK(content(path).find("comment-secret") == std::string::npos);
        CHECK(outbox.compact().bytes_after <= fs::file_size(path));
        CHECK(Outbox::salvage(path).moved_to.empty());
    }
    std::ofstream{path, std::ios::binary | std::ios::in}.seekp(0) << std::string(100, 'x');
    const Salvage done = Outbox::salvage(path);
    CHECK(done.rescued == 1);
    CHECK(content(done.moved_to).starts_with("xxx"));
    CHECK(Outbox{path}.get(kept).comment == "comment-kept");
    CHECK(Outbox{path}.verify().empty());
}

TEST_CASE("a salvage that finds nothing to do takes no lock: submits go on meanwhile") {
    TemporaryFolder folder;
    const fs::path path = folder / "feedback.db";
    Outbox{path, OutboxMode::create}.submit(feedback("here"));
    os::LockFile submitter{path.string() + "-lock"};
    REQUIRE(submitter.lock(os::LockFile::Range::commit, os::LockFile::Mode::exclusive,
                           std::chrono::milliseconds{0}));
    Options options;
    options.busy_timeout = std::chrono::milliseconds{0};
    CHECK(Outbox::salvage(path, options).moved_to.empty());
}

TEST_CASE("who submits to a damaged outbox is told where its file went and what was rescued") {
    TemporaryFolder folder;
    const fs::path path = folder / "feedback.db";
    Outbox{path, OutboxMode::create}.submit(feedback("comment-kept"));
    std::ofstream{path, std::ios::binary | std::ios::in}.seekp(0) << std::string(100, 'x');
    std::vector<event::Salvaged> seen;
    Options options;
    options.observer = [&](const Event& event) {
        if (const auto* salvaged = std::get_if<event::Salvaged>(&event)) {
            seen.push_back(*salvaged);
        }
        throw 1;  // stops nothing
    };
    Outbox outbox{path, OutboxMode::create, options};
    REQUIRE(seen.size() == 1);
    CHECK(seen[0].rescued == 1);
    CHECK(content(seen[0].moved_to).starts_with("xxx"));
    outbox.submit(feedback("after"));
    CHECK(seen.size() == 1);
}

TEST_CASE("what was found at an open or a read is told at once, and not after the next commit") {
    TemporaryFolder folder;
    std::counting_semaphore<> told{0};
    Options options;
    options.outbox_path = folder / "feedback.db";
    options.endpoint = "http://127.0.0.1:9";
    options.observer = [&](const Event& event) {
        if (std::holds_alternative<event::Salvaged>(event) ||
            std::holds_alternative<event::Alarm>(event)) {
            told.release();
        }
    };
    Outbox{options.outbox_path, OutboxMode::create}.submit(feedback("kept"));
    std::ofstream{options.outbox_path, std::ios::binary | std::ios::in}.seekp(0)
        << std::string(100, 'x');
    ConversationManager manager{options};
    CHECK(told.try_acquire_for(std::chrono::seconds{20}));
    for (const char* suffix : {"", "-wal", "-shm"}) {
        fs::remove(options.outbox_path.string() + suffix);
    }
    CHECK(manager.stats().accepted == 1);
    CHECK(told.try_acquire_for(std::chrono::seconds{20}));
}

TEST_CASE("a batch takes what keeps the rules, and is committed in order, with an outcome each") {
    TemporaryFolder folder;
    Outbox outbox{folder / "feedback.db", OutboxMode::create};
    Options small;
    small.max_metadata_bytes = 10;
    FeedbackBatch batch{small};
    constexpr const char* id = "5f1c8a10-0000-4000-8000-000000000001";
    const auto add = [&](Feedback feedback) { batch.add({feedback}); };
    const auto refused = [&](Feedback feedback) {
        const std::size_t before = batch.size();
        std::error_code code;
        try {
            batch.add({feedback});
        } catch (const Error& error) {
            code = error.code();
        }
        CHECK(batch.size() == before);
        return code;
    };
    CHECK(outbox.submit_many(batch).empty());
    add(feedback("one"));
    CHECK(refused({"c", "bad"}) == errc::sentiment_invalid);
    CHECK(refused(
              {.conversation = "c", .sentiment = "neutral", .metadata_json = R"({"long":100})"}) ==
          errc::metadata_too_large);
    CHECK(refused({.conversation = "c", .sentiment = "neutral", .id = "no-id"}) ==
          errc::record_id_invalid);
    {
        const std::string gone = "copied";  // a view of it is all that the batch is given
        add({.conversation = "c", .sentiment = "neutral", .comment = gone, .id = id});
    }
    add({.conversation = "c", .sentiment = "neutral", .comment = "copied", .id = id});
    add({.conversation = "c", .sentiment = "negative", .comment = "copied", .id = id});
    for (int i = 0; i < 300; ++i) {
        add(feedback("many"));
    }
    FeedbackBatch moved = std::move(batch);
    const std::vector<SubmitOutcome> outcomes = outbox.submit_many(moved);
    REQUIRE(outcomes.size() == moved.size());
    CHECK(outcomes[0].receipt.stored);
    CHECK(outcomes[1].receipt.stored);
    CHECK(outcomes[1].receipt.id == id);
    CHECK_FALSE(outcomes[2].receipt.stored);
    CHECK_FALSE(outcomes[2].error);
    CHECK(outcomes[3].error == errc::id_conflict);
    CHECK(outcomes.back().receipt.stored);
    CHECK(outbox.get(id).comment == "copied");
    CHECK(outbox.status().accepted == 302);
    // Given back by their ids, those of the library's own are found, the first and the last too.
    FeedbackBatch again;
    for (const SubmitOutcome& outcome : outcomes) {
        if (!outcome.error && outcome.receipt.id != id) {
            Feedback same = feedback(again.size() == 0 ? "one" : "many");
            same.id = outcome.receipt.id;
            again.add({same});
        }
    }
    for (const SubmitOutcome& outcome : outbox.submit_many(again)) {
        CHECK_FALSE(outcome.error);
        CHECK_FALSE(outcome.receipt.stored);
    }
    CHECK(outbox.status().accepted == 302);
}
