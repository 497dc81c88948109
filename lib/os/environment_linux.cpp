#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <vector>

#include "os/file.hpp"

namespace agentsight::os {
namespace {

/// Of the user we act as; empty where the database knows none.
std::filesystem::path home_by_password_database() {
    std::vector<char> buffer(1024);
    passwd entry{};
    passwd* found = nullptr;
    int error = 0;
    while ((error = ::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found)) ==
               ERANGE &&
           buffer.size() < 1024 * 1024) {
        buffer.resize(buffer.size() * 2);
    }
    if (error != 0 || found == nullptr || found->pw_dir == nullptr) {
        return {};
    }
    return found->pw_dir;
}

}  // namespace

std::optional<std::string> environment(const char* name) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') {
        return std::nullopt;
    }
    return value;
}

std::filesystem::path user_data_folder() {
    // The XDG base directory specification: a relative path there is to be ignored.
    if (const auto data = environment("XDG_DATA_HOME"); data && data->front() == '/') {
        return *data;
    }
    std::filesystem::path home = environment("HOME").value_or("");
    if (!home.is_absolute()) {
        home = home_by_password_database();
    }
    if (!home.is_absolute()) {
        throw std::system_error(
            ENOENT, std::generic_category(),
            "no home folder to keep an outbox in: set HOME, XDG_DATA_HOME or AGENTSIGHT_OUTBOX");
    }
    return home / ".local" / "share";
}

std::string executable_name() {
    std::error_code error;
    std::string name = std::filesystem::read_symlink("/proc/self/exe", error).filename().string();
    // The kernel says so of a program replaced while it runs, as by an update.
    constexpr std::string_view gone = " (deleted)";
    if (name.size() > gone.size() && name.ends_with(gone)) {
        name.resize(name.size() - gone.size());
    }
    return name.empty() ? "application" : name;
}

}  // namespace agentsight::os
