#pragma once

#include <string>

#include "agentsight/error.hpp"
#include "text.hpp"

namespace agentsight::tool {

/// Runs `action` on the record `id`; where there is none, says what to do.
template <class Action>
auto look_up(const std::string& id, Action action) {
    try {
        return action();
    } catch (const Error& error) {
        if (error.code() == errc::not_found) {
            throw Error(errc::not_found, "no record has the id '" + shortened(id, 40) +
                                             "'; `agentsight-outbox list` shows those there are");
        }
        throw;
    }
}

}  // namespace agentsight::tool
