#include "core/credential.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace agentsight {

Credential::Credential(Kind kind, std::string& secret) noexcept
    : kind_(kind), secret_(std::move(secret)) {
    wipe(secret);
}

Credential::Credential(Credential&& other) noexcept
    : Credential(std::exchange(other.kind_, Kind::none), other.secret_) {}

Credential& Credential::operator=(Credential other) noexcept {
    std::swap(kind_, other.kind_);
    secret_.swap(other.secret_);
    return *this;
}

Credential::~Credential() {
    wipe(secret_);
}

void Credential::wipe(std::string& text) noexcept {
    text.resize(text.capacity());
    volatile char* at = text.data();
    for (std::size_t left = text.size(); left > 0; --left) {
        *at++ = 0;
    }
    text.clear();
}

}  // namespace agentsight

namespace agentsight::core {

namespace {

constexpr std::size_t max_secret_bytes = 8 * 1024;
constexpr std::string_view api_key_scheme = "Api-Key";
constexpr std::string_view jwt_scheme = "Bearer";
constexpr std::string_view blanks = " \t";

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool equal_in_any_case(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](char x, char y) { return lower(x) == lower(y); });
}

bool is_hex(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'f');
    });
}

/// Without one final line break.
std::string_view without_line_break(std::string_view text) {
    for (const std::string_view end : {"\r\n", "\n"}) {
        if (text.size() >= end.size() && text.substr(text.size() - end.size()) == end) {
            return text.substr(0, text.size() - end.size());
        }
    }
    return text;
}

}  // namespace

SecretText authorization(const Credential& credential) {
    SecretText header;
    if (credential.kind() != Credential::Kind::none) {
        const std::string_view scheme =
            credential.kind() == Credential::Kind::api_key ? api_key_scheme : jwt_scheme;
        header.renew(scheme.size() + 1 + credential.secret().size())
            .append(scheme)
            .append(" ")
            .append(credential.secret());
    }
    return header;
}

std::optional<std::string> credential_problem(const Credential& credential) {
    if (credential.kind() == Credential::Kind::none) {
        return std::nullopt;
    }
    const std::string& secret = credential.secret();
    if (secret.empty()) {
        return "is empty";
    }
    if (secret.size() > max_secret_bytes) {
        return "is longer than 8 KiB";
    }
    for (const char c : secret) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte == 0x7f) {
            return "has white space or a control character";
        }
        if (byte > 0x7f) {
            return "has a character that is not ASCII";
        }
    }
    return std::nullopt;
}

std::optional<Credential> parse_credential_line(std::string_view text, std::string& problem) {
    problem.clear();
    const std::string_view line = without_line_break(text);
    const std::size_t blank = std::min(line.find_first_of(blanks), line.size());
    const std::string_view scheme = line.substr(0, blank);
    const std::size_t begin = std::min(line.find_first_not_of(blanks, blank), line.size());
    const std::size_t end = line.find_last_not_of(blanks);
    std::string secret;
    if (begin < line.size()) {
        secret = line.substr(begin, end - begin + 1);
    }
    Credential credential;
    if (equal_in_any_case(scheme, api_key_scheme)) {
        credential = ApiKey{std::move(secret)};
    } else if (equal_in_any_case(scheme, jwt_scheme)) {
        credential = Jwt{std::move(secret)};
    } else {
        problem = "does not begin with Api-Key or Bearer";
        return std::nullopt;
    }
    if (auto broken = credential_problem(credential)) {
        problem = std::move(*broken);
        return std::nullopt;
    }
    return credential;
}

bool has_usual_shape(const ApiKey& key) {
    constexpr std::string_view prefix = "ags_";
    constexpr std::size_t name_digits = 32;
    constexpr std::size_t check_digits = 6;
    constexpr std::size_t dash = prefix.size() + name_digits;
    const std::string_view value = key.value;
    return value.size() == dash + 1 + check_digits &&
           equal_in_any_case(value.substr(0, prefix.size()), prefix) && value[dash] == '_' &&
           is_hex(value.substr(prefix.size(), name_digits)) && is_hex(value.substr(dash + 1));
}

}  // namespace agentsight::core
