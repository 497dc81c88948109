#include <algorithm>
#include <memory>

#include "output.hpp"
#include "record_json.hpp"
#include "text.hpp"
#include "times.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

struct ListFlags {
    FilterFlags filter;
    TextFlag limit;
    TextFlag after;
    bool reveal = false;
};

constexpr std::uint64_t default_limit = 100;
constexpr std::uint64_t max_limit = 10'000'000;
/// Records held at a time, whatever the limit.
constexpr std::uint64_t page_size = 500;

/// Writes records as they come: a table with fixed columns, or one JSON array.
class Writer {
  public:
    Writer(bool json, Reveal reveal) : json_(json), reveal_(reveal) {}

    void write(const Record& record) {
        if (json_) {
            print(count_ == 0 ? "[" : ",\n ");
            print(inert_json(
                to_json(record, reveal_).dump(-1, ' ', false, Json::error_handler_t::replace)));
        } else {
            write_row(record);
        }
        ++count_;
    }

    void end() {
        if (json_) {
            print_line(count_ == 0 ? "[]" : "]");
        }
    }

  private:
    void write_row(const Record& record) {
        if (count_ == 0) {
            print_line(
                styled("ID                                    STATE      SUBMITTED          "
                       "       TRIES  SENTIMENT  CONVERSATION              LAST ERROR",
                       Style::bold));
        }
        std::string row = record.id + "  ";
        row += styled(padded(to_string(record.state), 9), style_of(record.state)) + "  ";
        row += iso8601(record.submitted_at) + "  ";
        row += padded(std::to_string(record.attempts), 5) + "  ";
        row += padded(to_string(record.sentiment), 9) + "  ";
        std::string last = padded(shortened(inert(shown_conversation(record)), 24), 24) + "  " +
                           last_error(record);
        last.erase(last.find_last_not_of(' ') + 1);
        print_line(row + last);
        if (reveal_ == Reveal::yes) {
            write_words(record);
        }
    }

    void write_words(const Record& record) const {
        if (!record.comment.empty()) {
            print_line("    comment   " + inert(shown_comment(record, reveal_)));
        }
        if (!record.metadata_json.empty()) {
            print_line("    metadata  " + inert_json(shown_metadata(record, reveal_)));
        }
    }

    static std::string last_error(const Record& record) {
        const bool is_failure = record.state != RecordState::delivered;
        return shortened(inert(status_and_words(is_failure ? record.last_status : std::nullopt,
                                                record.last_error)),
                         60);
    }

    static Style style_of(RecordState state) {
        switch (state) {
            case RecordState::delivered:
                return Style::good;
            case RecordState::unknown:
                return Style::warning;
            case RecordState::dead:
                return Style::bad;
            default:
                return Style::plain;
        }
    }

    bool json_;
    Reveal reveal_;
    std::uint64_t count_ = 0;
};

ExitCode list(const Common& common, const ListFlags& flags) {
    Filter filter = flags.filter.filter();
    flags.after.refuse_empty();
    filter.after = flags.after.text;
    const std::uint64_t limit = flags.limit.given()
                                    ? parse_number("--limit", flags.limit.text, 1, max_limit)
                                    : default_limit;

    const Outbox outbox(common.path(), OutboxMode::read_only);
    Writer writer(common.json, flags.reveal ? Reveal::yes : Reveal::no);
    std::uint64_t written = 0;
    bool is_more = true;
    while (is_more && written < limit) {
        // One more than is shown tells whether anything follows.
        const std::uint64_t wanted = std::min(page_size, limit - written);
        const std::vector<Record> page = outbox.list(filter, static_cast<std::size_t>(wanted + 1));
        is_more = page.size() > wanted;
        for (std::size_t i = 0; i < std::min<std::size_t>(page.size(), wanted); ++i) {
            writer.write(page[i]);
            filter.after = page[i].id;
            ++written;
        }
    }
    writer.end();
    if (is_more) {
        complain("there are more; see the next with --after " + filter.after +
                 ", or raise --limit");
    }
    if (written == 0 && !common.json) {
        complain("no such records; `agentsight-outbox status` counts those there are");
    }
    return written == 0 ? ExitCode::nothing : ExitCode::done;
}

}  // namespace

void add_list(CLI::App& app, Invocation& invocation) {
    CLI::App* verb =
        add_verb(app, invocation, "list", "Records, oldest first", "list --state dead --limit 20");
    auto flags = std::make_shared<ListFlags>();
    flags->filter.add_to(*verb);
    add_text_flag(*verb, flags->limit, "--limit", "At most so many (default: 100)", "N");
    add_text_flag(*verb, flags->after, "--after", "Only those behind this record", "ID");
    verb->add_flag("--reveal", flags->reveal, "Show comments and metadata, which are masked");
    verb->callback([&invocation, flags] {
        invocation.run = [&invocation, flags] { return list(invocation.common, *flags); };
    });
}

}  // namespace agentsight::tool
