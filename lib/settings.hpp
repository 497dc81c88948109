#pragma once

#include <chrono>
#include <string>

#include "agentsight/options.hpp"
#include "core/url.hpp"

namespace agentsight {

/// Options with every default filled in from the environment and every rule checked.
struct Settings {
    Options options;
    core::Url endpoint;
    /// The worker's first pause after something went wrong inside it is twice this.
    std::chrono::milliseconds restart_after{1'000};
};

/// Throws errc::invalid_option, naming the field and the rule, never the value of a secret.
Settings resolve(Options options);

/// The part of resolve() that places the outbox.
std::filesystem::path resolve_outbox_path(const Options& options);

}  // namespace agentsight
