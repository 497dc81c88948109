#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "support/test_random.hpp"

namespace agentsight::test {

/// Up to `max_bytes` bytes, mostly of `alphabet`, so that a parser gets past its first look.
inline std::string random_text(TestRandom& random, std::string_view alphabet,
                               std::size_t max_bytes) {
    std::string text(random.below(max_bytes + 1), '\0');
    for (char& c : text) {
        c = random.one_in(16) ? static_cast<char>(random.next())
                              : alphabet[random.below(alphabet.size())];
    }
    return text;
}

/// `text` with a few bytes changed, removed, doubled, or its end cut off.
inline std::string mutated(TestRandom& random, std::string text) {
    for (std::uint64_t changes = 1 + random.below(3); changes > 0 && !text.empty(); --changes) {
        const std::size_t at = random.below(text.size());
        switch (random.below(4)) {
            case 0:
                text[at] = static_cast<char>(random.next());
                break;
            case 1:
                text.erase(at, 1);
                break;
            case 2:
                text.insert(at, 1, text[at]);
                break;
            default:
                text.resize(random.one_in(4) ? at : text.size());
                break;
        }
    }
    return text;
}

/// One code point as UTF-8, by the definition; surrogates too, which are not UTF-8.
inline std::string utf8(char32_t c) {
    std::string out;
    const auto tail = [&](int shift) {
        out.push_back(static_cast<char>(0x80 | ((c >> shift) & 0x3f)));
    };
    if (c < 0x80) {
        out.push_back(static_cast<char>(c));
    } else if (c < 0x800) {
        out.push_back(static_cast<char>(0xc0 | (c >> 6)));
        tail(0);
    } else if (c < 0x10000) {
        out.push_back(static_cast<char>(0xe0 | (c >> 12)));
        tail(6);
        tail(0);
    } else {
        out.push_back(static_cast<char>(0xf0 | (c >> 18)));
        tail(12);
        tail(6);
        tail(0);
    }
    return out;
}

inline std::string repeated(std::string_view piece, std::size_t times) {
    std::string out;
    out.reserve(piece.size() * times);
    for (std::size_t i = 0; i < times; ++i) {
        out.append(piece);
    }
    return out;
}

}  // namespace agentsight::test
