#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>

#include "credentials.hpp"
#include "output.hpp"
#include "record_json.hpp"
#include "terminal.hpp"
#include "text.hpp"
#include "times.hpp"
#include "verbs.hpp"
#include "watch_frame.hpp"

namespace agentsight::tool {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct WatchFlags {
    TextFlag every, count;
};

/// Records looked at for their errors, of each state: a screen of them, whatever there are.
constexpr std::size_t errors_page = 200;

/// Which records are looked at: the newest, and of those that wait also the oldest, as they are
/// sent first. What was submitted last has most likely not been tried yet.
struct Look {
    RecordState state;
    bool newest_first;
};
constexpr std::array<Look, 4> looks{{{RecordState::waiting, false},
                                     {RecordState::waiting, true},
                                     {RecordState::unknown, true},
                                     {RecordState::dead, true}}};

/// The newest failure first; by their words. A page that was full leaves others unlooked at.
std::vector<WatchError> errors_of(const Outbox& outbox) {
    std::map<std::string, WatchError> by_words;
    std::set<std::string> seen;
    for (const Look& look : looks) {
        const Filter filter{.state = look.state, .newest_first = look.newest_first};
        const std::vector<Record> page = outbox.list(filter, errors_page);
        for (const Record& record : page) {
            const std::string words = status_and_words(record.last_status, record.last_error);
            if (words.empty() || !seen.insert(record.id).second) {
                continue;
            }
            WatchError& error = by_words[words];
            error.words = words;
            error.id = std::max(error.id, record.id);  // ids grow with time
            error.is_more = error.is_more || page.size() == errors_page;
            ++error.records;
        }
    }
    std::vector<WatchError> errors;
    for (auto& [words, error] : by_words) {
        try {
            const Record record = outbox.get(error.id);
            error.at = record.history.empty() ? record.submitted_at : record.history.back().ended;
            errors.push_back(std::move(error));
        } catch (const Error&) {
            // Delivered and forgotten since: an error no more.
        }
    }
    std::stable_sort(errors.begin(), errors.end(),
                     [](const WatchError& a, const WatchError& b) { return a.at > b.at; });
    return errors;
}

class Watch {
  public:
    Watch(const Common& common, const WatchFlags& flags)
        : common_(common),
          every_(flags.every.given() ? parse_duration("--every", flags.every.text,
                                                      milliseconds(100), std::chrono::hours(1))
                                     : milliseconds(1'000)),
          looks_left_(flags.count.given()
                          ? parse_number("--count", flags.count.text, 1, 1'000'000'000)
                          : 0),
          counts_looks_(flags.count.given()),
          start_(steady_clock::now()) {
        outbox_ = std::make_unique<Outbox>(common_.path(), OutboxMode::read_only);
        look();
    }

    ExitCode run() {
        const bool draws = !common_.json && is_terminal(Stream::out) && terminal_can_draw();
        return draws ? draw() : print_lines();
    }

  private:
    ExitCode draw() {
        Screen screen;
        do {
            Woken woken = Woken::redraw;
            while (woken == Woken::redraw) {
                const Screen::Size size = screen.size();
                screen.draw(watch_frame(look_, history_, {size.columns, size.rows, every_}));
                woken = screen.wait(until_next());
            }
            if (woken == Woken::quit) {
                return ExitCode::done;
            }
        } while (look_again());
        return ExitCode::done;
    }

    ExitCode print_lines() {
        Patience patience;
        do {
            if (common_.json) {
                print_json(json());
            } else {
                print_line(watch_line(look_, history_));
            }
            flush_output();
            if (is_last_look() || patience.wait(until_next()) == Woken::quit) {
                return ExitCode::done;
            }
        } while (look_again());
        return ExitCode::done;
    }

    bool is_last_look() const { return counts_looks_ && looks_left_ == 1; }

    milliseconds until_next() const {
        return std::max(milliseconds(0),
                        std::chrono::ceil<milliseconds>(next_ - steady_clock::now()));
    }

    bool look_again() {
        if (counts_looks_ && --looks_left_ == 0) {
            return false;
        }
        try {
            if (!outbox_) {
                outbox_ = std::make_unique<Outbox>(common_.path(), OutboxMode::read_only);
            }
            look();
            look_.trouble.clear();
        } catch (const Error& error) {
            // Salvaged or replaced meanwhile, perhaps: looked for anew next time.
            outbox_.reset();
            look_.trouble = error.what();
            look_.now = utc_now();
        }
        return true;
    }

    void look() {
        const auto now = steady_clock::now();
        next_ = now + every_;
        look_.now = utc_now();
        look_.status = outbox_->status();
        history_.add(std::chrono::duration_cast<milliseconds>(now - start_), look_.status);
        look_.errors = errors_of(*outbox_);
    }

    Json json() const {
        Json json;
        json["at"] = iso8601(look_.now);
        json["in_per_second"] = history_.rate_in();
        json["out_per_second"] = history_.rate_out();
        json["trouble"] = look_.trouble.empty() ? Json(nullptr) : Json(look_.trouble);
        json["errors"] = Json::array();
        for (const WatchError& error : look_.errors) {
            json["errors"].push_back({{"at", iso8601(error.at)},
                                      {"words", error.words},
                                      {"records", error.records},
                                      {"and_more", error.is_more},
                                      {"id", error.id}});
        }
        json.update(to_json(look_.status));
        return json;
    }

    const Common& common_;
    const milliseconds every_;
    std::uint64_t looks_left_;
    const bool counts_looks_;
    const steady_clock::time_point start_;
    steady_clock::time_point next_;
    std::unique_ptr<Outbox> outbox_;
    WatchHistory history_;
    WatchLook look_;
};

}  // namespace

void add_watch(CLI::App& app, Invocation& invocation) {
    CLI::App* verb =
        add_verb(app, invocation, "watch",
                 "The outbox live on a terminal, until q; elsewhere a line for each look",
                 "watch --every 5s");
    auto flags = std::make_shared<WatchFlags>();
    add_text_flag(*verb, flags->every, "--every", "Look every so often, 100ms to 1h (default: 1s)",
                  "DURATION");
    add_text_flag(*verb, flags->count, "--count", "End after so many looks (default: never)", "N");
    verb->callback([&invocation, flags] {
        invocation.run = [&invocation, flags] { return Watch(invocation.common, *flags).run(); };
    });
}

}  // namespace agentsight::tool
