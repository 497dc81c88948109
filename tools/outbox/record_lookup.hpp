#pragma once

#include <string>

#include "agentsight/error.hpp"
#include "text.hpp"

namespace agentsight::tool {

/// Runs `action` on the record `id`. What is no UUID names no record: to someone who
/// mistyped an id that is "no such record", not another kind of mistake.
template <class Action>
auto look_up(const std::string& id, Action action) {
    try {
        return action();
    } catch (const Error& error) {
        if (error.code() == errc::record_id_invalid || error.code() == errc::not_found) {
            throw Error(errc::not_found, "no record has the id '" + shortened(id, 40) +
                                             "'; `agentsight-outbox list` shows those there are");
        }
        throw;
    }
}

}  // namespace agentsight::tool
