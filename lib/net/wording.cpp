#include "net/wording.hpp"

#include <utility>

#include "core/text.hpp"

namespace agentsight::net {

std::string in_words(std::chrono::milliseconds time) {
    const auto ms = time.count();
    return ms % 1'000 == 0 ? std::to_string(ms / 1'000) + " s" : std::to_string(ms) + " ms";
}

std::string in_words(const boost::system::error_code& error) {
    return core::printable(error.message(), 120);
}

std::string authority(const core::Url& url) {
    const bool v6 = url.host.find(':') != std::string::npos;
    return (v6 ? "[" + url.host + "]" : url.host) + ":" + std::to_string(url.port);
}

void fail(core::Evidence& evidence, core::Failure why, std::string detail) {
    evidence.failure = why;
    evidence.detail = std::move(detail);
}

}  // namespace agentsight::net
