// Drain speed, every delivery durable, against `wrk` posting the same body to the same local
// nginx over as many connections, in turn; and, where each answer takes 50 ms, against
// connections / 50 ms. Needs nginx and wrk.
//
// And the memory of a process that drains a million.
//
//   bench-drain [--records N] [--rounds N] [--connections N]... [--million N]
//               [--only local|far|million]

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "agentsight/agentsight.hpp"
#include "bench.hpp"
#include "sandbox/server.hpp"
#include "support/child_process.hpp"
#include "support/temporary_folder.hpp"

namespace {

using agentsight::test::ChildProcess;
using agentsight::test::TemporaryFolder;
using namespace std::chrono_literals;

constexpr const char* comment =
    "The assistant found my order at once and told me when it would arrive. Thank you!";
constexpr const char* key = "ags_0123456789abcdef0123456789abcdef_012345";
constexpr auto answer_time = 50ms;

std::string program(const char* name) {
    for (const char* const folder : {"/usr/sbin/", "/usr/bin/", "/usr/local/bin/"}) {
        if (std::filesystem::exists(std::string{folder} + name)) {
            return std::string{folder} + name;
        }
    }
    return {};
}

/// A loopback port at which nobody listens now.
int free_port() {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    ::bind(socket, any, size);
    ::getsockname(socket, any, &size);
    ::close(socket);
    return ntohs(address.sin_port);
}

/// nginx from a folder of its own, answering each request with an id of its own.
class Nginx {
  public:
    Nginx(std::string executable, std::filesystem::path folder)
        : executable_(std::move(executable)), folder_(std::move(folder)), port_(free_port()) {
        configure();
        // It becomes a daemon once it listens.
        if (run({}).code != 0) {
            throw std::runtime_error("nginx did not start");
        }
    }
    ~Nginx() { run({"-s", "stop"}); }
    Nginx(const Nginx&) = delete;
    Nginx& operator=(const Nginx&) = delete;
    std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

  private:
    agentsight::test::Ending run(std::vector<std::string> more) const {
        std::vector<std::string> arguments{
            "-p", folder_.string(), "-c", (folder_ / "nginx.conf").string(), "-e", "error.log"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return ChildProcess::execute(executable_, arguments).wait();
    }

    void configure() const {
        std::ofstream out{folder_ / "nginx.conf"};
        out << "worker_processes 1; pid nginx.pid; error_log error.log;\n"
               "events { worker_connections 256; }\n"
               "http { access_log off; keepalive_requests 100000000; keepalive_timeout 75;\n"
               "  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n"
               "  uwsgi_temp_path uwsgi; scgi_temp_path scgi; default_type application/json;\n"
               // As a database's: whole numbers that grow, here on each connection.
               "  map $connection_requests $number {\n"
               "    ~^.$ 000000$connection_requests; ~^..$ 00000$connection_requests;\n"
               "    ~^...$ 0000$connection_requests; ~^....$ 000$connection_requests;\n"
               "    ~^.....$ 00$connection_requests; ~^......$ 0$connection_requests;\n"
               "    default $connection_requests; }\n"
               "  server { listen 127.0.0.1:"
            << port_
            << ";\n    location / { return 201 '{\"id\": $connection$number, \"sentiment\": "
               "\"positive\"}'; } } }\n";
    }

    std::string executable_;
    std::filesystem::path folder_;
    int port_;
};

/// The same head and body as the library's.
std::filesystem::path write_script(const std::filesystem::path& folder) {
    const std::filesystem::path script = folder / "post.lua";
    std::ofstream{script} << "wrk.method = 'POST'\n"
                             "wrk.path = '/api/conversation-feedbacks/'\n"
                             "wrk.body = '{\"sentiment\":\"positive\",\"conversation_id\":"
                             "\"conversation-12345\",\"comment\":\""
                          << comment
                          << "\"}'\n"
                             "wrk.headers['Content-Type'] = 'application/json'\n"
                             "wrk.headers['Accept'] = 'application/json'\n"
                             "wrk.headers['Authorization'] = 'Api-Key "
                          << key
                          << "'\n"
                             "wrk.headers['Idempotency-Key'] = "
                             "'019ca6ab-afb9-7dcd-9455-5aba477e858c'\n";
    return script;
}

double run_wrk(const std::string& executable, const std::filesystem::path& script,
               const std::string& url, int connections) {
    const std::string command = executable + " -t1 -d2s -c" + std::to_string(connections) + " -s " +
                                script.string() + " " + url + " 2>&1";
    FILE* const pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) {
        throw std::runtime_error("cannot run wrk");
    }
    std::array<char, 512> line{};
    double rate = 0;
    while (std::fgets(line.data(), line.size(), pipe) != nullptr) {
        std::sscanf(line.data(), "Requests/sec: %lf", &rate);
    }
    ::pclose(pipe);
    return rate;
}

/// An outbox of `count` records, to be copied for each round.
void fill(const std::filesystem::path& file, int count) {
    agentsight::Options options;
    options.outbox_path = file;
    options.endpoint = "http://127.0.0.1:9";
    options.durability = agentsight::Durability::relaxed;
    options.credential = agentsight::ApiKey{key};
    agentsight::ConversationManager manager{options};
    manager.pause();
    bench::in_parallel(8, [&](int thread) {
        for (int i = thread; i < count; i += 8) {
            manager.submit_feedback("conversation-" + std::to_string(i), "positive", comment);
        }
    });
}

/// What the process has used of its processors so far; the machine's other work does not count.
double processor_seconds() {
    timespec used{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

/// Microseconds of processor time a delivery, of each round.
std::vector<double> processor_us;

/// Deliveries a second, from opening the outbox to the last commit.
double drain(const std::filesystem::path& filled, const std::string& url, int connections,
             std::uint64_t count) {
    const TemporaryFolder folder;
    const std::filesystem::path file = folder.path() / "feedback.db";
    for (const char* const suffix : {"", "-wal"}) {
        const std::string from = filled.string() + suffix;
        if (std::filesystem::exists(from)) {
            std::filesystem::copy_file(from, file.string() + suffix);
        }
    }
    agentsight::Options options;
    options.outbox_path = file;
    options.endpoint = url;
    options.credential = agentsight::ApiKey{key};
    options.connections = connections;
    std::uint64_t delivered = 0;
    const double used = processor_seconds();
    const double took = bench::seconds([&] {
        agentsight::ConversationManager manager{options};
        manager.flush(300s);
        delivered = manager.stats().delivered;
    });
    processor_us.push_back((processor_seconds() - used) * 1e6 / static_cast<double>(count));
    if (delivered != count) {
        throw std::runtime_error("delivered " + std::to_string(delivered) + " only");
    }
    return static_cast<double>(count) / took;
}

/// The most memory that was resident at once, of this process.
double peak_megabytes() {
    std::ifstream status{"/proc/self/status"};
    std::string line;
    while (std::getline(status, line)) {
        if (line.starts_with("VmHWM:")) {
            return std::strtod(line.c_str() + 6, nullptr) / 1024;
        }
    }
    return 0;
}

/// A process of its own, so that the memory is the drain's.
int drain_here(const std::string& file, const std::string& url) {
    agentsight::Options options;
    options.outbox_path = file;
    options.endpoint = url;
    options.credential = agentsight::ApiKey{key};
    options.connections = 8;
    agentsight::ConversationManager manager{options};
    const std::uint64_t count = manager.stats().waiting;
    const double took = bench::seconds([&] { manager.flush(1h); });
    if (manager.stats().delivered != count) {
        throw std::runtime_error("delivered " + std::to_string(manager.stats().delivered) +
                                 " only");
    }
    std::printf("  %-58s %10.0f requests/s\n",
                (std::to_string(count) + " records, 8 connections").c_str(),
                static_cast<double>(count) / took);
    bench::print_target("resident memory while draining them, MB", peak_megabytes(), 16, false);
    return 0;
}

struct Settings {
    int million = 1'000'000;
    int records = 20'000;
    int rounds = 5;
    std::vector<int> connections;
    std::string only;
};

void bench_local(const Settings& settings, const std::string& nginx, const std::string& wrk) {
    const TemporaryFolder folder;
    const Nginx server{nginx, folder.path()};
    const std::filesystem::path script = write_script(folder.path());
    const std::filesystem::path filled = folder.path() / "filled.db";
    fill(filled, settings.records);
    const auto count = static_cast<std::uint64_t>(settings.records);
    for (const int connections : settings.connections) {
        const std::string name = std::to_string(connections) + " connections";
        std::vector<bench::Variant> variants;
        variants.push_back(
            {"wrk, " + name, [&] { return run_wrk(wrk, script, server.url(), connections); }});
        variants.push_back(
            {"drain, " + name, [&] { return drain(filled, server.url(), connections, count); }});
        bench::run(variants, settings.rounds);
        for (const bench::Variant& variant : variants) {
            bench::print(variant, "requests/s");
        }
        std::printf("  %-58s %10.1f us a delivery\n", "processor time of the drain",
                    bench::median(processor_us));
        processor_us.clear();
        const double ratio = bench::ratio(variants[1], variants[0]);
        if (connections == 8) {
            bench::print_target("drain / wrk, 8 connections", ratio, 0.4);
        } else {
            std::printf("  %-58s %10.2f\n", ("drain / wrk, " + name).c_str(), ratio);
        }
    }
}

void bench_million(const Settings& settings, const std::string& nginx) {
    const TemporaryFolder folder;
    const Nginx server{nginx, folder.path()};
    const std::filesystem::path filled = folder.path() / "filled.db";
    fill(filled, settings.million);
    std::fflush(stdout);
    const std::string command = "exec '" +
                                std::filesystem::read_symlink("/proc/self/exe").string() +
                                "' --drain '" + filled.string() + "' " + server.url();
    if (std::system(command.c_str()) != 0) {
        throw std::runtime_error("draining them failed");
    }
}

void bench_far(const Settings& settings) {
    sandbox::ServerOptions server_options;
    server_options.request_log = 1;
    sandbox::Server server{server_options};
    server.add_fault({.kind = sandbox::FaultKind::latency, .method = "*", .ms = 50});
    for (const int connections : settings.connections) {
        const TemporaryFolder folder;
        const std::filesystem::path filled = folder.path() / "filled.db";
        const int count = 100 * connections;
        fill(filled, count);
        bench::Variant variant{
            "drain, 50 ms, " + std::to_string(connections) + " connections", [&] {
                return drain(filled, server.url(), connections, static_cast<std::uint64_t>(count));
            }};
        std::vector<bench::Variant> variants{variant};
        bench::run(variants, 1 + settings.rounds / 2);
        bench::print(variants[0], "requests/s");
        const double ideal = connections * 1'000.0 / static_cast<double>(answer_time.count());
        bench::print_target("of connections / 50 ms", bench::median(variants[0].figures) / ideal,
                            0.95);
    }
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc == 4 && std::string_view{argv[1]} == "--drain") {
        return drain_here(argv[2], argv[3]);
    }
    Settings settings;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string flag = argv[i];
        if (flag == "--records") {
            settings.records = std::atoi(argv[i + 1]);
        } else if (flag == "--million") {
            settings.million = std::atoi(argv[i + 1]);
        } else if (flag == "--rounds") {
            settings.rounds = std::atoi(argv[i + 1]);
        } else if (flag == "--connections") {
            settings.connections.push_back(std::atoi(argv[i + 1]));
        } else if (flag == "--only") {
            settings.only = argv[i + 1];
        }
    }
    if (settings.connections.empty()) {
        settings.connections = {1, 8, 32};
    }
    const std::string nginx = program("nginx");
    const std::string wrk = program("wrk");
    if (settings.only != "far") {
        if (nginx.empty() || wrk.empty()) {
            std::printf("drain: needs the packages nginx-light and wrk\n");
            return 77;
        }
        if (settings.only != "million") {
            std::printf("drain, %d records a round, every delivery durable\n", settings.records);
            bench_local(settings, nginx, wrk);
        }
        if (settings.only != "local") {
            bench_million(settings, nginx);
        }
    }
    if (settings.only.empty() || settings.only == "far") {
        bench_far(settings);
    }
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "bench-drain: %s\n", error.what());
    return 1;
}
