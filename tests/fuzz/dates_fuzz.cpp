#include <cstdint>
#include <string_view>

#include "core/http_date.hpp"
#include "core/text.hpp"
#include "core/time.hpp"
#include "need.hpp"

/// Dates and Retry-After: two lines, the response's Date and its Retry-After.
namespace {

using namespace agentsight;
using test::need;

constexpr core::UtcMs now = 1'788'220'800'000;
constexpr std::int64_t cap_ms = 86'400'000;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    const auto end = text.find('\n');
    const std::string_view date_text = text.substr(0, end);
    const std::string_view retry_text =
        end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    const auto date = core::parse_http_date(date_text, now);
    if (date) {
        // What was understood is a time that can be written and read again.
        const auto again = core::parse_iso8601(core::iso8601(*date));
        need(again && *again == *date, "a date is a time");
        need(*date % 1'000 == 0, "HTTP knows whole seconds");
    }
    for (const auto& base : {date, std::optional<core::UtcMs>{}}) {
        const auto wait = core::parse_retry_after(retry_text, base, now, cap_ms);
        need(!wait || (*wait >= 0 && *wait <= cap_ms), "a wait within its bounds");
    }
    static_cast<void>(core::parse_iso8601(date_text));
    return 0;
}
