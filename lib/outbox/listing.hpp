#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "agentsight/outbox.hpp"
#include "core/time.hpp"
#include "outbox/record.hpp"
#include "sqlite/database.hpp"

namespace agentsight::outbox {

/// One walk through the records of a filter, in either order, by pages: by an index
/// where the state has one, else along the keys.
class Listing {
  public:
    enum class Only { nothing, count };

    Listing(const Filter& filter, std::size_t limit, Only only = Only::nothing);

    bool done() const { return done_; }
    /// Looks at a bounded number of rows, inside the caller's read transaction.
    void read_page(sqlite::Database& database, core::OutboxMs now, core::UtcMs utc_now);

    std::vector<Record> take() { return std::move(records_); }
    std::uint64_t counted() const { return counted_; }

  private:
    struct Head {
        std::int64_t key;
        int lane;
        core::UtcMs submitted;
        std::string conversation;
    };
    void start(sqlite::Database& database);
    std::vector<Head> next_heads(sqlite::Database& database);
    bool matches(const Head& head) const;

    Filter filter_;
    std::size_t limit_;
    Only only_;
    std::optional<std::string> conversation_;
    bool started_ = false;
    bool walks_keys_ = false;
    bool done_ = false;
    std::int64_t after_ = 0;
    std::int64_t lowest_ = 0;  ///< no key below is of the filter
    std::uint64_t counted_ = 0;
    std::vector<Record> records_;
};

/// One record, with the history of its attempts.
Record read_record(sqlite::Database& database, std::int64_t key, core::OutboxMs now,
                   core::UtcMs utc_now);

}  // namespace agentsight::outbox
