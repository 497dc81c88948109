#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/time.hpp"

namespace agentsight::outbox {

/// How many bytes a row's values take in SQLite's record format
/// (https://www.sqlite.org/fileformat2.html#record_format), so that a row can keep its size:
/// one that does is changed where it stands, no page is split and nothing moved.
class RowSize {
  public:
    void add(std::int64_t value) { bytes_ += of_integer(value); }
    void add(const std::optional<std::int64_t>& value) { value ? add(*value) : void(); }
    void add(const std::optional<int>& value) { value ? add(std::int64_t{*value}) : void(); }
    void add(const std::optional<core::Moment>& moment) {
        if (moment) {
            add(moment->utc_ms);
            add(moment->boot_ms);
            add(static_cast<std::int64_t>(moment->boot_id));
        }
    }
    void add(std::string_view text) { bytes_ += text.size() + (text.size() < short_text ? 0 : 1); }

    /// The length of a blob that makes the row as large as `whole`; 0 where it is larger.
    std::size_t filler(std::size_t whole) const {
        const std::size_t left = whole > bytes_ ? whole - bytes_ : 0;
        // From 58 bytes on its own length takes a second byte.
        return left < short_text ? left : left - 1;
    }

  private:
    static constexpr std::size_t short_text = 58;

    static std::size_t of_integer(std::int64_t value) {
        if (value == 0 || value == 1) {
            return 0;  // in the type itself
        }
        const std::int64_t size = value < 0 ? ~value : value;
        for (const int bytes : {1, 2, 3, 4, 6}) {
            if (size < std::int64_t{1} << (8 * bytes - 1)) {
                return static_cast<std::size_t>(bytes);
            }
        }
        return 8;
    }

    std::size_t bytes_ = 0;
};

}  // namespace agentsight::outbox
