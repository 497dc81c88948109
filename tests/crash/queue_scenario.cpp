#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>

#include "os/lock_file.hpp"
#include "outbox/commit_queue.hpp"
#include "outbox/ledger.hpp"
#include "sweep.hpp"

namespace agentsight::test {

namespace {

using namespace std::chrono_literals;
using Deadline = std::chrono::steady_clock::time_point;

class Touch final : public outbox::Job {
  public:
    explicit Touch(Deadline until = std::chrono::steady_clock::now() + 1min) : Job(Kind::other) {
        deadline = until;
    }
    void apply(outbox::Tables& tables) override { tables.write_anyway(); }
    void committed() noexcept override { ++commits; }

    bool is_sound() const { return commits == (error ? 0 : 1); }

    int commits = 0;
};

struct Queued {
    explicit Queued(Bench& bench)
        : options(bench.options),
          files(options.path),
          writer(options, files, bench.clock, bench.random, axis, [] {}),
          other(files.lock) {
        writer.open(outbox::Writer::Company::possible);
        // A deque takes a new piece of memory where 32 entries have gone through: with the next
        // one at its front, had they to be put there again.
        for (int i = 0; i < 30; ++i) {
            Touch job;
            queue.run(job);
        }
    }
    ~Queued() { writer.close(true); }
    Queued(const Queued&) = delete;
    Queued& operator=(const Queued&) = delete;

    /// Returns once it has been queued, or could not be.
    std::thread submit(Touch& job) {
        const std::size_t before = queue.waiting();
        std::thread thread{[this, &job] { queue.run(job); }};
        await(before + 1);
        return thread;
    }
    void await(std::size_t count) {
        while (queue.waiting() < count && !gave_up) {
            std::this_thread::yield();
        }
    }

    outbox::StoreOptions options;
    outbox::Files files;
    outbox::Axis axis;
    outbox::Writer writer;
    outbox::CommitQueue queue{writer, nullptr, nullptr};
    os::LockFile other;
    std::atomic<bool> gave_up{false};
};

bool put_off(Queued& outbox) {
    Touch first;
    Touch hurried{Deadline{}};
    Touch last;
    const bool locked =
        outbox.other.lock(os::LockFile::Range::commit, os::LockFile::Mode::exclusive, 1min);
    std::atomic<bool> leads{false};
    std::thread leader{[&] {
        std::array<std::thread, 2> behind;
        outbox.queue.run_alone([&] {
            leads = true;
            outbox.await(1);
            if (!outbox.gave_up) {
                behind = {outbox.submit(hurried), outbox.submit(last)};
            }
        });
        if (!outbox.gave_up) {
            behind[0].join();
            outbox.other.unlock(os::LockFile::Range::commit);
            behind[1].join();
        }
    }};
    while (!leads) {
        std::this_thread::yield();
    }
    try {
        outbox.queue.run(first);  // leads the three: the fault is this thread's
    } catch (...) {
        outbox.gave_up = true;
        leader.join();
        throw;
    }
    leader.join();
    outbox.queue.close();
    if (!first.is_sound() || !hurried.is_sound() || !last.is_sound()) {
        throw std::logic_error{"what the queue said of a job is not what became of it"};
    }
    return locked && hurried.error && !first.error && !last.error;
}

}  // namespace

Scenario putting_off() {
    auto outbox = std::make_shared<std::unique_ptr<Queued>>();
    Scenario made;
    made.name = "a batch that is put off";
    made.opens = false;
    made.prepare = [=](Bench& bench) { *outbox = std::make_unique<Queued>(bench); };
    made.call = [=](Bench&) { return put_off(*std::exchange(*outbox, nullptr)); };
    return made;
}

}  // namespace agentsight::test
