#include <cstdint>
#include <string>
#include <string_view>

#include "core/text.hpp"
#include "delivery/reading.hpp"
#include "need.hpp"

/// The pages by which unknown records are looked for: the first byte says which way they are
/// read, the rest is the bodies, a zero byte between two.
namespace {

using namespace agentsight;
using delivery::Reading;
using test::need;

constexpr core::UtcMs now = 1'788'220'800'000;

outbox::ClaimedRecord unknown_record(bool by_database_id) {
    outbox::ClaimedRecord record;
    record.key = 1;
    record.feedback.conversation = {by_database_id ? "#42" : "=conv-123"};
    record.feedback.sentiment = Sentiment::positive;
    record.feedback.comment = "fine";
    record.attempt_began.utc_ms = now - 600'000;
    record.submitted.utc_ms = now - 700'000;
    record.server_date = now - 600'000;
    return record;
}

std::string_view take_body(std::string_view& text) {
    const auto end = std::min(text.find('\0'), text.size());
    const std::string_view body = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    return body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const unsigned first = data[0];
    std::string_view text{reinterpret_cast<const char*>(data) + 1, size - 1};
    Reading reading{{unknown_record((first & 1U) != 0)},
                    (first & 2U) != 0 ? delivery::ReadWay::list : delivery::ReadWay::conversation,
                    (first & 4U) != 0 ? now - 900'000 : 0};
    auto progress = Reading::Progress::again;
    int asked = 0;
    while (progress == Reading::Progress::again) {
        need(++asked <= 4 * Reading::max_pages, "a reading ends");
        const core::HttpRequest request = reading.request();
        need(request.target.starts_with("/api/") && request.body.empty(), "a reading asks");
        core::Evidence evidence;
        evidence.request_written = true;
        evidence.status = 200;
        evidence.json = true;
        evidence.date = now;
        evidence.began = {.utc_ms = now};
        evidence.ended = {.utc_ms = now};
        evidence.body = take_body(text);
        progress = reading.take(evidence);
    }
    if (progress == Reading::Progress::complete) {
        for (const core::ServerRow& row : reading.rows()) {
            need(!row.id.empty(), "a row has its id");
        }
    }
    for (const char c : reading.outcome().detail) {
        need(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "words are printable");
    }
    return 0;
}
