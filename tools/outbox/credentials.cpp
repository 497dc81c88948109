#include "credentials.hpp"

#include <cstdlib>
#include <fstream>
#include <string_view>

#include "exit_code.hpp"

namespace agentsight::tool {
namespace {

/// Longer than any token in use; a bound, so that a wrong file is not read whole.
constexpr std::size_t max_credential_bytes = 16 * 1024;

std::string read_line(const std::string& file) {
    std::ifstream stream(file, std::ios::binary);
    std::string text(max_credential_bytes + 1, '\0');
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (!stream.is_open() || stream.bad() || (stream.gcount() == 0 && !stream.eof())) {
        throw UsageError("--credential-file: cannot read '" + file +
                         "'; name a file that this user may read");
    }
    text.resize(static_cast<std::size_t>(stream.gcount()));
    for (const std::string_view end : {"\n", "\r"}) {
        if (text.ends_with(end)) {
            text.pop_back();
        }
    }
    return text;
}

Credential parse(const std::string& line) {
    constexpr std::string_view api_key = "Api-Key ";
    constexpr std::string_view bearer = "Bearer ";
    const bool is_one_line = line.size() <= max_credential_bytes &&
                             line.find_first_of(std::string_view("\r\n\0", 3)) == line.npos;
    if (is_one_line && line.starts_with(api_key) && line.size() > api_key.size()) {
        return ApiKey{line.substr(api_key.size())};
    }
    if (is_one_line && line.starts_with(bearer) && line.size() > bearer.size()) {
        return Jwt{line.substr(bearer.size())};
    }
    throw UsageError(
        "--credential-file: the file must hold one line, 'Api-Key KEY' or 'Bearer TOKEN'");
}

}  // namespace

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

Credential find_credential(const std::string& credential_file) {
    if (!credential_file.empty()) {
        return parse(read_line(credential_file));
    }
    std::string key = environment("AGENTSIGHT_API_KEY");
    std::string token = environment("AGENTSIGHT_JWT");
    if (!key.empty() && !token.empty()) {
        throw UsageError(
            "AGENTSIGHT_API_KEY and AGENTSIGHT_JWT are both set; unset the one that is not meant");
    }
    if (!key.empty()) {
        return ApiKey{std::move(key)};
    }
    if (!token.empty()) {
        return Jwt{std::move(token)};
    }
    return {};
}

}  // namespace agentsight::tool
