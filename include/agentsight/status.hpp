#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "agentsight/events.hpp"
#include "agentsight/feedback.hpp"

namespace agentsight {

/// Milliseconds since 1970-01-01T00:00:00Z.
using UtcMilliseconds = std::int64_t;

/// Why nothing is sent, since when, and when it will be tried again by itself.
struct Hold {
    HoldReason reason;
    UtcMilliseconds since;
    std::optional<UtcMilliseconds> until;  ///< none: only a person, or a new credential, ends it
    int status = 0;                        ///< the answer that caused it; 0: none
    std::string detail;                    ///< the server's words, bounded and printable
};

struct Drainer {
    std::int64_t pid;
    bool stopped;  ///< SIGSTOP: it keeps its lock, nothing is sent, submits go on
};

/// The outbox at one moment. accepted = delivered + waiting + claimed + unknown +
/// dead + discarded + dropped, always.
struct Status {
    std::filesystem::path path;
    int schema = 0;
    std::uint64_t accepted = 0;
    std::uint64_t waiting = 0;
    std::uint64_t claimed = 0;
    std::uint64_t unknown = 0;
    std::uint64_t dead = 0;
    std::uint64_t delivered = 0;
    std::uint64_t discarded = 0;
    std::uint64_t dropped = 0;
    std::uint64_t left_to_person = 0;  ///< of `unknown`: only a person can settle them
    std::uint64_t possible_duplicates = 0;
    std::uint64_t waiting_for_other_credential = 0;      ///< of `waiting`: of the other kind
    std::optional<UtcMilliseconds> oldest_submitted_at;  ///< of waiting, claimed, unknown
    std::optional<UtcMilliseconds> last_delivered_at;
    std::optional<Hold> hold;  ///< of several: a person's first, then the one that ends last
    std::optional<Drainer> drainer;
    std::uint64_t bytes = 0;      ///< database and WAL
    bool bell_is_polled = false;  ///< no FIFO here: other processes' records wait up to 30 s
};

}  // namespace agentsight
