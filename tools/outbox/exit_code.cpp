#include "exit_code.hpp"

#include <algorithm>

#include "agentsight/error.hpp"

namespace agentsight::tool {

ExitCode worse(ExitCode one, ExitCode other) noexcept {
    return std::max(one, other);
}

ExitCode exit_code_for(const std::error_code& code) noexcept {
    if (is_validation_error(code) || code == errc::invalid_option) {
        return ExitCode::usage;
    }
    if (code == errc::not_found || code == errc::no_such_file) {
        return ExitCode::nothing;
    }
    if (code == errc::damaged) {
        return ExitCode::damaged;
    }
    return ExitCode::failed;
}

}  // namespace agentsight::tool
