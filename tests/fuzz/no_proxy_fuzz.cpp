#include <cstdint>
#include <string>

#include "core/url.hpp"
#include "need.hpp"
#include "net/proxy.hpp"

/// URLs of endpoints and proxies, and NO_PROXY lists: three lines, endpoint, proxy, list.
namespace {

using namespace agentsight;
using test::need;

std::string take_line(std::string_view& text) {
    const auto end = std::min(text.find('\n'), text.size());
    std::string line{text.substr(0, end)};
    text.remove_prefix(std::min(end + 1, text.size()));
    return line;
}

void check_line(const std::string& text) {
    need(text.find_first_of(std::string_view{"\r\n\0", 3}) == std::string::npos,
         "no line break reaches a header");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view text{reinterpret_cast<const char*>(data), size};
    std::string problem;
    const auto endpoint = core::parse_url(take_line(text), core::UserInfo::refused, problem);
    need(endpoint.has_value() == problem.empty(), "a refused URL has its problem");
    if (!endpoint) {
        return 0;
    }
    check_line(endpoint->host_header());
    check_line(endpoint->origin());
    check_line(endpoint->path_prefix);
    // What we print of an endpoint reads back as the same endpoint.
    const auto again = core::parse_url(endpoint->origin(), core::UserInfo::refused, problem);
    need(again && again->origin() == endpoint->origin(), "an origin is a URL");
    const std::string proxy = take_line(text);
    const std::string list{text};
    const auto environment = [&](const char* name) -> std::optional<std::string> {
        return std::string_view{name} == "no_proxy"    ? std::optional{list}
               : std::string_view{name} == "all_proxy" ? std::optional{proxy}
                                                       : std::nullopt;
    };
    const net::Way way = net::choose_way(*endpoint, "", environment);
    if (way.kind != net::Way::Kind::direct && way.problem.empty()) {
        need(!way.proxy.host.empty() && !way.proxy.tls, "a proxy that can be used");
        check_line(net::proxy_authorization(way.proxy));
    }
    if (net::no_proxy_names(list, *endpoint)) {
        need(way.kind == net::Way::Kind::direct, "an exception is direct");
    }
    return 0;
}
