#pragma once

#include <cstdint>
#include <filesystem>

#include "core/random.hpp"
#include "core/time.hpp"
#include "outbox/files.hpp"
#include "outbox/store.hpp"

/// A damaged file is never erased: it is moved aside whole, and what is readable of it goes
/// on in a fresh outbox, as unknown: it may have been delivered after all.
namespace agentsight::outbox {

struct Salvaged {
    std::uint64_t rescued = 0;  ///< records in the fresh outbox
    std::uint64_t lost = 0;     ///< accepted once, and neither there nor known to be settled
    std::filesystem::path moved_to;
};

/// A name beside the database that nothing has, as a damaged file is given. Throws Error.
std::filesystem::path name_aside(const Files& files, core::UtcMs now);

/// A process died while it moved a file aside, or before all was rescued.
bool salvage_is_pending(const Files& files);

/// Moves the database and its companions aside, after a synced marker, makes the fresh outbox
/// and rescues into it; or completes what a marker tells of. Under the commit lock. Throws
/// Error, std::system_error or sqlite::Failure; then the marker stays, and the next call
/// goes on.
Salvaged salvage(const StoreOptions& options, const Files& files, const core::Clock& clock,
                 core::Random& random);

}  // namespace agentsight::outbox
