#include "core/url.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "core/ip_address.hpp"

namespace agentsight::core {

namespace {

constexpr std::size_t max_url_bytes = 2048;
constexpr std::size_t max_host_bytes = 253;
constexpr std::size_t max_label_bytes = 63;
constexpr std::uint16_t http_port = 80;
constexpr std::uint16_t https_port = 443;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool one_of(char c, std::string_view set) {
    return set.find(c) != std::string_view::npos;
}

void to_lower(std::string& text) {
    for (char& c : text) {
        if (c >= 'A' && c <= 'Z') {
            c = static_cast<char>(c - 'A' + 'a');
        }
    }
}

int hex_value(char c) {
    if (is_digit(c)) {
        return c - '0';
    }
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// Whether a percent sign at `at` begins an escape of two hex digits.
bool is_escape(std::string_view text, std::size_t at) {
    return at + 2 < text.size() && hex_value(text[at + 1]) >= 0 && hex_value(text[at + 2]) >= 0;
}

std::optional<std::string> percent_decode(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '%') {
            if (!is_escape(text, i)) {
                return std::nullopt;
            }
            c = static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
            i += 2;
        }
        // They go into a header: a decoded line break must not get there.
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            return std::nullopt;
        }
        out.push_back(c);
    }
    return out;
}

bool ends_with(std::string_view text, std::string_view tail) {
    return text.size() >= tail.size() && text.substr(text.size() - tail.size()) == tail;
}

bool is_host_name(std::string_view host) {
    if (host.empty() || host.size() > max_host_bytes) {
        return false;
    }
    std::size_t label = 0;
    for (const char c : host) {
        if (c == '.') {
            if (label == 0) {
                return false;
            }
            label = 0;
        } else if ((!is_letter(c) && !is_digit(c) && c != '-' && c != '_') ||
                   ++label > max_label_bytes) {
            return false;
        }
    }
    return label != 0;
}

bool is_path(std::string_view path) {
    for (std::size_t i = 0; i < path.size(); ++i) {
        const char c = path[i];
        const bool fine = c == '%' ? is_escape(path, i)
                                   : is_letter(c) || is_digit(c) || one_of(c, "-._~!$&'()*+,;=:@/");
        if (!fine) {
            return false;
        }
    }
    return true;
}

/// Takes the URL apart from left to right; the first problem ends it.
class Parser {
  public:
    Parser(std::string_view text, UserInfo user_info, std::string& problem)
        : rest_(text), user_info_(user_info), problem_(problem) {}

    std::optional<Url> parse() {
        if (characters() && scheme() && authority() && path()) {
            return std::move(url_);
        }
        return std::nullopt;
    }

  private:
    bool fail(const char* problem) {
        problem_ = problem;
        return false;
    }

    bool characters() {
        if (rest_.empty()) {
            return fail("is empty");
        }
        if (rest_.size() > max_url_bytes) {
            return fail("is longer than 2048 bytes");
        }
        for (const char c : rest_) {
            const auto byte = static_cast<unsigned char>(c);
            if (byte <= 0x20 || byte == 0x7f) {
                return fail("has white space or a control character");
            }
            if (byte > 0x7f) {
                return fail("has a character that is not ASCII (write it in its ASCII form)");
            }
            if (c == '\\') {
                return fail("has a backslash");
            }
            if (c == '?' || c == '#') {
                return fail("has a query or a fragment");
            }
        }
        return true;
    }

    bool scheme() {
        const std::size_t end = rest_.find("://");
        std::string name{rest_.substr(0, end == std::string_view::npos ? 0 : end)};
        to_lower(name);
        if (name != "http" && name != "https") {
            return fail("does not begin with http:// or https://");
        }
        url_.tls = name == "https";
        url_.port = url_.tls ? https_port : http_port;
        rest_.remove_prefix(end + 3);
        return true;
    }

    bool authority() {
        const std::size_t end = std::min(rest_.find('/'), rest_.size());
        std::string_view authority = rest_.substr(0, end);
        rest_.remove_prefix(end);
        const std::size_t at = authority.rfind('@');
        if (at != std::string_view::npos) {
            if (!user(authority.substr(0, at))) {
                return false;
            }
            authority.remove_prefix(at + 1);
        }
        return host(authority) && port(authority);
    }

    bool user(std::string_view info) {
        if (user_info_ == UserInfo::refused) {
            return fail("has a user name or password, which do not belong there");
        }
        const std::size_t colon = info.find(':');
        auto user = percent_decode(info.substr(0, colon));
        auto password = percent_decode(colon == std::string_view::npos ? std::string_view{}
                                                                       : info.substr(colon + 1));
        // Basic credentials are joined by a colon, so a user name cannot hold one.
        if (!user || !password || one_of(':', *user)) {
            return fail("has a user name or password that is not well formed");
        }
        url_.user = std::move(*user);
        url_.password = std::move(*password);
        return true;
    }

    /// Takes the host from the front of `authority`.
    bool host(std::string_view& authority) {
        if (authority.empty() || authority.front() == ':') {
            return fail("has no host");
        }
        if (authority.front() == '[') {
            const std::size_t end = authority.find(']');
            if (end == std::string_view::npos || !parse_ipv6(authority.substr(1, end - 1))) {
                return fail("has an IPv6 address that is not well formed");
            }
            url_.host = authority.substr(1, end - 1);
            authority.remove_prefix(end + 1);
        } else {
            const std::size_t end = std::min(authority.find(':'), authority.size());
            if (!is_host_name(authority.substr(0, end))) {
                return fail("has a host name that is not well formed");
            }
            url_.host = authority.substr(0, end);
            authority.remove_prefix(end);
        }
        to_lower(url_.host);
        return true;
    }

    bool port(std::string_view text) {
        if (text.empty()) {
            return true;
        }
        constexpr const char* problem = "has a port that is not a number from 1 to 65535";
        text.remove_prefix(1);
        std::uint16_t port = 0;
        const char* const end = text.data() + text.size();
        const auto result = std::from_chars(text.data(), end, port);
        if (result.ec != std::errc{} || result.ptr != end || port == 0) {
            return fail(problem);
        }
        url_.port = port;
        return true;
    }

    bool path() {
        if (!is_path(rest_)) {
            return fail("has a character in its path that must be percent-encoded");
        }
        while (!rest_.empty() && rest_.back() == '/') {
            rest_.remove_suffix(1);
        }
        url_.path_prefix = rest_;
        return true;
    }

    std::string_view rest_;
    UserInfo user_info_;
    std::string& problem_;
    Url url_;
};

}  // namespace

std::string Url::origin() const {
    return (tls ? "https://" : "http://") + host_header();
}

std::string Url::host_header() const {
    std::string out = one_of(':', host) ? "[" + host + "]" : host;
    if (port != (tls ? https_port : http_port)) {
        out += ":" + std::to_string(port);
    }
    return out;
}

bool Url::is_loopback() const {
    if (host == "localhost" || ends_with(host, ".localhost")) {
        return true;
    }
    if (const auto four = parse_ipv4(host)) {
        return four->front() == 127;
    }
    std::array<std::uint8_t, 16> loopback{};
    loopback.back() = 1;
    return parse_ipv6(host) == loopback;
}

std::optional<Url> parse_url(std::string_view text, UserInfo user_info, std::string& problem) {
    problem.clear();
    return Parser{text, user_info, problem}.parse();
}

}  // namespace agentsight::core
