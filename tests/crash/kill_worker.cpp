#include "kill_worker.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <exception>
#include <thread>
#include <vector>

#include "os/clock.hpp"
#include "support/test_random.hpp"
#include "truth.hpp"

namespace agentsight::test {

namespace {

using Kind = KillMessage::Kind;
using To = outbox::Settlement::To;

class Worker {
  public:
    explicit Worker(const KillWork& work)
        : work_{work},
          store_{kill_options(work.path), clock_, random_},
          serial_{work.first_serial} {}

    void submit_for_ever() {
        for (;;) {
            const std::uint64_t serial = serial_.fetch_add(1);
            tell({.kind = Kind::submits, .serial = serial, .id = {}});
            const outbox::SubmitResult result = store_.submit(submission_of(serial));
            if (result.error) {
                throw std::runtime_error("submit: " + result.message);
            }
            tell({.kind = Kind::submitted, .serial = serial, .id = result.id});
        }
    }

    void drain_for_ever() {
        TestRandom random{work_.seed};
        while (!store_.try_become_drainer()) {
            std::this_thread::yield();  // the one killed before is still being taken down
        }
        tell({.kind = Kind::begins, .id = {}});
        store_.begin_draining();
        tell({.kind = Kind::began, .id = {}});
        std::vector<outbox::ClaimedRecord> held = store_.due_unknowns(50, true);
        for (;;) {
            held = drain(random, held);
            if (random.one_in(50)) {
                store_.tidy();
            }
        }
    }

  private:
    std::vector<outbox::ClaimedRecord> drain(TestRandom& random,
                                             const std::vector<outbox::ClaimedRecord>& held) {
        outbox::DrainRequest request;
        request.claim = 1 + random.below(8);
        request.kind = Credential::Kind::api_key;
        request.origin = "https://api.example";
        request.ignore_due = true;
        for (const auto& record : held) {
            request.settlements.push_back(settle(random, record));
        }
        tell({.kind = Kind::claims, .serial = request.claim, .id = {}});
        const auto reply = store_.drain(std::move(request));
        tell({.kind = Kind::settled, .id = {}});
        for (const auto& record : reply.claimed) {
            tell({.kind = Kind::claimed,
                  .serial = serial_of(record.feedback.comment),
                  .id = record.id});
        }
        tell({.kind = Kind::drained, .id = {}});
        return reply.claimed;
    }

    outbox::Settlement settle(TestRandom& random, const outbox::ClaimedRecord& record) {
        outbox::Settlement made;
        made.key = record.key;
        made.due = store_.now();
        made.origin = "https://api.example";
        Place place = Place::delivered;
        switch (random.below(8)) {
            case 0:
                made.to = To::waiting;
                place = Place::waiting;
                break;
            case 1:
                made.to = random.one_in(4) ? To::dead : To::unknown;
                place = made.to == To::dead ? Place::dead : Place::unknown;
                break;
            default:
                made.to = To::delivered;
                made.server_id = std::to_string(random.next() >> 1);
                made.server_time = clock_.now().utc_ms;
        }
        tell({.kind = Kind::settles,
              .place = static_cast<std::uint8_t>(place),
              .serial = 0,
              .id = record.id});
        return made;
    }

    void tell(const KillMessage& message) const {
        if (::write(work_.pipe, &message, sizeof message) != sizeof message) {
            ::_exit(0);  // the parent is gone
        }
    }

    const KillWork& work_;
    os::SystemClock clock_;
    os::SystemRandom random_;
    outbox::Store store_;
    std::atomic<std::uint64_t> serial_;
};

}  // namespace

outbox::Submission submission_of(std::uint64_t serial) {
    TestRandom random{serial};
    outbox::Submission made;
    made.feedback.conversation.value = "=c" + std::to_string(random.below(20));
    made.feedback.sentiment = static_cast<Sentiment>(random.below(3));
    made.feedback.comment = std::to_string(serial) + " ";
    made.feedback.comment.resize(
        made.feedback.comment.size() + (random.one_in(16) ? 9000 : random.below(400)), 'w');
    made.kind = Credential::Kind::api_key;
    if (random.one_in(2)) {
        made.id.emplace();
        for (auto& byte : made.id->bytes) {
            byte = static_cast<std::uint8_t>(random.next());
        }
    }
    return made;
}

std::uint64_t serial_of(const std::string& comment) {
    std::uint64_t serial = 0;
    std::from_chars(comment.data(), comment.data() + comment.size(), serial);
    return serial;
}

outbox::StoreOptions kill_options(const std::filesystem::path& path) {
    outbox::StoreOptions options;
    options.path = path;
    options.keep_delivered = 20;
    return options;
}

int work_until_killed(const KillWork& work) {
    try {
        Worker worker{work};
        const auto run = [&](auto body) {
            return std::thread{[&worker, body] {
                try {
                    (worker.*body)();
                } catch (const std::exception& error) {
                    std::fprintf(stderr, "worker: %s\n", error.what());
                    ::_exit(3);
                }
            }};
        };
        std::array threads{run(&Worker::submit_for_ever), run(&Worker::submit_for_ever),
                           run(&Worker::drain_for_ever)};
        for (auto& thread : threads) {
            thread.join();
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "worker: %s\n", error.what());
    }
    return 3;
}

}  // namespace agentsight::test
