#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "outbox/store.hpp"

namespace agentsight::test {

/// The record of this number: the same words whoever asks.
outbox::Submission submission_of(std::uint64_t serial);
std::uint64_t serial_of(const std::string& comment);

/// What the worker tells its parent, before and after each call; small enough that a pipe
/// takes it whole.
struct KillMessage {
    enum class Kind : std::uint8_t {
        submits,    ///< serial
        submitted,  ///< serial, id
        begins,     ///< to drain
        began,
        claims,   ///< serial: how many
        claimed,  ///< serial, id
        settles,  ///< id, place
        settled,  ///< all told by `settles`
        drained,  ///< all told by `claimed`
    };
    Kind kind;
    std::uint8_t place = 0;
    std::uint64_t serial = 0;
    core::Uuid id;
};

struct KillWork {
    std::filesystem::path path;
    int pipe = -1;
    std::uint64_t seed = 0;
    std::uint64_t first_serial = 0;
};

outbox::StoreOptions kill_options(const std::filesystem::path& path);

/// Submits in two threads and drains in a third until it is killed. Never returns but for
/// an error, which it prints.
int work_until_killed(const KillWork& work);

}  // namespace agentsight::test
