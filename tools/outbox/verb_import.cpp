#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <vector>

#include "json_line.hpp"
#include "output.hpp"
#include "text.hpp"
#include "verbs.hpp"

namespace agentsight::tool {
namespace {

/// The longest line that can hold a feedback: 5000 code points and the largest metadata that
/// can be configured, every byte of them escaped.
constexpr std::size_t max_line_bytes = std::size_t{32} << 20;

/// A line that breaks a rule; the message repeats nothing of it.
class BadLine : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// One feedback as a line of JSON has it. Owns what the views of a Feedback point to.
class Line {
  public:
    explicit Line(std::string_view text) {
        const auto members = object_members(text);
        if (!members) {
            throw BadLine("not one JSON object");
        }
        for (const JsonMember& member : *members) {
            take(member);
        }
        if (conversation_id_.has_value() == conversation_.has_value()) {
            throw BadLine("needs one of conversation_id and conversation");
        }
        if (!sentiment_) {
            throw BadLine("needs a sentiment");
        }
    }

    bool has_id() const { return id_.has_value(); }
    /// `export` wrote it of a record that is done with: stored again, it would be sent again.
    bool is_done_with() const { return state_ == "delivered" || state_ == "discarded"; }

    Feedback feedback() const {
        Feedback feedback{
            conversation_ ? ConversationRef(*conversation_) : ConversationRef(*conversation_id_),
            *sentiment_};
        if (comment_) {
            feedback.comment = *comment_;
        }
        feedback.metadata_json = metadata_;
        feedback.id = id_ ? std::string_view(*id_) : std::string_view{};
        return feedback;
    }

  private:
    void take(const JsonMember& member) {
        if (member.raw == "null") {
            return;
        }
        if (member.name == "id") {
            set(id_, member);
            if (id_->empty()) {
                throw BadLine("id must not be empty");
            }
        } else if (member.name == "conversation_id") {
            set(conversation_id_, member);
        } else if (member.name == "sentiment") {
            set(sentiment_, member);
        } else if (member.name == "comment") {
            set(comment_, member);
        } else if (member.name == "metadata") {
            if (!metadata_.empty()) {
                throw BadLine("metadata is named twice");
            }
            metadata_ = member.raw;
        } else if (member.name == "conversation") {
            set_conversation(member);
        } else if (member.name == "state" && member.raw.starts_with('"')) {
            state_ = nlohmann::json::parse(member.raw).get<std::string>();
        }
        // Other members are what `export` adds: its lines can be imported as they are.
    }

    static void set(std::optional<std::string>& field, const JsonMember& member) {
        if (field) {
            throw BadLine(member.name + " is named twice");
        }
        if (!member.raw.starts_with('"')) {
            throw BadLine(member.name + " must be a string");
        }
        field = nlohmann::json::parse(member.raw).get<std::string>();
    }

    void set_conversation(const JsonMember& member) {
        if (conversation_) {
            throw BadLine("conversation is named twice");
        }
        try {
            conversation_ = parse_database_id(std::string(member.raw));
        } catch (const UsageError&) {
            throw BadLine("conversation must be a whole number, at least 1");
        }
    }

    std::optional<std::string> id_, conversation_id_, sentiment_, comment_;
    std::optional<std::uint64_t> conversation_;
    std::string metadata_;
    std::string state_;
};

class Import {
  public:
    Import(const Common& common, std::istream& input, std::uint64_t size)
        : common_(common), input_(input), size_(size), outbox_(common.path(), OutboxMode::create) {}

    ExitCode run() {
        std::string line;
        while (read_line(line)) {
            ++number_;
            show_progress();
            if (line.find_first_not_of(" \t\r") != std::string::npos) {
                take(line);
            }
        }
        progress_.erase();
        if (input_.bad()) {
            throw std::runtime_error("cannot read on after line " + std::to_string(number_) +
                                     "; import again: lines with an id are not stored twice");
        }
        report();
        return bad_ == 0 ? ExitCode::done : ExitCode::failed;
    }

  private:
    /// False at the end. A line over the bound is skipped and counted as bad.
    bool read_line(std::string& line) {
        line.clear();
        bool is_too_long = false;
        std::streambuf& buffer = *input_.rdbuf();
        while (true) {
            const int byte = buffer.sbumpc();
            if (byte == std::char_traits<char>::eof()) {
                break;
            }
            ++bytes_;
            if (byte == '\n') {
                return note_length(is_too_long, line);
            }
            if (line.size() == max_line_bytes) {
                is_too_long = true;
            } else {
                line.push_back(static_cast<char>(byte));
            }
        }
        return !line.empty() && note_length(is_too_long, line);
    }

    bool note_length(bool is_too_long, std::string& line) {
        if (is_too_long) {
            line = "too long";  // not JSON: reported as a bad line with its number
        }
        return true;
    }

    void take(const std::string& text) {
        try {
            const Line line(text);
            if (line.is_done_with()) {
                ++done_with_;
                return;
            }
            const Receipt receipt = outbox_.submit(line.feedback());
            ++(receipt.stored ? stored_ : already_there_);
            without_id_ += line.has_id() ? 0 : 1;
        } catch (const BadLine& error) {
            reject(error.what());
        } catch (const Error& error) {
            if (!is_validation_error(error.code()) && error.code() != errc::id_conflict) {
                progress_.erase();
                throw Error(static_cast<errc>(error.code().value()),
                            "stopped at line " + std::to_string(number_) + ": " + error.what() +
                                "; then import again: lines with an id are not stored twice");
            }
            reject(error.what());
        }
    }

    void reject(const std::string& why) {
        constexpr std::uint64_t most_shown = 20;
        if (++bad_ <= most_shown) {
            progress_.erase();
            complain("line " + std::to_string(number_) + ": " + why);
        }
    }

    void show_progress() {
        constexpr std::uint64_t every = 256;
        if (number_ % every != 1 || !progress_.is_shown()) {
            return;
        }
        std::string text = counted(number_, "line");
        if (size_ > 0) {
            constexpr std::uint64_t width = 30;
            const std::uint64_t done = std::min(bytes_, size_) * width / size_;
            std::string bar;
            for (std::uint64_t i = 0; i < width; ++i) {
                bar += i < done ? "█" : "░";
            }
            text =
                bar + " " + std::to_string(std::min(bytes_, size_) * 100 / size_) + " %  " + text;
        }
        progress_.show(text);
    }

    void report() const {
        if (done_with_ > 0) {
            complain(counted(done_with_, "line") +
                     " passed over: delivered or discarded, as exported");
        }
        if (without_id_ > 0) {
            complain(counted(without_id_, "line") +
                     " had no id: importing this again would store them again");
        }
        if (common_.json) {
            Json json;
            json["stored"] = stored_;
            json["already_there"] = already_there_;
            json["bad"] = bad_;
            json["without_id"] = without_id_;
            json["done_with"] = done_with_;
            print_json(json);
            return;
        }
        print_line(counted(stored_, "record") + " stored, " + std::to_string(already_there_) +
                   " there already, " + counted(bad_, "bad line"));
    }

    const Common& common_;
    std::istream& input_;
    const std::uint64_t size_;  ///< of the file; 0 where not known
    Outbox outbox_;
    Progress progress_;
    std::uint64_t number_ = 0, bytes_ = 0;
    std::uint64_t stored_ = 0, already_there_ = 0, bad_ = 0, without_id_ = 0;
    std::uint64_t done_with_ = 0;  ///< delivered or discarded where they were exported
};

ExitCode import(const Common& common, const std::string& file) {
    if (file == "-") {
        return Import(common, std::cin, 0).run();
    }
    std::error_code ec;
    if (std::filesystem::is_directory(file, ec)) {
        throw UsageError("FILE: '" + file + "' is a folder");
    }
    std::ifstream input(file, std::ios::binary);
    if (!input) {
        complain("cannot open '" + file + "'; name a file that this user may read, or -");
        return ExitCode::nothing;
    }
    const std::uintmax_t size = std::filesystem::file_size(file, ec);
    return Import(common, input, ec ? 0 : size).run();
}

}  // namespace

void add_import(CLI::App& app, Invocation& invocation) {
    CLI::App* verb = add_verb(app, invocation, "import",
                              "Commit one feedback for each line of a file of JSON objects "
                              "(id, conversation_id or conversation, sentiment, comment, metadata)",
                              "import backlog.ndjson");
    auto file = std::make_shared<std::string>();
    verb->add_option("FILE", *file, "The file, or - for standard input")->required();
    verb->callback([&invocation, file] {
        invocation.run = [&invocation, file] { return import(invocation.common, *file); };
    });
}

}  // namespace agentsight::tool
