#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "agentsight/error.hpp"
#include "agentsight/outbox.hpp"
#include "need.hpp"
#include "outbox/import_line.hpp"
#include "outbox/json_line.hpp"
#include "outbox/line_reader.hpp"

/// The tool's `import`: bytes to lines, to the members of an object, to feedbacks that are judged.
namespace {

using namespace agentsight;
using test::need;

/// Cuts few inputs, and some.
constexpr std::size_t max_line_bytes = 2'000;

/// Stands in the seeds' texts: no message may repeat it.
constexpr const char* secret = "Zq7";

void check_message(const std::string& message) {
    need(!message.empty(), "a refusal says why");
    need(message.find(secret) == std::string::npos, "no message repeats what a line says");
}

void check_members(const std::string& line) {
    const auto members = tool::object_members(line);
    const auto json = nlohmann::json::parse(line, nullptr, false);
    need(members.has_value() == json.is_object(), "an object is what a JSON library takes for one");
    if (!members) {
        return;
    }
    for (const tool::JsonMember& member : *members) {
        need(json.contains(member.name), "a member has its name");
        const auto value = nlohmann::json::parse(member.raw, nullptr, false);
        need(!value.is_discarded(), "a member's text is JSON");
        if (value.is_string()) {
            need(tool::json_text(member.raw) == value.get_ref<const std::string&>(),
                 "a string says what it says");
        }
    }
}

void check_line(const std::string& line) {
    try {
        const tool::ImportLine read{line};
        const ImportedFeedback given = read.feedback();
        need(given.feedback.id.empty() != read.has_id(), "an id that is there is handed on");
        Outbox::validate(given.feedback);
    } catch (const tool::BadLine& bad) {
        check_message(bad.what());
    } catch (const Error& refused) {
        need(is_validation_error(refused.code()), "only the feedback is judged");
        check_message(refused.what());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::istringstream input{std::string{reinterpret_cast<const char*>(data), size}};
    tool::LineReader reader{input, max_line_bytes};
    std::string line;
    std::uint64_t lines = 0;
    while (reader.next(line)) {
        need(reader.number() == ++lines, "lines are numbered from 1");
        need(line.size() <= max_line_bytes, "a line is bounded");
        need(line.find('\n') == std::string::npos, "a line is one");
        if (!reader.is_too_long()) {
            check_members(line);
            check_line(line);
        }
    }
    need(reader.bytes() == size, "every byte is read");
    return 0;
}
