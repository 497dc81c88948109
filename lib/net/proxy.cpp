#include "net/proxy.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <span>
#include <vector>

#include "core/ip_address.hpp"

namespace agentsight::net {

namespace {

using Bytes = std::span<const std::uint8_t>;

std::string lower(std::string_view text) {
    std::string out{text};
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') {
            c = static_cast<char>(c - 'A' + 'a');
        }
    }
    return out;
}

/// Four or sixteen bytes; empty where `text` is no address. An IPv4 address mapped into
/// IPv6 is the IPv4 one.
std::vector<std::uint8_t> address_bytes(std::string_view text) {
    if (const auto v4 = core::parse_ipv4(text)) {
        return {v4->begin(), v4->end()};
    }
    const auto v6 = core::parse_ipv6(text);
    if (!v6) {
        return {};
    }
    constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const bool is_mapped = std::equal(mapped.begin(), mapped.end(), v6->begin());
    return {v6->begin() + (is_mapped ? mapped.size() : 0), v6->end()};
}

std::optional<unsigned> number(std::string_view text, unsigned most) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc{} && end == text.data() + text.size();
    return whole && value <= most ? std::optional{value} : std::nullopt;
}

bool same_prefix(Bytes left, Bytes right, unsigned bits) {
    if (left.size() != right.size() || bits > left.size() * 8) {
        return false;
    }
    for (unsigned bit = 0; bit < bits; ++bit) {
        const unsigned mask = 0x80U >> (bit % 8);
        if ((left[bit / 8] & mask) != (right[bit / 8] & mask)) {
            return false;
        }
    }
    return true;
}

/// Takes ":PORT" or "]:PORT" off the end of an entry; none where there is no port.
std::optional<unsigned> take_port(std::string_view& entry) {
    const bool bracketed = entry.starts_with('[');
    const auto colon = entry.rfind(':');
    const bool has_port =
        colon != std::string_view::npos &&
        (bracketed ? colon > 0 && entry[colon - 1] == ']' : entry.find(':') == colon);
    std::optional<unsigned> port;
    if (has_port) {
        // A port that is none matches nothing.
        port = number(entry.substr(colon + 1), 65'535).value_or(0);
        entry = entry.substr(0, colon);
    }
    if (bracketed && entry.ends_with(']')) {
        entry = entry.substr(1, entry.size() - 2);
    }
    return port;
}

bool names(std::string_view entry, const core::Url& endpoint) {
    if (entry == "*") {
        return true;
    }
    if (const auto port = take_port(entry); port && *port != endpoint.port) {
        return false;
    }
    const auto host = address_bytes(endpoint.host);
    const auto slash = entry.find('/');
    if (const auto address = address_bytes(entry.substr(0, slash)); !address.empty()) {
        const auto bits = static_cast<unsigned>(address.size() * 8);
        const auto length = slash == std::string_view::npos ? std::optional{bits}
                                                            : number(entry.substr(slash + 1), bits);
        return length && same_prefix(host, address, *length);
    }
    if (entry.starts_with("*.")) {
        entry.remove_prefix(1);
    }
    if (entry.starts_with('.')) {
        entry.remove_prefix(1);
    }
    // An address has no domains below it.
    if (entry.empty() || !host.empty()) {
        return false;
    }
    const std::string_view name = endpoint.host;
    return name == entry || (name.size() > entry.size() && name.ends_with(entry) &&
                             name[name.size() - entry.size() - 1] == '.');
}

std::string base64(std::string_view text) {
    static constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (std::size_t i = 0; i < text.size(); i += 3) {
        const std::string_view three = text.substr(i, 3);
        std::uint32_t bits = 0;
        for (std::size_t k = 0; k < 3; ++k) {
            bits = (bits << 8) | (k < three.size() ? static_cast<unsigned char>(three[k]) : 0U);
        }
        for (std::size_t k = 0; k < 4; ++k) {
            out.push_back(k <= three.size() ? digits[(bits >> (18 - 6 * k)) & 63U] : '=');
        }
    }
    return out;
}

struct Named {
    std::string text;
    const char* variable = "";
};

Named first_of(const Environment& environment, std::initializer_list<const char*> variables) {
    for (const char* variable : variables) {
        if (auto text = environment(variable); text && !text->empty()) {
            return {std::move(*text), variable};
        }
    }
    return {};
}

Named from_environment(const core::Url& endpoint, const Environment& environment) {
    Named named;
    if (endpoint.tls) {
        named = first_of(environment, {"https_proxy", "HTTPS_PROXY"});
    } else if (environment("REQUEST_METHOD")) {
        named = first_of(environment, {"http_proxy"});
    } else {
        named = first_of(environment, {"http_proxy", "HTTP_PROXY"});
    }
    return named.text.empty() ? first_of(environment, {"all_proxy", "ALL_PROXY"}) : named;
}

}  // namespace

bool no_proxy_names(std::string_view list, const core::Url& endpoint) {
    constexpr std::string_view separators = ", \t\r\n";
    while (true) {
        const auto begin = list.find_first_not_of(separators);
        if (begin == std::string_view::npos) {
            return false;
        }
        list.remove_prefix(begin);
        const auto end = std::min(list.find_first_of(separators), list.size());
        if (names(lower(list.substr(0, end)), endpoint)) {
            return true;
        }
        list.remove_prefix(end);
    }
}

Way choose_way(const core::Url& endpoint, std::string_view configured,
               const Environment& environment) {
    Way way;
    if (configured == "direct") {
        return way;
    }
    Named named{std::string{configured}, "the proxy option"};
    if (named.text.empty()) {
        const Named exceptions = first_of(environment, {"no_proxy", "NO_PROXY"});
        if (endpoint.is_loopback() || no_proxy_names(exceptions.text, endpoint)) {
            return way;
        }
        named = from_environment(endpoint, environment);
    }
    if (named.text.empty()) {
        return way;
    }
    way.kind = endpoint.tls ? Way::Kind::tunnel : Way::Kind::forward;
    const std::string url =
        named.text.find("://") == std::string::npos ? "http://" + named.text : named.text;
    std::string problem;
    if (auto proxy = core::parse_url(url, core::UserInfo::allowed, problem)) {
        way.proxy = std::move(*proxy);
        problem = way.proxy.tls ? "is https; only http proxies are supported" : "";
    }
    if (!problem.empty()) {
        way.problem = std::string{named.variable} + " " + problem;
    }
    return way;
}

std::string proxy_authorization(const core::Url& proxy) {
    if (proxy.user.empty() && proxy.password.empty()) {
        return {};
    }
    return "Basic " + base64(proxy.user + ":" + proxy.password);
}

}  // namespace agentsight::net
