// The tool on many records: import against raw batched inserts in the same run, the first
// page of list, status and show, the memory that import and export take, and what a submit waits
// while the tool is at work on the same outbox.
//
//   bench-tool [RECORDS]          default: 1,000,000, in 20 rounds

#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <fstream>
#include <mutex>

#include "agentsight/agentsight.hpp"
#include "bench/baselines.hpp"
#include "bench/bench.hpp"
#include "support/temporary_folder.hpp"

namespace {

struct Ended {
    double seconds = 0;
    long peak_kb = 0;
};

/// Runs the tool on `outbox`, its output to a file; it must succeed.
Ended run(const std::filesystem::path& outbox, const std::string& arguments,
          const std::string& output) {
    const std::string command = "exec '" AGENTSIGHT_OUTBOX_TOOL "' " + arguments + " --outbox '" +
                                outbox.string() + "' > '" + output + "' 2>&1";
    Ended ended;
    rusage usage{};
    int status = 0;
    ended.seconds = bench::seconds([&] {
        const pid_t pid = ::fork();
        if (pid == 0) {
            ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
            ::_exit(127);
        }
        ::wait4(pid, &status, 0, &usage);
    });
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        std::fprintf(stderr, "failed: %s\n", command.c_str());
        std::exit(1);
    }
    ended.peak_kb = usage.ru_maxrss;
    return ended;
}

Ended run(const std::filesystem::path& outbox, const std::string& arguments) {
    return run(outbox, arguments, outbox.string() + "-out");
}

/// About 350 bytes of feedback a line, each with an id, as `export` writes them.
void write_lines(const std::filesystem::path& file, std::uint64_t first, std::uint64_t count) {
    std::ofstream stream(file);
    const std::string comment(200, 'c');
    char id[80];
    for (std::uint64_t i = first; i < first + count; ++i) {
        std::snprintf(id, sizeof id, "%08x-%04x-7%03x-8%03x-%012llx",
                      static_cast<unsigned>(0x0198b5a0 + (i >> 16)),
                      static_cast<unsigned>(i & 0xffff), static_cast<unsigned>(i * 7 & 0xfff),
                      static_cast<unsigned>(i * 13 & 0xfff), static_cast<unsigned long long>(i));
        stream << R"({"id":")" << id << R"(","conversation_id":"conversation-)" << i % 1000
               << R"(","sentiment":"positive","comment":")" << comment
               << R"(","metadata":{"rating":5,"would_recommend":true,"issue_resolved":true,)"
                  R"("response_time_rating":4,"feedback_channel":"kiosk"}})"
               << "\n";
    }
}

double best_ms(const std::filesystem::path& outbox, const std::string& arguments) {
    std::vector<double> times;
    for (int i = 0; i < 15; ++i) {
        times.push_back(run(outbox, arguments).seconds * 1000);
    }
    std::printf("  %-58s %10.1f ms         (%.1f ... %.1f)\n", arguments.c_str(),
                bench::median(times), *std::min_element(times.begin(), times.end()),
                *std::max_element(times.begin(), times.end()));
    return bench::median(times);
}

std::string first_id(const std::filesystem::path& outbox) {
    run(outbox, "list --limit 1 --json");
    std::ifstream stream(outbox.string() + "-out");
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    return text.substr(text.find("\"id\":\"") + 6, 36);
}

/// What submits wait, in ms, on four threads that submit without a pause while `beside` runs.
std::vector<double> waits_beside(const std::filesystem::path& path,
                                 const std::function<void()>& beside) {
    agentsight::Outbox outbox(path, agentsight::OutboxMode::read_write);
    std::vector<double> waits;
    std::mutex mutex;
    std::atomic<bool> done = false;
    bench::in_parallel(5, [&](int thread) {
        if (thread == 4) {
            beside();
            done = true;
            return;
        }
        std::vector<double> own;
        const std::string conversation = "live-" + std::to_string(thread);
        while (!done) {
            own.push_back(1000 * bench::seconds([&] {
                              outbox.submit({.conversation = conversation,
                                             .sentiment = "neutral",
                                             .comment = "beside the tool"});
                          }));
        }
        const std::lock_guard lock(mutex);
        waits.insert(waits.end(), own.begin(), own.end());
    });
    return waits;
}

/// Submits beside each verb on one outbox, and beside nothing, in turn; medians of the rounds.
void measure_waits(const agentsight::test::TemporaryFolder& folder, std::uint64_t records) {
    const auto outbox = folder / "live.db";
    const auto lines = folder / "live-lines";
    std::uint64_t written = 0;
    const auto import = [&] {
        write_lines(lines, written, records);
        written += records;
        run(outbox, "import '" + lines.string() + "'");
    };
    import();
    struct Beside {
        const char* name;
        std::function<void()> work;
        std::vector<double> medians = {}, p99s = {}, worst = {};
    };
    // Not to a file: a sync may have to write others' data too (ext4, data=ordered).
    const auto verb = [&](const char* arguments) {
        return [&outbox, arguments] { run(outbox, arguments, "/dev/null"); };
    };
    std::vector<Beside> all;
    const auto shell = [](const char* command) {
        return [command] {
            if (std::system(command) < 0) {
                std::exit(1);
            }
        };
    };
    all.push_back({"nothing, 1 s", shell("timeout 1 tail -f /dev/null")});
    // What the processor's sharing alone costs.
    all.push_back({"a busy process, 1 s", shell("timeout 1 sh -c 'while :; do :; done'")});
    all.push_back({"export", verb("export")});
    all.push_back({"list --limit 100000", verb("list --limit 100000")});
    all.push_back({"verify", verb("verify")});
    all.push_back({"compact", verb("compact")});
    all.push_back({"purge", verb("purge --delivered-before 1d")});
    all.push_back({"import", import});
    constexpr int rounds = 3;
    for (int round = 0; round < rounds; ++round) {
        for (Beside& beside : all) {
            const std::vector<double> waits = waits_beside(outbox, beside.work);
            beside.medians.push_back(bench::median(waits));
            beside.p99s.push_back(bench::percentile(waits, 0.99));
            beside.worst.push_back(bench::percentile(waits, 1));
        }
    }
    std::printf("what a submit waits on four threads, ms, %llu records and more, %d rounds:\n",
                static_cast<unsigned long long>(records), rounds);
    std::printf("  %-30s %10s %10s %10s\n", "beside", "median", "p99", "worst");
    for (const Beside& beside : all) {
        std::printf("  %-30s %10.2f %10.2f %10.2f   (worst of the rounds %.2f)\n", beside.name,
                    bench::median(beside.medians), bench::median(beside.p99s),
                    bench::median(beside.worst), bench::percentile(beside.worst, 1));
    }
}

}  // namespace

int main(int argc, char** argv) {
    const std::uint64_t records = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
    constexpr int rounds = 20;
    const std::uint64_t each = std::max<std::uint64_t>(records / rounds, 1'000);
    const agentsight::test::TemporaryFolder folder;
    const auto outbox = folder / "feedback.db";
    const auto lines = folder / "lines";
    bench::RawSqlite raw(folder / "raw.db");
    const std::string raw_record(350, 'r');
    long peak = 0;
    std::uint64_t written = 0;
    const auto raw_rate = [&](int batch) {
        return static_cast<double>(each) / bench::seconds([&] {
                   for (std::uint64_t i = 0; i < each; i += static_cast<std::uint64_t>(batch)) {
                       raw.insert(raw_record, batch);
                   }
               });
    };
    std::vector<bench::Variant> v = {{"raw SQLite, 1000 a commit", [&] { return raw_rate(1000); }},
                                     {"raw SQLite, 256 a commit", [&] { return raw_rate(256); }},
                                     {"import", [&] {
                                          write_lines(lines, written, each);
                                          written += each;
                                          const Ended ended =
                                              run(outbox, "import '" + lines.string() + "'");
                                          peak = std::max(peak, ended.peak_kb);
                                          return static_cast<double>(each) / ended.seconds;
                                      }}};
    bench::run(v, rounds);
    std::printf("%d rounds of %llu records, median (least ... most):\n", rounds,
                static_cast<unsigned long long>(each));
    for (const bench::Variant& variant : v) {
        bench::print(variant, "records/s");
    }
    const double list = best_ms(outbox, "list");
    const double status = best_ms(outbox, "status");
    const double show = best_ms(outbox, "show " + first_id(outbox));
    const Ended exported = run(outbox, "export");
    std::printf("  %-58s %10.0f records/s\n", "export",
                static_cast<double>(written) / exported.seconds);
    std::printf("  %-58s %10.2f\n", "import / raw SQLite, 1000 a commit", bench::ratio(v[2], v[0]));
    bench::print_target("import / raw SQLite, 256 a commit as import", bench::ratio(v[2], v[1]),
                        0.3);
    bench::print_target("list, ms", list, 50, false);
    bench::print_target("status, ms", status, 50, false);
    bench::print_target("show, ms", show, 50, false);
    bench::print_target("import, peak MB", static_cast<double>(peak) / 1024, 32, false);
    bench::print_target("export, peak MB", static_cast<double>(exported.peak_kb) / 1024, 32, false);
    measure_waits(folder, std::min<std::uint64_t>(records, 30'000));
    return 0;
}
