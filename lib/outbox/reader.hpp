#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agentsight/outbox.hpp"
#include "core/time.hpp"
#include "os/lock_file.hpp"
#include "os/no_fork.hpp"
#include "outbox/files.hpp"
#include "outbox/ledger.hpp"
#include "outbox/record.hpp"
#include "outbox/store.hpp"
#include "sqlite/database.hpp"

namespace agentsight::outbox {

/// Everything that only reads, on a connection of its own: never waits for a commit, never
/// pins the WAL for longer than one page of rows. Any thread. Throws Error.
class Reader {
  public:
    Reader(const StoreOptions& options, const Files& files, const core::Clock& clock);

    /// Makes the connection now, and tells the axis. Else at the first use.
    void open(Axis& axis);
    void close() noexcept;
    /// The next read opens the file again.
    void reset() noexcept;

    Status status(const Axis& axis);
    std::vector<Record> list(const Filter& filter, std::size_t limit, const Axis& axis);
    Record get(const core::Uuid& id, const Axis& axis);
    RecordState state_of(const core::Uuid& id);
    std::uint64_t count(const Filter& filter, const Axis& axis);

    std::vector<ClaimedRecord> due_unknowns(std::size_t limit, core::OutboxMs until);
    std::vector<ClaimedRecord> unknowns_of(const core::ConversationKey& conversation);
    std::vector<std::string> owned(const std::string& origin, std::span<const std::string> ids);
    std::optional<std::string> known_row(const core::ConversationKey& conversation,
                                         const std::string& origin, core::UtcMs since);
    /// Findings of a full check: SQLite's own, the ledger's and the order's.
    VerifyReport verify();

    bool drainer_lives();

  private:
    template <class Work>
    auto read(const char* doing, Work work);
    /// Inside a catch: throws what it caught as an Error.
    [[noreturn]] void fail(const char* doing);
    void connect();
    std::optional<Drainer> drainer();

    const StoreOptions& options_;
    const Files& files_;
    const core::Clock& clock_;
    std::mutex mutex_;
    sqlite::Database database_;
    os::BeforeFork before_fork_{[this] { database_.close(); }};
    Identities identities_;
    bool closed_ = false;
};

}  // namespace agentsight::outbox
