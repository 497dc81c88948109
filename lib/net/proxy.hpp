#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/url.hpp"

/// Which way requests to an endpoint go. Pure.
namespace agentsight::net {

/// None where unset or empty; production has os::environment.
using Environment = std::function<std::optional<std::string>(const char* name)>;

struct Way {
    enum class Kind {
        direct,
        tunnel,   ///< https through a proxy: CONNECT, then TLS with the endpoint
        forward,  ///< http through a proxy: the absolute form
    };
    Kind kind = Kind::direct;
    core::Url proxy;      ///< of tunnel and forward
    std::string problem;  ///< not empty: nothing may be sent, a proxy is never bypassed
};

/// `configured`: "", "direct", or a proxy's URL, which then is not subject to NO_PROXY.
/// Else https_proxy or HTTPS_PROXY for https; http_proxy for http (in capitals only where
/// REQUEST_METHOD is unset: a CGI program's visitor sets HTTP_PROXY by a header); else
/// all_proxy or ALL_PROXY; unless no_proxy or NO_PROXY names the endpoint, or it is
/// loopback. Lower case wins. A proxy without a scheme is http.
Way choose_way(const core::Url& endpoint, std::string_view configured,
               const Environment& environment);

/// Whether a NO_PROXY list names the host: entries parted by commas or white space; "*"; a
/// domain with or without a leading dot or "*." stands for itself and all below; an address;
/// IPv4 or IPv6 with a prefix length; each with an optional port.
bool no_proxy_names(std::string_view list, const core::Url& endpoint);

/// "Basic ..." (RFC 7617) for a proxy with user information; empty for none.
std::string proxy_authorization(const core::Url& proxy);

}  // namespace agentsight::net
