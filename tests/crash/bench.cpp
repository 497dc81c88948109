#include "bench.hpp"

#include <stdexcept>

namespace agentsight::test {

Bench::Bench(const std::filesystem::path& folder, const Ground& ground, std::uint64_t seed)
    : disk{folder, ground.image}, random{seed}, truth{ground.truth} {
    disk.fault = [this](const Operation& operation) { return calls(operation); };
    options.path = disk.folder() / "feedback.db";
    options.vfs = disk.vfs();
    options.busy_timeout = std::chrono::milliseconds{0};
    options.keep_delivered = 4;
}

void Bench::open() {
    store = std::make_unique<outbox::Store>(options, clock, random);
}

outbox::Submission Bench::submission(bool with_id, std::size_t size) {
    outbox::Submission made;
    made.feedback.conversation.value = "=c" + std::to_string(random.below(5));
    made.feedback.sentiment = Sentiment::positive;
    made.feedback.comment = "words " + std::to_string(random.next());
    made.feedback.comment.resize(made.feedback.comment.size() + size, 'x');
    made.kind = Credential::Kind::api_key;
    if (with_id) {
        made.id.emplace();
        for (auto& byte : made.id->bytes) {
            byte = static_cast<std::uint8_t>(random.next());
        }
    }
    return made;
}

outbox::DrainRequest Bench::request(std::size_t claim) const {
    outbox::DrainRequest made;
    made.claim = claim;
    made.kind = Credential::Kind::api_key;
    made.origin = api;
    made.ignore_due = true;
    return made;
}

outbox::Settlement Bench::settlement(std::int64_t key, outbox::Settlement::To to) {
    outbox::Settlement made;
    made.key = key;
    made.to = to;
    made.due = store->now();
    made.counts_attempt = true;
    made.attempt_ended = clock.now();
    made.origin = api;
    if (to == outbox::Settlement::To::delivered) {
        made.server_id = std::to_string(random.next() >> 1);
        made.server_time = clock.now().utc_ms;
    }
    return made;
}

core::Uuid Bench::any(Place place) const {
    const auto ids = truth.ids_in(place);
    if (ids.empty()) {
        throw std::logic_error("the ground has no such record");
    }
    return ids.front();
}

namespace {

void submit(Bench& bench, const std::string& conversation, bool with_id) {
    outbox::Submission submission = bench.submission(with_id);
    submission.feedback.conversation.value = conversation;
    const outbox::SubmitResult result = bench.store->submit(submission);
    if (result.error) {
        throw std::runtime_error(result.message);
    }
    bench.truth.appeared(result.id, submission);
}

void settle(Bench& bench, outbox::Settlement::To to, Place place, int count) {
    auto claimed = bench.store->drain(bench.request(static_cast<std::size_t>(count))).claimed;
    for (const auto& record : claimed) {
        outbox::DrainRequest request = bench.request(0);
        request.settlements.push_back(bench.settlement(record.key, to));
        bench.store->drain(std::move(request));
        bench.truth.became(record.id, place);
    }
}

}  // namespace

Ground make_ground(const std::filesystem::path& folder, bool closed) {
    using To = outbox::Settlement::To;
    Bench bench{folder, {}, 5};
    bench.open();
    bench.store->try_become_drainer();
    bench.store->begin_draining();
    int conversation = 0;
    const auto submit_some = [&](int count) {
        for (int i = 0; i < count; ++i) {
            submit(bench, "=g" + std::to_string(conversation++), i % 3 == 0);
        }
    };
    submit_some(12);
    settle(bench, To::delivered, Place::delivered, 5);
    settle(bench, To::dead, Place::dead, 2);
    settle(bench, To::unknown, Place::unknown, 3);
    settle(bench, To::left, Place::left, 2);
    submit_some(5);
    const core::Uuid discarded = bench.truth.ids_in(Place::waiting).front();
    bench.store->discard(discarded.text(), true);
    bench.truth.became(discarded, Place::discarded);
    submit_some(3);
    for (const auto& record : bench.store->drain(bench.request(3)).claimed) {
        bench.truth.became(record.id, Place::claimed);
    }
    // Two of one conversation: the second waits behind the first.
    submit(bench, "=g99", false);
    submit(bench, "=g99", true);
    bench.truth.acknowledged();
    if (closed) {
        bench.close();
    }
    TestRandom random{1};
    return {bench.disk.stopped_by(Damage::lose_unsynced, random), bench.truth};
}

}  // namespace agentsight::test
