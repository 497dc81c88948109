#include <algorithm>
#include <cstdint>
#include <string>

#include "core/credential.hpp"
#include "need.hpp"

/// The text of a credential file.
using namespace agentsight;
using test::need;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    std::string problem;
    const auto credential = core::parse_credential_line(text, problem);
    need(credential.has_value() == problem.empty(), "a refused line has its problem");
    for (const char c : problem) {
        need(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "words are printable");
    }
    if (!credential) {
        // Eight characters that no message of ours holds by itself would be the secret's.
        if (size >= 24 && size < 1'000) {
            for (std::size_t at = 8; at + 16 <= size; ++at) {
                need(problem.find(text.substr(at, 16)) == std::string::npos ||
                         text.substr(at, 16).find(' ') != std::string_view::npos,
                     "a problem repeats no secret");
            }
        }
        return 0;
    }
    need(credential->kind() != Credential::Kind::none, "a line is a credential");
    need(!core::credential_problem(*credential), "what is taken is fit for a header");
    const std::string header = core::authorization(*credential).text();
    need(std::all_of(header.begin(), header.end(), [](char c) { return c >= 0x20 && c < 0x7f; }),
         "a header is one line of visible ASCII");
    std::string again_problem;
    const auto again = core::parse_credential_line(header, again_problem);
    need(again && again->secret() == credential->secret() && again->kind() == credential->kind(),
         "a header reads back as the same credential");
    return 0;
}
