#include "core/uuid.hpp"

#include <algorithm>

namespace agentsight::core {

namespace {

constexpr std::uint64_t max_time = (std::uint64_t{1} << 48) - 1;
constexpr std::uint64_t max_a = (std::uint64_t{1} << 12) - 1;
constexpr std::uint64_t max_b = (std::uint64_t{1} << 62) - 1;
constexpr std::uint64_t max_step = std::uint64_t{1} << 32;

/// A UUIDv7 without its version and variant bits.
struct Parts {
    std::uint64_t time = 0;  ///< 48 bits
    std::uint64_t a = 0;     ///< 12 random bits
    std::uint64_t b = 0;     ///< 62 random bits
};

std::uint64_t read(const Uuid& id, std::size_t from, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = from; i < from + count; ++i) {
        value = (value << 8) | id.bytes[i];
    }
    return value;
}

void write(Uuid& id, std::size_t from, std::size_t count, std::uint64_t value) {
    for (std::size_t i = from + count; i-- > from;) {
        id.bytes[i] = static_cast<std::uint8_t>(value);
        value >>= 8;
    }
}

Parts parts_of(const Uuid& id) {
    return {read(id, 0, 6), read(id, 6, 2) & max_a, read(id, 8, 8) & max_b};
}

Uuid uuid_of(const Parts& parts) {
    Uuid id;
    write(id, 0, 6, parts.time);
    write(id, 6, 2, 0x7000 | parts.a);
    write(id, 8, 8, (std::uint64_t{2} << 62) | parts.b);
    return id;
}

Parts fresh(std::uint64_t time, Random& random) {
    return {time, random.next() & max_a, random.next() & max_b};
}

bool is_v7(const Uuid& id) {
    return (id.bytes[6] >> 4) == 7 && (id.bytes[8] >> 6) == 2;
}

/// The last UUIDv7 there is. Reached only by a file somebody made for it.
Parts largest() {
    return {max_time, max_a, max_b};
}

Parts next_millisecond(std::uint64_t time, Random& random) {
    return time == max_time ? largest() : fresh(time + 1, random);
}

/// `last` plus a random step; the carry goes through the random bits into the time.
Parts step(Parts last, Random& random) {
    last.b += 1 + random.below(max_step);
    if (last.b <= max_b) {
        return last;
    }
    last.b &= max_b;
    if (++last.a <= max_a) {
        return last;
    }
    return next_millisecond(last.time, random);
}

std::optional<std::uint8_t> hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return static_cast<std::uint8_t>(c - '0');
    }
    const char lower = static_cast<char>(c | 0x20);
    if (lower >= 'a' && lower <= 'f') {
        return static_cast<std::uint8_t>(lower - 'a' + 10);
    }
    return std::nullopt;
}

constexpr bool dash_before_byte(std::size_t i) {
    return i == 4 || i == 6 || i == 8 || i == 10;
}

}  // namespace

std::optional<Uuid> Uuid::parse(std::string_view text) {
    if (text.size() != 36) {
        return std::nullopt;
    }
    Uuid id;
    std::size_t at = 0;
    for (std::size_t i = 0; i < id.bytes.size(); ++i) {
        if (dash_before_byte(i) && text[at++] != '-') {
            return std::nullopt;
        }
        const auto high = hex_digit(text[at++]);
        const auto low = hex_digit(text[at++]);
        if (!high || !low) {
            return std::nullopt;
        }
        id.bytes[i] = static_cast<std::uint8_t>(*high << 4 | *low);
    }
    return id;
}

std::string Uuid::text() const {
    std::string out;
    out.reserve(text_size);
    append_text(out);
    return out;
}

void Uuid::append_text(std::string& out) const {
    constexpr std::string_view digits = "0123456789abcdef";
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (dash_before_byte(i)) {
            out.push_back('-');
        }
        out.push_back(digits[bytes[i] >> 4]);
        out.push_back(digits[bytes[i] & 0x0f]);
    }
}

Uuid next_uuid_v7(const Uuid& last, UtcMs now, Random& random) {
    const std::uint64_t time = std::min(now > 0 ? static_cast<std::uint64_t>(now) : 0, max_time);
    const Parts before = parts_of(last);
    if (time > before.time) {
        return uuid_of(fresh(time, random));
    }
    if (is_v7(last)) {
        return uuid_of(step(before, random));
    }
    // Not one of ours (all zero in a new outbox): a step from it would give two devices
    // whose clocks say 1970 the same ids.
    const Uuid candidate = uuid_of(fresh(before.time, random));
    return candidate > last ? candidate : uuid_of(next_millisecond(before.time, random));
}

}  // namespace agentsight::core
