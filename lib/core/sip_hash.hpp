#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "core/time.hpp"
#include "core/uuid.hpp"

namespace agentsight::core {

/// SipHash-2-4 (Aumasson, Bernstein) over 64-bit words: keyed, so that equal words in two
/// outboxes differ.
class SipHash {
  public:
    explicit SipHash(const std::array<std::uint64_t, 2>& key)
        : v_{key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
             key[1] ^ 0x7465646279746573} {}

    void add(std::uint64_t word) {
        mix(word, 2);
        ++words_;
    }
    void add(std::int64_t word) { add(static_cast<std::uint64_t>(word)); }
    void add(int word) { add(static_cast<std::int64_t>(word)); }
    /// The length first keeps ("ab", "c") apart from ("a", "bc").
    void add(std::string_view text) {
        add(static_cast<std::uint64_t>(text.size()));
        while (!text.empty()) {
            std::uint64_t word = 0;
            const std::size_t size = std::min(text.size(), sizeof word);
            std::memcpy(&word, text.data(), size);
            add(word);
            text.remove_prefix(size);
        }
    }
    void add(const Uuid& id) {
        add(std::string_view{reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size()});
    }
    void add(const Moment& moment) {
        add(moment.utc_ms);
        add(moment.boot_ms);
        add(moment.boot_id);
    }
    template <class T>
    void add(const std::optional<T>& value) {
        add(value ? 1 : 0);
        if (value) {
            add(*value);
        }
    }

    std::int64_t result() {
        mix(words_, 2);
        v_[2] ^= 0xff;
        mix(0, 4);
        return static_cast<std::int64_t>(v_[0] ^ v_[1] ^ v_[2] ^ v_[3]);
    }

  private:
    static std::uint64_t rotate(std::uint64_t value, int bits) {
        return value << bits | value >> (64 - bits);
    }
    void mix(std::uint64_t word, int rounds) {
        v_[3] ^= word;
        for (int i = 0; i < rounds; ++i) {
            v_[0] += v_[1];
            v_[2] += v_[3];
            v_[1] = rotate(v_[1], 13) ^ v_[0];
            v_[3] = rotate(v_[3], 16) ^ v_[2];
            v_[0] = rotate(v_[0], 32);
            v_[2] += v_[1];
            v_[0] += v_[3];
            v_[1] = rotate(v_[1], 17) ^ v_[2];
            v_[3] = rotate(v_[3], 21) ^ v_[0];
            v_[2] = rotate(v_[2], 32);
        }
        v_[0] ^= word;
    }

    std::array<std::uint64_t, 4> v_;
    std::uint64_t words_ = 0;
};

}  // namespace agentsight::core
