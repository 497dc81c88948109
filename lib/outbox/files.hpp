#pragma once

#include <filesystem>
#include <optional>

#include "agentsight/outbox.hpp"
#include "os/file.hpp"
#include "outbox/store.hpp"

namespace agentsight::outbox {

/// The database and its companions.
struct Files {
    explicit Files(std::filesystem::path database);

    std::filesystem::path database, wal, shm, journal, lock, ballast;
};

/// What the files are on disk now: compared before every commit, so that nothing is written
/// where nobody looks, and after it, before it is acknowledged.
struct Identities {
    std::optional<os::FileIdentity> database, wal, shm;
    bool operator==(const Identities&) const = default;
};
Identities identities(const Files& files) noexcept;

/// The path with its folder resolved, the folder made where `create`, and checked; the file
/// made where `create`, and checked. Throws Error.
Files prepare_files(const StoreOptions& options);

}  // namespace agentsight::outbox
