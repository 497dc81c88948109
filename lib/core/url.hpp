#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace agentsight::core {

/// An http or https URL, taken apart and normalised (scheme and host lower case).
struct Url {
    bool tls = false;
    std::string host;         ///< name or address; IPv6 without brackets
    std::uint16_t port = 0;   ///< given, else 80 or 443
    std::string path_prefix;  ///< "" or "/v1": no trailing slash
    std::string user;         ///< of a proxy only
    std::string password;     ///< of a proxy only

    /// "https://host" or "https://host:8443", as the outbox keeps it.
    std::string origin() const;
    /// The Host header: the port only where it is not the scheme's.
    std::string host_header() const;
    /// localhost, *.localhost, 127.0.0.0/8, ::1.
    bool is_loopback() const;
};

enum class UserInfo { refused, allowed };

/// None with `problem` set ("has no host", ...) where `text` is not a usable URL: another
/// scheme, white space, control characters, a query or fragment, a port out of range,
/// user information where refused. `problem` never repeats the text.
std::optional<Url> parse_url(std::string_view text, UserInfo user_info, std::string& problem);

}  // namespace agentsight::core
