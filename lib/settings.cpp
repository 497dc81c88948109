#include "settings.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include "agentsight/error.hpp"
#include "core/credential.hpp"
#include "core/text.hpp"
#include "core/throw_error.hpp"
#include "os/file.hpp"

namespace agentsight {
namespace {

using std::chrono::milliseconds;

[[noreturn]] void refuse(std::string_view field, std::string_view rule) {
    core::throw_error(errc::invalid_option,
                      core::joined({"option ", field, " ", rule, ": set another value"}));
}

bool has_control_character(std::string_view text) {
    for (const char c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            return true;
        }
    }
    return false;
}

void require_range(std::string_view field, milliseconds value, milliseconds low,
                   milliseconds high) {
    if (value < low || value > high) {
        refuse(field, core::joined({"must be between ", std::to_string(low.count()), " ms and ",
                                    std::to_string(high.count()), " ms"}));
    }
}

void require_range(std::string_view field, std::uint64_t value, std::uint64_t low,
                   std::uint64_t high) {
    if (value < low || value > high) {
        refuse(field, core::joined({"must be between ", std::to_string(low), " and ",
                                    std::to_string(high)}));
    }
}

/// A folder's name of its own: no separator, no dot names, nothing unprintable.
void check_application(std::string_view name) {
    if (name.empty() || name == "." || name == ".." || name.size() > 200 ||
        name.find('/') != std::string_view::npos || has_control_character(name) ||
        !core::count_code_points(name)) {
        refuse("application", "must be 1 to 200 bytes of UTF-8 without '/' or control characters");
    }
}

std::string application_of(const Options& options) {
    if (options.application.empty()) {
        return os::executable_name();
    }
    check_application(options.application);
    return options.application;
}

core::Url resolve_endpoint(Options& options) {
    if (options.endpoint.empty()) {
        options.endpoint =
            os::environment("AGENTSIGHT_API_ENDPOINT").value_or("https://api.agentsight.io");
    }
    std::string problem;
    std::optional<core::Url> url =
        core::parse_url(options.endpoint, core::UserInfo::refused, problem);
    if (!url) {
        refuse("endpoint", core::joined({"is not an http or https URL (it ", problem, ")"}));
    }
    return *std::move(url);
}

void check_proxy(const std::string& proxy) {
    if (proxy.empty() || proxy == "direct") {
        return;
    }
    std::string problem;
    if (!core::parse_url(proxy, core::UserInfo::allowed, problem)) {
        refuse("proxy", core::joined({"is not an http URL or \"direct\" (it ", problem, ")"}));
    }
}

void resolve_credential(Options& options) {
    if (options.credential.kind() == Credential::Kind::none) {
        if (std::optional<std::string> key = os::environment("AGENTSIGHT_API_KEY")) {
            options.credential = ApiKey{*std::move(key)};
        }
    }
    if (std::optional<std::string> problem = core::credential_problem(options.credential)) {
        refuse("credential", *problem);
    }
}

void check_limits(const Options& options) {
    constexpr milliseconds minute{60'000};
    constexpr milliseconds day{86'400'000};
    require_range("connections", static_cast<std::uint64_t>(std::max(options.connections, 0)), 1,
                  64);
    require_range("request_timeout", options.request_timeout, milliseconds{1}, 10 * minute);
    require_range("connect_timeout", options.connect_timeout, milliseconds{1}, 10 * minute);
    require_range("close_deadline", options.close_deadline, milliseconds{0}, 10 * minute);
    require_range("busy_timeout", options.busy_timeout, milliseconds{0}, 10 * minute);
    require_range("reconcile_after", options.reconcile_after, milliseconds{0}, day);
    require_range("not_found_grace", options.not_found_grace, milliseconds{0}, 90 * day);
    require_range("backoff_base", options.backoff_base, milliseconds{1}, day);
    require_range("backoff_cap", options.backoff_cap, options.backoff_base, day);
    require_range("max_records", options.max_records, 1, std::uint64_t{1} << 40);
    require_range("max_bytes", options.max_bytes, std::uint64_t{1} << 20,
                  std::numeric_limits<std::uint64_t>::max());
    require_range("max_metadata_bytes", options.max_metadata_bytes, 2, std::uint64_t{16} << 20);
}

}  // namespace

std::filesystem::path resolve_outbox_path(const Options& options) {
    std::filesystem::path path = options.outbox_path;
    if (path.empty()) {
        if (std::optional<std::string> given = os::environment("AGENTSIGHT_OUTBOX")) {
            path = *given;
        }
    }
    if (path.empty()) {
        return os::user_data_folder() / "agentsight" / application_of(options) / "feedback.db";
    }
    if (has_control_character(path.native())) {
        refuse("outbox_path", "must not contain control characters");
    }
    return path;
}

Settings resolve(Options options) {
    Settings settings;
    if (!options.application.empty()) {
        check_application(options.application);
    }
    options.outbox_path = resolve_outbox_path(options);
    settings.endpoint = resolve_endpoint(options);
    resolve_credential(options);
    check_limits(options);
    for (const auto& [field, path] : {std::pair{"ca_file", &options.ca_file},
                                      std::pair{"client_certificate", &options.client_certificate},
                                      std::pair{"client_key", &options.client_key}}) {
        if (has_control_character(path->native())) {
            refuse(field, "must not contain control characters");
        }
    }
    check_proxy(options.proxy);
    settings.options = std::move(options);
    return settings;
}

}  // namespace agentsight
