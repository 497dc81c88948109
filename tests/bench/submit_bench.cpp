// Durable submits against raw SQLite and a bare file, interleaved in one run.
//
//   bench-submit [ROUNDS] [RECORDS_PER_ROUND]      on the disk of TMPDIR

#include <atomic>
#include <mutex>

#include "agentsight/agentsight.hpp"
#include "bench/baselines.hpp"
#include "bench/bench.hpp"
#include "support/temporary_folder.hpp"

namespace {

using agentsight::ConversationManager;
using agentsight::Options;

/// About 350 bytes a record, as a kiosk's feedback has.
const std::string comment(200, 'c');
const std::string metadata =
    R"({"rating":5,"would_recommend":true,"issue_resolved":true,"response_time_rating":4,"feedback_channel":"kiosk"})";
const std::string raw_record(350, 'r');

Options options_in(const std::filesystem::path& folder) {
    Options options;
    options.outbox_path = folder / "feedback.db";
    options.endpoint = "http://127.0.0.1:1";
    return options;
}

void submit(ConversationManager& manager, int thread) {
    thread_local std::uint64_t n = 0;
    manager.submit_feedback(
        {.conversation = "conversation-" + std::to_string(thread) + "-" + std::to_string(++n % 100),
         .sentiment = "positive",
         .comment = comment,
         .metadata_json = metadata});
}

double rate(int records, int threads, const std::function<void(int)>& one) {
    const int each = records / threads;
    const double took = bench::in_parallel(threads, [&](int thread) {
        for (int i = 0; i < each; ++i) {
            one(thread);
        }
    });
    return each * threads / took;
}

}  // namespace

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 7;
    const int records = argc > 2 ? std::atoi(argv[2]) : 4'000;
    agentsight::test::TemporaryFolder folder;

    ConversationManager manager{options_in(folder.path())};
    bench::RawSqlite raw(folder.path() / "raw.db");
    bench::BareFile bare(folder.path() / "bare", std::size_t{512} << 20);
    std::mutex mutex;
    const auto raw_one = [&](int) {
        const std::lock_guard lock(mutex);
        raw.insert(raw_record);
    };
    const auto ours = [&](int thread) { submit(manager, thread); };
    const auto file = [&](int) { bare.append(raw_record); };

    std::vector<bench::Variant> v = {
        {"bare file, 1 thread", [&] { return rate(records, 1, file); }},
        {"raw SQLite, 1 thread", [&] { return rate(records, 1, raw_one); }},
        {"outbox, 1 thread", [&] { return rate(records, 1, ours); }},
        {"bare file with group commit, 8 threads", [&] { return rate(records * 3, 8, file); }},
        {"raw SQLite behind one mutex, 8 threads", [&] { return rate(records, 8, raw_one); }},
        {"outbox, 8 threads", [&] { return rate(records * 3, 8, ours); }},
    };
    bench::run(v, rounds);
    std::printf("durable submits, %d rounds of %d records, median (least ... most):\n", rounds,
                records);
    for (const bench::Variant& variant : v) {
        bench::print(variant, "records/s");
    }
    bench::print_target("outbox / raw SQLite, 1 thread", bench::ratio(v[2], v[1]), 0.95);
    bench::print_target("outbox / raw SQLite behind one mutex, 8 threads", bench::ratio(v[5], v[4]),
                        3.5);
    bench::print_target("outbox / bare file with group commit, 8 threads", bench::ratio(v[5], v[3]),
                        0.75);
    return 0;
}
