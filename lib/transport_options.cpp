#include "transport_options.hpp"

#include "agentsight/version.hpp"

namespace agentsight {

net::TransportOptions transport_options(const Settings& settings) {
    const Options& options = settings.options;
    net::TransportOptions result;
    result.endpoint = settings.endpoint;
    result.credential = options.credential;
    result.allow_insecure = options.allow_insecure;
    result.ca_file = options.ca_file;
    result.client_certificate = options.client_certificate;
    result.client_key = options.client_key;
    result.proxy = options.proxy;
    result.connections = static_cast<std::size_t>(options.connections);
    result.request_timeout = options.request_timeout;
    result.connect_timeout = options.connect_timeout;
    result.user_agent = user_agent();
    return result;
}

}  // namespace agentsight
