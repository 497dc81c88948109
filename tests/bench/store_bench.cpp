// The store alone: what a million waiting records cost a submit and an open, what a drain
// beside it costs a submit, what a record costs in bytes and syncs. Counts hold on any machine.
//
//   bench-store [RECORDS]         default: 1,000,000 waiting

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "agentsight/agentsight.hpp"

#include "bench/bench.hpp"
#include "os/clock.hpp"
#include "outbox/store.hpp"
#include "sandbox/server.hpp"
#include "support/temporary_folder.hpp"

namespace {

/// What reaches the storage: blocks of 4 KiB written to since the last sync of their file, counted
/// at each sync. The kernel's own count (/proc/self/io) counts whole folios, however large.
class Storage {
  public:
    void wrote(int file, std::size_t size, off_t at) {
        if (size == 0) {
            return;
        }
        const std::lock_guard lock{mutex_};
        const auto last = (at + static_cast<off_t>(size) - 1) / block;
        for (off_t one = at / block; one <= last; ++one) {
            dirty_[file].insert(one);
        }
    }
    void synced(int file) {
        const std::lock_guard lock{mutex_};
        ++syncs_;
        blocks_ += dirty_[file].size();
        dirty_[file].clear();
    }
    std::uint64_t syncs() const { return syncs_; }
    std::uint64_t kilobytes() const { return blocks_ * block / 1024; }

  private:
    static constexpr off_t block = 4096;
    std::mutex mutex_;
    std::map<int, std::set<off_t>> dirty_;
    std::atomic<std::uint64_t> syncs_{0};
    std::atomic<std::uint64_t> blocks_{0};
};

Storage& storage() {
    static Storage one;
    return one;
}

}  // namespace

// These stand before the C library's for SQLite too.
extern "C" int fdatasync(int file) {
    storage().synced(file);
    return static_cast<int>(::syscall(SYS_fdatasync, file));
}
extern "C" int fsync(int file) {
    storage().synced(file);
    return static_cast<int>(::syscall(SYS_fsync, file));
}
extern "C" ssize_t pwrite64(int file, const void* data, std::size_t size, off64_t at) {
    storage().wrote(file, size, at);
    return ::syscall(SYS_pwrite64, file, data, size, at);
}

namespace {

using namespace agentsight;
using outbox::Settlement;

constexpr const char* origin = "https://api.example";

/// About 350 bytes, as a kiosk's feedback has.
outbox::Submission submission(std::uint64_t n) {
    outbox::Submission made;
    made.feedback.conversation.value = "=conversation-" + std::to_string(n % 1000);
    made.feedback.sentiment = Sentiment::positive;
    made.feedback.comment = std::string(200, 'c');
    made.feedback.metadata =
        R"({"rating":5,"would_recommend":true,"issue_resolved":true,"response_time_rating":4,)"
        R"("feedback_channel":"kiosk"})";
    made.kind = Credential::Kind::api_key;
    return made;
}

struct Outboxed {
    explicit Outboxed(const std::filesystem::path& path, bool relaxed = false) {
        outbox::StoreOptions options;
        options.path = path;
        options.max_records = 10'000'000;
        options.max_bytes = std::uint64_t{8} << 30;
        options.durability = relaxed ? Durability::relaxed : Durability::power_cut;
        store = std::make_unique<outbox::Store>(options, clock, random);
    }
    void submit() {
        if (store->submit(submission(n++)).error) {
            std::fprintf(stderr, "submit failed\n");
            std::exit(1);
        }
    }
    void fill(std::uint64_t records) {
        std::vector<outbox::Submission> batch;
        for (std::uint64_t i = 0; i < records; ++i) {
            batch.push_back(submission(n++));
            if (batch.size() == 1024 || i + 1 == records) {
                store->submit_many(batch);
                batch.clear();
            }
        }
    }
    outbox::DrainRequest request(std::size_t claim) const {
        outbox::DrainRequest made;
        made.claim = claim;
        made.kind = Credential::Kind::api_key;
        made.origin = origin;
        return made;
    }
    /// Settles what is held and claims anew; how many were settled.
    std::size_t drain(std::size_t claim) {
        outbox::DrainRequest made = request(claim);
        for (const auto& record : held) {
            Settlement settlement;
            settlement.key = record.key;
            settlement.to = Settlement::To::delivered;
            settlement.server_id = "row-" + std::to_string(record.key);
            settlement.server_time = clock.now().utc_ms;
            settlement.origin = origin;
            made.settlements.push_back(settlement);
        }
        const std::size_t settled = held.size();
        held = store->drain(std::move(made)).claimed;
        return settled;
    }
    void become_drainer() {
        store->try_become_drainer();
        store->begin_draining();
    }

    os::SystemClock clock;
    os::SystemRandom random;
    std::unique_ptr<outbox::Store> store;
    std::vector<outbox::ClaimedRecord> held;
    std::uint64_t n = 0;
};

std::vector<double> latencies_us(Outboxed& box, int count) {
    std::vector<double> all;
    for (int i = 0; i < count; ++i) {
        all.push_back(1e6 * bench::seconds([&] { box.submit(); }));
    }
    return all;
}

/// Submits one by one while nothing is sent, then drains over 8 connections: the library as it
/// ships, against a server in this process that keeps its rows in memory.
void measure_costs(const std::filesystem::path& folder) {
    constexpr int records = 4'000;
    sandbox::ServerOptions server_options;
    server_options.request_log = 1;
    sandbox::Server server{server_options};
    Options options;
    options.outbox_path = folder / "costs.db";
    options.endpoint = server.url();
    options.credential = ApiKey{"ags_0123456789abcdef0123456789abcdef_012345"};
    options.connections = 8;
    ConversationManager manager{options};
    std::uint64_t n = 0;
    const auto submit = [&](int count) {
        for (int i = 0; i < count; ++i) {
            const outbox::Submission made = submission(n++);
            manager.submit_feedback({.conversation = made.feedback.conversation.value,
                                     .sentiment = "positive",
                                     .comment = made.feedback.comment,
                                     .metadata_json = made.feedback.metadata});
        }
    };
    const auto measure = [](const std::function<void()>& work) {
        const std::uint64_t kilobytes = storage().kilobytes();
        const std::uint64_t syncs = storage().syncs();
        work();
        return std::pair{static_cast<double>(storage().kilobytes() - kilobytes) / records,
                         static_cast<double>(storage().syncs() - syncs) / records};
    };
    submit(500);  // a log of its usual size
    manager.flush(std::chrono::minutes{1});
    manager.pause();
    const auto [submit_kilobytes, submit_syncs] = measure([&] { submit(records); });
    manager.resume();
    const auto [drain_kilobytes, drain_syncs] =
        measure([&] { manager.flush(std::chrono::minutes{5}); });
    if (manager.stats().delivered != n) {
        std::fprintf(stderr, "not everything was delivered\n");
        std::exit(1);
    }
    std::printf("a record from submit to delivered, 1 thread, 8 connections, %d records:\n",
                records);
    std::printf("  submit %.1f KB and %.2f syncs, claim and settle %.1f KB and %.2f syncs\n",
                submit_kilobytes, submit_syncs, drain_kilobytes, drain_syncs);
    bench::print_target("KB to storage a record, submit to delivered",
                        submit_kilobytes + drain_kilobytes, 16, false);
    bench::print_target("syncs a record, submit to delivered", submit_syncs + drain_syncs, 1.2,
                        false);
}

/// A submitter alone, and beside a drain that settles without pause; in turn.
void measure_beside_drain(const std::filesystem::path& folder) {
    constexpr int rounds = 5;
    constexpr int submits = 4'000;
    Outboxed box{folder / "beside.db"};
    box.become_drainer();
    std::vector<double> alone;
    std::vector<double> beside;
    for (int round = 0; round < rounds; ++round) {
        for (const double value : latencies_us(box, submits)) {
            alone.push_back(value);
        }
        std::atomic<bool> stop{false};
        std::thread drainer{[&] {
            while (!stop) {
                box.drain(16);
            }
        }};
        for (const double value : latencies_us(box, submits)) {
            beside.push_back(value);
        }
        stop = true;
        drainer.join();
    }
    const auto print = [](const char* what, const std::vector<double>& values) {
        std::printf("  %-40s p50 %6.0f us, p99 %6.0f us, p99.9 %6.0f us\n", what,
                    bench::median(values), bench::percentile(values, 0.99),
                    bench::percentile(values, 0.999));
    };
    std::printf("submit, %d rounds of %d:\n", rounds, submits);
    print("alone", alone);
    print("while a drain settles without pause", beside);
    bench::print_target("beside a drain: p99.9 / p50",
                        bench::percentile(beside, 0.999) / bench::median(beside), 20, false);
    bench::print_target("beside a drain: p50 / p50 alone (at most two commits waited for)",
                        bench::median(beside) / bench::median(alone), 3, false);
}

void measure_million(const std::filesystem::path& folder, std::uint64_t records) {
    constexpr int rounds = 7;
    constexpr int submits = 1'500;
    const auto path = folder / "million.db";
    {
        Outboxed filling{path, true};
        const double took = bench::seconds([&] { filling.fill(records); });
        std::printf("%llu records filled in, %.0f records/s (relaxed, in batches)\n",
                    static_cast<unsigned long long>(records), static_cast<double>(records) / took);
    }
    std::vector<double> opens;
    for (int i = 0; i < rounds; ++i) {
        opens.push_back(1000 * bench::seconds([&] { Outboxed open{path}; }));
    }
    Outboxed full{path};
    full.n = records;
    Outboxed empty{folder / "empty.db"};
    std::vector<double> p50;
    std::vector<double> p99;
    for (int round = 0; round < rounds; ++round) {
        std::vector<double> a;
        std::vector<double> b;
        for (int i = 0; i < submits; ++i) {  // in turn: what disturbs one disturbs the other
            a.push_back(1e6 * bench::seconds([&] { empty.submit(); }));
            b.push_back(1e6 * bench::seconds([&] { full.submit(); }));
        }
        p50.push_back(bench::median(b) / bench::median(a));
        p99.push_back(bench::percentile(b, 0.99) / bench::percentile(a, 0.99));
        std::printf("  round %d: empty p50 %4.0f p99 %4.0f us, full p50 %4.0f p99 %4.0f us\n",
                    round + 1, bench::median(a), bench::percentile(a, 0.99), bench::median(b),
                    bench::percentile(b, 0.99));
    }
    bench::print_target("a million waiting / none: submit p50", bench::median(p50), 1.15, false);
    bench::print_target("a million waiting / none: submit p99", bench::median(p99), 1.5, false);
    bench::print_target("open with them after a clean stop, ms", bench::median(opens), 50, false);
}

}  // namespace

int main(int argc, char** argv) {
    const std::uint64_t records = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
    const agentsight::test::TemporaryFolder folder;
    measure_costs(folder.path());
    measure_beside_drain(folder.path());
    measure_million(folder.path(), records);
    return 0;
}
