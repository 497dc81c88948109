#include <array>

#include "output.hpp"
#include "record_json.hpp"
#include "times.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

constexpr std::array<HoldReason, 11> reasons{
    HoldReason::person,         HoldReason::no_credential, HoldReason::credential_refused,
    HoldReason::account_unpaid, HoldReason::link_down,     HoldReason::throttled,
    HoldReason::route_lost,     HoldReason::endpoint,      HoldReason::proxy,
    HoldReason::refusals,       HoldReason::outage};

/// The Prometheus text exposition format, version 0.0.4.
class Exposition {
  public:
    void family(std::string_view name, std::string_view type, std::string_view help) {
        name_ = "agentsight_outbox_" + std::string(name);
        text_ += "# HELP " + name_ + " " + std::string(help) + "\n";
        text_ += "# TYPE " + name_ + " " + std::string(type) + "\n";
    }
    void sample(std::string_view value, std::string_view labels = {}) {
        text_ += name_ + (labels.empty() ? "" : "{" + std::string(labels) + "}") + " " +
                 std::string(value) + "\n";
    }
    void sample(std::uint64_t value, std::string_view labels = {}) {
        sample(std::to_string(value), labels);
    }
    void single(std::string_view name, std::string_view type, std::string_view help,
                std::uint64_t value) {
        family(name, type, help);
        sample(value);
    }
    const std::string& text() const { return text_; }

  private:
    std::string name_;
    std::string text_;
};

std::string label(std::string_view name, std::string_view value) {
    return std::string(name) + "=\"" + std::string(value) + "\"";
}

void add_records(Exposition& exposition, const Status& status) {
    exposition.family("records", "gauge", "Records by state.");
    exposition.sample(status.waiting, label("state", "waiting"));
    exposition.sample(status.claimed, label("state", "claimed"));
    exposition.sample(status.unknown, label("state", "unknown"));
    exposition.sample(status.dead, label("state", "dead"));
    exposition.single("accepted_total", "counter", "Records ever accepted.", status.accepted);
    exposition.single("delivered_total", "counter", "Records delivered.", status.delivered);
    exposition.single("discarded_total", "counter", "Records discarded.", status.discarded);
    exposition.single("dropped_total", "counter", "Records dropped to make room.", status.dropped);
    exposition.single("possible_duplicates_total", "counter",
                      "Records that may have been delivered twice.", status.possible_duplicates);
}

void add_times(Exposition& exposition, const Status& status) {
    exposition.family("oldest_age_seconds", "gauge", "Age of the oldest record not settled.");
    const UtcMilliseconds age =
        status.oldest_submitted_at ? utc_now() - *status.oldest_submitted_at : 0;
    exposition.sample(static_cast<std::uint64_t>(age > 0 ? age / 1000 : 0));
    if (status.last_delivered_at && *status.last_delivered_at > 0) {
        exposition.single("last_delivered_timestamp_seconds", "gauge",
                          "When a record was last delivered.",
                          static_cast<std::uint64_t>(*status.last_delivered_at / 1000));
    }
}

std::string exposition_of(const Status& status) {
    Exposition exposition;
    add_records(exposition, status);
    add_times(exposition, status);
    exposition.single("bytes", "gauge", "Size of the database and its log.", status.bytes);
    exposition.family("hold", "gauge", "1 for the reason for which nothing is sent.");
    for (const HoldReason reason : reasons) {
        const bool holds = status.hold && status.hold->reason == reason;
        exposition.sample(std::uint64_t{holds}, label("reason", to_string(reason)));
    }
    exposition.single("drainer", "gauge", "1 while a process sends.", status.drainer ? 1 : 0);
    exposition.single("drainer_stopped", "gauge", "1 where that process is stopped.",
                      status.drainer && status.drainer->stopped ? 1 : 0);
    return exposition.text();
}

ExitCode metrics(const Common& common) {
    const Outbox outbox(common.path(), OutboxMode::read_only);
    const Status status = outbox.status();
    if (common.json) {
        print_json(to_json(status));
    } else {
        print(exposition_of(status));
    }
    return ExitCode::done;
}

}  // namespace

void add_metrics(CLI::App& app, Invocation& invocation) {
    CLI::App* verb = add_verb(app, invocation, "metrics", "Counts as Prometheus text",
                              "metrics > /var/lib/node_exporter/agentsight.prom");
    verb->callback(
        [&invocation] { invocation.run = [&invocation] { return metrics(invocation.common); }; });
}

}  // namespace agentsight::tool
