#pragma once

#include <optional>
#include <string>

#include "agentsight/status.hpp"

namespace agentsight::tool {

/// Why nothing is sent and what to do about it, for someone who has never seen this program.
struct HoldWords {
    std::string what;    ///< "the server refuses the credential since ... (401 Invalid API key.)"
    std::string advice;  ///< "set a new one; nothing is lost"
};

/// Who sends, once what is said has been read.
enum class Sender {
    lives,   ///< a process drains
    absent,  ///< none does: nothing ends by itself, and the advice says so
    ended,   ///< it was we, and we have ended
};

HoldWords hold_words(const Hold& hold, Sender sender);

/// What holds the outbox up, a hold or something else; none where nothing does.
std::optional<HoldWords> obstacle(const Status& status);

/// Records that are neither delivered nor given up.
inline std::uint64_t open_records(const Status& status) {
    return status.waiting + status.claimed + status.unknown;
}
/// Of those the ones that are sent, or looked for, without a person.
inline std::uint64_t sendable_records(const Status& status) {
    return open_records(status) - std::min(open_records(status), status.left_to_person);
}

/// Where records are left to a person, whatever else there is.
std::optional<HoldWords> left_words(const Status& status);

}  // namespace agentsight::tool
