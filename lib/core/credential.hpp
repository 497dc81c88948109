#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "agentsight/options.hpp"

namespace agentsight::core {

/// "Api-Key KEY" or "Bearer TOKEN" for the Authorization header; empty for none.
std::string authorization(const Credential& credential);

/// None where fit for a header: no control characters, no white space inside, visible
/// ASCII, at most 8 KiB; else the broken rule, which never repeats the secret.
std::optional<std::string> credential_problem(const Credential& credential);

/// One line "Api-Key KEY" or "Bearer TOKEN" (a final newline allowed), scheme in any case.
/// None with `problem` set otherwise.
std::optional<Credential> parse_credential_line(std::string_view text, std::string& problem);

/// "ags_", 32 hex digits, "_", 6 hex digits, in any case. Another shape deserves a warning
/// and no more: a self-hosted or later server may issue others.
bool has_usual_shape(const ApiKey& key);

}  // namespace agentsight::core
