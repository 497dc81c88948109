#pragma once

#include <boost/system/error_code.hpp>
#include <chrono>
#include <string>

#include "core/exchange.hpp"
#include "core/url.hpp"

namespace agentsight::net {

/// "30 s", "150 ms".
std::string in_words(std::chrono::milliseconds time);

/// The system's words, bounded and printable.
std::string in_words(const boost::system::error_code& error);

/// "host:port", an IPv6 address in brackets (RFC 9112, section 3.2.3).
std::string authority(const core::Url& url);

void fail(core::Evidence& evidence, core::Failure why, std::string detail);

}  // namespace agentsight::net
