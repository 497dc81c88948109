#pragma once

#include "outbox/store.hpp"

namespace agentsight {

/// What of the options the store needs; one place for the manager and the Outbox class.
inline outbox::StoreOptions store_options(const std::filesystem::path& path, OutboxMode mode,
                                          const Options& options) {
    outbox::StoreOptions result;
    result.path = path;
    result.mode = mode;
    result.busy_timeout = options.busy_timeout;
    result.durability = options.durability;
    result.max_records = options.max_records;
    result.max_bytes = options.max_bytes;
    result.when_full = options.when_full;
    result.keep_delivered = options.keep_delivered;
    result.allow_network_file_system = options.allow_network_file_system;
    return result;
}

}  // namespace agentsight
