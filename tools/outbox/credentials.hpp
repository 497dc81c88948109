#pragma once

#include <string>

#include "agentsight/options.hpp"

namespace agentsight::tool {

/// Where a verb that sends takes its credential from: the file where one is named, else
/// AGENTSIGHT_API_KEY, else AGENTSIGHT_JWT. Never the command line, which other users can
/// read. Both variables set is a contradiction; an empty one counts as unset. No message
/// repeats what was read. Throws UsageError.
Credential find_credential(const std::string& credential_file);

/// An environment variable; empty where it is unset.
std::string environment(const char* name);

}  // namespace agentsight::tool
