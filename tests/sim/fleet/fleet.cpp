#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "delivery/engine.hpp"
#include "memory_store.hpp"
#include "support/test_random.hpp"

/// fleet [--devices N] [--records N] [--minutes-off N] [--capacity PER_SECOND]
///       [--retry-after S] [--outage link|server] [--seed S] [--check]
/// N devices with a backlog each come back together to a server of that capacity, every
/// one running the real decisions. Prints how hard they fall on it.
namespace agentsight::sim {
namespace {

using Time = std::int64_t;

struct Settings {
    int devices = 10'000;
    int records = 5;
    int minutes_off = 30;
    int capacity = 0;  ///< requests a second; 0: a hundredth of the devices
    int retry_after = 30;
    bool server_outage = false;  ///< else the link of all of them
    std::uint64_t seed = 1;
    bool check = false;
};

constexpr Time round_trip = 100;
constexpr core::UtcMs epoch = 1'772'323'200'000;

class FleetClock final : public core::Clock {
  public:
    core::Moment now() const override {
        return {.utc_ms = epoch + time, .boot_ms = 1'000 + time, .boot_id = 1};
    }
    Time time = 0;
};

/// Takes `capacity` requests in each second and tells the others to come later.
class Server {
  public:
    Server(int capacity, int retry_after) : capacity_(capacity), retry_after_(retry_after) {}

    core::Evidence answer(Time now) {
        const Time second = now / 1'000;
        if (second != second_) {
            second_ = second;
            in_second_ = 0;
        }
        ++in_second_;
        ++requests;
        peak = std::max(peak, in_second_);
        core::Evidence evidence;
        evidence.request_written = true;
        evidence.json = true;
        evidence.date = (epoch + now) / 1'000 * 1'000;
        if (in_second_ > capacity_) {
            ++rejects;
            evidence.status = 429;
            evidence.body = R"({"detail": "Request was throttled."})";
            evidence.retry_after = std::to_string(retry_after_);
            return evidence;
        }
        evidence.status = 201;
        evidence.body = R"({"id": )" + std::to_string(++stored) + "}";
        last_stored = now;
        return evidence;
    }

    std::int64_t requests = 0;
    std::int64_t rejects = 0;
    std::int64_t stored = 0;
    std::int64_t peak = 0;
    Time last_stored = 0;

  private:
    std::int64_t capacity_;
    int retry_after_;
    Time second_ = -1;
    std::int64_t in_second_ = 0;
};

struct Device {
    std::unique_ptr<outbox::Store> store;
    std::unique_ptr<delivery::Engine> engine;
    std::uint64_t wake = 0;  ///< number of the wake-up that counts
    Time not_before = 0;
};

class Fleet {
  public:
    explicit Fleet(const Settings& settings)
        : settings_(settings),
          random_(settings.seed),
          server_(settings.capacity, settings.retry_after),
          back_at_(Time{settings.minutes_off} * 60'000) {}

    bool run();

  private:
    struct Event {
        Time at;
        std::uint64_t order;
        int device;
        std::uint64_t wake;  ///< 0: an answer
        std::uint64_t task;
        core::Evidence evidence;
    };
    struct Later {
        bool operator()(const std::unique_ptr<Event>& a, const std::unique_ptr<Event>& b) const {
            return a->at != b->at ? a->at > b->at : a->order > b->order;
        }
    };

    void make(int number);
    void step(int number);
    void start(int number, const delivery::Task& task);
    void push(Event event);
    bool report(double seconds) const;

    Settings settings_;
    test::TestRandom random_;
    FleetClock clock_;
    Server server_;
    Time back_at_;
    std::vector<Device> devices_;
    std::vector<std::unique_ptr<Event>> events_;
    std::uint64_t order_ = 0;
    std::int64_t connects_ = 0;
    std::int64_t undercuts_ = 0;
    std::int64_t steps_ = 0;
};

void Fleet::push(Event event) {
    event.order = ++order_;
    events_.push_back(std::make_unique<Event>(std::move(event)));
    std::push_heap(events_.begin(), events_.end(), Later{});
}

void Fleet::make(int number) {
    Device& device = devices_[static_cast<std::size_t>(number)];
    device.store = std::make_unique<outbox::Store>(outbox::StoreOptions{}, clock_, random_);
    delivery::Policy policy;
    policy.kind = Credential::Kind::api_key;
    policy.origin = "https://api.example";
    device.engine = std::make_unique<delivery::Engine>(*device.store, policy, random_);
    make_backlog(*device.store, settings_.records);
    device.engine->start();
    push({.at = static_cast<Time>(random_.below(1'000)), .device = number, .wake = ++device.wake});
}

void Fleet::step(int number) {
    ++steps_;
    Device& device = devices_[static_cast<std::size_t>(number)];
    const delivery::Engine::Step step = device.engine->step();
    device.engine->take_events();
    for (const delivery::Task& task : step.start) {
        start(number, task);
    }
    ++device.wake;
    if (step.wake_at) {
        const Time at = clock_.time + std::max<Time>(*step.wake_at - device.store->now(), 0);
        push({.at = at, .device = number, .wake = device.wake});
    }
}

void Fleet::start(int number, const delivery::Task& task) {
    Event event{.at = clock_.time + round_trip, .device = number, .task = task.id};
    event.evidence.began = clock_.now();
    const bool off = clock_.time < back_at_;
    if (task.kind == delivery::Task::Kind::connect) {
        ++connects_;
        event.evidence.failure = off ? core::Failure::connect : core::Failure::none;
        push(std::move(event));
        return;
    }
    Device& device = devices_[static_cast<std::size_t>(number)];
    undercuts_ += clock_.time < device.not_before ? 1 : 0;
    const core::Moment began = clock_.now();
    event.evidence = server_.answer(clock_.time);
    event.evidence.began = began;
    push(std::move(event));
}

bool Fleet::run() {
    const auto began = std::chrono::steady_clock::now();
    devices_.resize(static_cast<std::size_t>(settings_.devices));
    for (int i = 0; i < settings_.devices; ++i) {
        make(i);
    }
    if (!settings_.server_outage) {
        // The link comes back to all at once, and the system tells them.
        push({.at = back_at_, .device = -1});
    }
    const Time end = back_at_ + 24 * 3'600'000LL;
    while (!events_.empty() && events_.front()->at < end) {
        std::pop_heap(events_.begin(), events_.end(), Later{});
        const std::unique_ptr<Event> event = std::move(events_.back());
        events_.pop_back();
        clock_.time = event->at;
        if (event->device < 0) {
            for (int i = 0; i < settings_.devices; ++i) {
                devices_[static_cast<std::size_t>(i)].engine->network_changed();
                step(i);
            }
            continue;
        }
        Device& device = devices_[static_cast<std::size_t>(event->device)];
        if (event->wake != 0 && event->wake != device.wake) {
            continue;  // armed anew since
        }
        if (event->task != 0) {
            event->evidence.ended = clock_.now();
            if (event->evidence.retry_after) {
                device.not_before = clock_.time + 1'000LL * settings_.retry_after;
            }
            device.engine->finished(event->task, std::move(event->evidence));
        }
        step(event->device);
    }
    return report(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
}

bool Fleet::report(double seconds) const {
    const double total = static_cast<double>(settings_.devices) * settings_.records;
    const double ideal = total / settings_.capacity;
    const double took = static_cast<double>(server_.last_stored - back_at_) / 1'000;
    const double peak = static_cast<double>(server_.peak) / settings_.capacity;
    const double rejects = static_cast<double>(server_.rejects) / total;
    std::printf(
        "%d devices, %d records each, %d min without %s, %d requests/s, Retry-After %d s: "
        "delivered %lld of %.0f, peak %.2f x capacity, %.3f rejects a record, "
        "%.2f x the ideal time (%.0f s for %.0f s), %lld undercuts, %.1f connects a device, "
        "%lld steps, %.1f s\n",
        settings_.devices, settings_.records, settings_.minutes_off,
        settings_.server_outage ? "the server" : "the link", settings_.capacity,
        settings_.retry_after, static_cast<long long>(server_.stored), total, peak, rejects,
        took / ideal, took, ideal, static_cast<long long>(undercuts_),
        static_cast<double>(connects_) / settings_.devices, static_cast<long long>(steps_),
        seconds);
    const bool good = server_.stored == static_cast<std::int64_t>(total) && peak <= 4 &&
                      rejects <= 0.3 && took / ideal <= 1.25 && undercuts_ == 0;
    return good || !settings_.check;
}

}  // namespace
}  // namespace agentsight::sim

int main(int argc, char** argv) {
    agentsight::sim::Settings settings;
    for (int i = 1; i < argc; ++i) {
        const std::string flag = argv[i];
        const char* const value = i + 1 < argc ? argv[i + 1] : "";
        if (flag == "--check") {
            settings.check = true;
            continue;
        }
        ++i;
        if (flag == "--devices") {
            settings.devices = std::atoi(value);
        } else if (flag == "--records") {
            settings.records = std::atoi(value);
        } else if (flag == "--minutes-off") {
            settings.minutes_off = std::atoi(value);
        } else if (flag == "--capacity") {
            settings.capacity = std::atoi(value);
        } else if (flag == "--retry-after") {
            settings.retry_after = std::atoi(value);
        } else if (flag == "--outage") {
            settings.server_outage = std::string{value} == "server";
        } else if (flag == "--seed") {
            settings.seed = static_cast<std::uint64_t>(std::atoll(value));
        } else {
            std::fprintf(stderr,
                         "usage: fleet [--devices N] [--records N] [--minutes-off N] "
                         "[--capacity N] [--retry-after S] [--outage link|server] [--seed S] "
                         "[--check]\n");
            return 2;
        }
    }
    if (settings.devices < 1 || settings.records < 1) {
        return 2;
    }
    if (settings.capacity == 0) {
        settings.capacity = std::max(1, settings.devices / 100);
    }
    return agentsight::sim::Fleet{settings}.run() ? 0 : 1;
}
