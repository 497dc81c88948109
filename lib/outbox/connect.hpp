#pragma once

#include "core/random.hpp"
#include "outbox/files.hpp"
#include "outbox/store.hpp"
#include "sqlite/database.hpp"

namespace agentsight::outbox {

/// Frames of the WAL beyond which the next committer checkpoints: about 1 MiB, which is
/// then used again and again. More is slower, and a growing WAL halves the commit rate.
inline constexpr int checkpoint_frames = 256;

/// StoreOptions::max_bytes in pages.
std::int64_t quota_pages(const StoreOptions& options);

/// Refuses what is not an outbox, or is of a newer schema, without writing a byte; true where the
/// file is of the newest schema, whatever its WAL holds. Throws Error.
bool refuse_foreign(const StoreOptions& options, const Files& files);

/// The writing connection, with the whole open profile read back; a fresh file becomes an
/// outbox. Under the commit lock. Each statement waits for another's lock as long as
/// `busy_timeout`, not the options' own. Throws Error or sqlite::Failure.
sqlite::Database connect_writer(const StoreOptions& options, const Files& files,
                                core::Random& random, std::chrono::milliseconds busy_timeout);

/// A connection that never writes the database.
sqlite::Database connect_reader(const StoreOptions& options, const Files& files);

}  // namespace agentsight::outbox
