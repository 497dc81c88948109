// The store alone: what a million waiting records cost a submit and an open, what a drain
// beside it costs a submit, what a record costs in bytes and syncs. Counts hold on any machine.
//
//   bench-store [RECORDS]         default: 1,000,000 waiting

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "bench/bench.hpp"
#include "os/clock.hpp"
#include "outbox/store.hpp"
#include "support/temporary_folder.hpp"

namespace {
std::atomic<std::uint64_t> syncs{0};
}

// These stand before the C library's for SQLite too.
extern "C" int fdatasync(int descriptor) {
    ++syncs;
    return static_cast<int>(::syscall(SYS_fdatasync, descriptor));
}
extern "C" int fsync(int descriptor) {
    ++syncs;
    return static_cast<int>(::syscall(SYS_fsync, descriptor));
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

/// Bytes this process has made the storage write, by the kernel's own count.
std::uint64_t written_bytes() {
    std::ifstream file{"/proc/self/io"};
    for (std::string word; file >> word;) {
        if (word == "write_bytes:") {
            std::uint64_t bytes = 0;
            file >> bytes;
            return bytes;
        }
    }
    return 0;
}

double kilobytes_each(const std::function<void()>& work, int records) {
    const std::uint64_t before = written_bytes();
    work();
    return static_cast<double>(written_bytes() - before) / 1024 / records;
}

/// Submits one by one, then drains with `connections` in flight.
void measure_costs(const std::filesystem::path& folder) {
    constexpr int records = 4'000;
    constexpr std::size_t connections = 8;
    Outboxed box{folder / "costs.db"};
    box.become_drainer();
    box.fill(100);
    while (box.drain(connections) > 0 || !box.held.empty()) {
    }
    const std::uint64_t before = syncs;
    const double submitted = kilobytes_each(
        [&] {
            for (int i = 0; i < records; ++i) {
                box.submit();
            }
        },
        records);
    const std::uint64_t between = syncs;
    const double drained = kilobytes_each(
        [&] {
            do {
                box.drain(connections);
            } while (!box.held.empty());
        },
        records);
    const auto per_record = [](std::uint64_t count) {
        return static_cast<double>(count) / records;
    };
    std::printf("a record from submit to delivered, 1 thread, %zu connections, %d records:\n",
                connections, records);
    std::printf("  submit %.1f KB and %.2f syncs, claim and settle %.1f KB and %.2f syncs\n",
                submitted, per_record(between - before), drained, per_record(syncs - between));
    bench::print_target("KB to storage a record, submit to delivered", submitted + drained, 16,
                        false);
    bench::print_target("syncs a record, submit to delivered", per_record(syncs - before), 1.2,
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
