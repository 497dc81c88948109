#include "damage.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace agentsight::test {

namespace {

constexpr std::array<std::string_view, damage_count> damage_names{
    "process-kill", "lose-unsynced", "sectors",        "garbage",
    "torn-4k",      "torn-16k",      "lying-in-order", "lying"};

void make_noise(std::span<std::uint8_t> target, TestRandom& random) {
    for (auto& byte : target) {
        byte = static_cast<std::uint8_t>(random.next());
    }
}

Write part_of(const Write& write, std::size_t begin, std::size_t end) {
    Write part{.number = write.number,
               .offset = write.offset + static_cast<std::int64_t>(begin),
               .bytes = {}};
    part.bytes.assign(write.bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                      write.bytes.begin() + static_cast<std::ptrdiff_t>(end));
    return part;
}

void keep_pieces(Bytes& image, const Write& write, bool with_noise, std::uint64_t of_eight,
                 TestRandom& random) {
    constexpr std::size_t sector = 512;
    const auto base = static_cast<std::size_t>(write.offset);
    for (std::size_t at = 0; at < write.bytes.size();) {
        const std::size_t next =
            std::min(write.bytes.size(), ((base + at) / sector + 1) * sector - base);
        const bool noise = with_noise && random.one_in(4);
        if (noise || random.below(8) < of_eight) {
            Write piece = part_of(write, at, next);
            if (noise) {
                make_noise(piece.bytes, random);
            }
            put(image, piece);
        }
        at = next;
    }
}

void keep_sectors(Bytes& image, std::span<const Write> unsynced, bool with_noise,
                  TestRandom& random) {
    static constexpr std::array<std::uint64_t, 3> chances{1, 4, 7};
    const std::uint64_t of_eight = chances[random.below(chances.size())];
    for (const Write& write : unsynced) {
        if (!write.is_truncation) {
            keep_pieces(image, write, with_noise, of_eight, random);
        } else if (random.below(8) < of_eight) {
            put(image, write);
        }
    }
}

/// Which sectors of this size any unsynced write touched.
std::vector<bool> touched_sectors(std::span<const Write> unsynced, std::size_t sector) {
    std::vector<bool> touched;
    for (const Write& write : unsynced) {
        if (write.is_truncation || write.bytes.empty()) {
            continue;
        }
        const std::size_t first = static_cast<std::size_t>(write.offset) / sector;
        const std::size_t last =
            (static_cast<std::size_t>(write.offset) + write.bytes.size() - 1) / sector;
        touched.resize(std::max(touched.size(), last + 1));
        std::fill(touched.begin() + static_cast<std::ptrdiff_t>(first),
                  touched.begin() + static_cast<std::ptrdiff_t>(last + 1), true);
    }
    return touched;
}

void tear(Bytes& image, std::span<const Write> unsynced, std::size_t sector, TestRandom& random) {
    Bytes current = image;
    for (const Write& write : unsynced) {
        put(current, write);
    }
    // A file's size is metadata and not torn: it is the old or the new one, or grows with
    // a sector that survives.
    if (current.size() < image.size() && random.one_in(2)) {
        image.resize(current.size());
    }
    const std::vector<bool> touched = touched_sectors(unsynced, sector);
    for (std::size_t i = 0; i < touched.size(); ++i) {
        enum Fate { old_bytes, new_bytes, noise };
        const auto fate = static_cast<Fate>(random.below(3));
        const std::size_t begin = i * sector;
        const std::size_t end = std::min(begin + sector, current.size());
        if (!touched[i] || fate == old_bytes || begin >= end) {
            continue;
        }
        image.resize(std::max(image.size(), end));
        const std::span target = std::span{image}.subspan(begin, end - begin);
        if (fate == noise) {
            make_noise(target, random);
        } else {
            std::copy_n(current.begin() + static_cast<std::ptrdiff_t>(begin), end - begin,
                        target.begin());
        }
    }
}

void lose_newest(Bytes& image, std::span<const Write> unsynced, const Stop& stop,
                 TestRandom& random) {
    for (const Write& write : unsynced) {
        if (write.number < stop.lost_from || (stop.damage == Damage::lying && random.one_in(2))) {
            put(image, write);
        }
    }
}

}  // namespace

std::string_view name_of(Damage damage) {
    return damage_names[static_cast<std::size_t>(damage)];
}

std::optional<Damage> damage_named(std::string_view name) {
    const auto found = std::find(damage_names.begin(), damage_names.end(), name);
    return found == damage_names.end()
               ? std::nullopt
               : std::optional{static_cast<Damage>(found - damage_names.begin())};
}

void put(Bytes& image, const Write& write) {
    const auto offset = static_cast<std::size_t>(write.offset);
    if (write.is_truncation) {
        image.resize(offset);
        return;
    }
    image.resize(std::max(image.size(), offset + write.bytes.size()));
    std::copy(write.bytes.begin(), write.bytes.end(),
              image.begin() + static_cast<std::ptrdiff_t>(offset));
}

std::vector<Write> after_kill(std::span<const Write> unsynced, const Stop& stop,
                              TestRandom& random) {
    std::vector<Write> kept{unsynced.begin(), unsynced.end()};
    if (kept.empty() || kept.back().number != stop.last) {
        return kept;
    }
    Write& last = kept.back();
    if (last.is_truncation || last.bytes.empty()) {
        if (random.one_in(2)) {
            kept.pop_back();
        }
    } else {
        last.bytes.resize(random.below(last.bytes.size() + 1));
    }
    return kept;
}

Bytes surviving_bytes(const Bytes& durable, std::span<const Write> unsynced, const Stop& stop,
                      TestRandom& random) {
    Bytes image = durable;
    switch (stop.damage) {
        case Damage::process_kill:
            for (const Write& write : after_kill(unsynced, stop, random)) {
                put(image, write);
            }
            break;
        case Damage::lose_unsynced:
            break;
        case Damage::sectors:
            keep_sectors(image, unsynced, false, random);
            break;
        case Damage::garbage:
            keep_sectors(image, unsynced, true, random);
            break;
        case Damage::torn_4k:
            tear(image, unsynced, 4096, random);
            break;
        case Damage::torn_16k:
            tear(image, unsynced, 16384, random);
            break;
        case Damage::lying_in_order:
        case Damage::lying:
            lose_newest(image, unsynced, stop, random);
            break;
    }
    return image;
}

bool name_survives(std::uint64_t number, const Stop& stop, TestRandom& random) {
    switch (stop.damage) {
        case Damage::process_kill:
            return number != stop.last || random.one_in(2);
        case Damage::lose_unsynced:
            return false;
        case Damage::lying_in_order:
            return number < stop.lost_from;
        case Damage::lying:
            return number < stop.lost_from || random.one_in(2);
        default:
            return random.one_in(2);
    }
}

}  // namespace agentsight::test
