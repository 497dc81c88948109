#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "support/test_random.hpp"

namespace agentsight::test {

using Bytes = std::vector<std::uint8_t>;

/// Files by their names within one folder.
using Files = std::map<std::string, Bytes>;

/// What a stop leaves of what was written and not synced.
enum class Damage {
    process_kill,    ///< the page cache survives; the last write may be cut short
    lose_unsynced,   ///< nothing unsynced survives
    sectors,         ///< each unsynced 512-byte piece survives or not
    garbage,         ///< the same, or is noise
    torn_4k,         ///< each 4 KiB sector written to: old, new, or noise, neighbours included
    torn_16k,        ///< the same for 16 KiB
    lying_in_order,  ///< a sync does nothing; the newest writes are lost, in order
    lying,           ///< a sync does nothing; any of the newest writes are lost
};
inline constexpr int damage_count = 8;
std::string_view name_of(Damage damage);
std::optional<Damage> damage_named(std::string_view name);
/// Whether the model is of a disk whose sync does nothing.
constexpr bool is_lying(Damage damage) {
    return damage >= Damage::lying_in_order;
}

/// One unsynced operation on a file.
struct Write {
    std::uint64_t number = 0;  ///< in the order of the whole disk, from 1
    std::int64_t offset = 0;   ///< of a truncation: the new size
    Bytes bytes;
    bool is_truncation = false;
    /// Its sync failed: the page cache shows it, and no later sync writes it.
    bool is_forgotten = false;
};
void put(Bytes& image, const Write& write);

/// When the power went.
struct Stop {
    Damage damage = Damage::lose_unsynced;
    std::uint64_t last = 0;       ///< number of the operation that was under way
    std::uint64_t lost_from = 0;  ///< of a lying disk: the first operation that may be lost
};

/// What a killed process leaves of its writes: all, but the one under way perhaps not, or
/// in part.
std::vector<Write> after_kill(std::span<const Write> unsynced, const Stop& stop,
                              TestRandom& random);

/// A file after a power cut: what was durable, and what the damage makes of the rest.
Bytes surviving_bytes(const Bytes& durable, std::span<const Write> unsynced, const Stop& stop,
                      TestRandom& random);

/// Whether an unsynced change of a folder's names survives.
bool name_survives(std::uint64_t number, const Stop& stop, TestRandom& random);

}  // namespace agentsight::test
