#pragma once

#include <string>

#include "net/tls.hpp"

struct ssl_ctx_st;

namespace agentsight::net {

/// Loads the first source that names authorities into `context`. Empty: done; else what is
/// wrong and what to do, for people.
std::string load_authorities(ssl_ctx_st* context, const TrustSources& sources);

}  // namespace agentsight::net
