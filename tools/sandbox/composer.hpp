#pragma once

#include <cstdint>
#include <string>

#include "sandbox/fault_book.hpp"
#include "sandbox/http.hpp"

namespace sandbox {

/// The bytes of one reply, with all that its faults do to them.
struct Wire {
    std::string bytes;
    std::uint64_t filler = 0;  ///< so many letters x after the bytes, made as they are sent
    std::string tail;          ///< after the filler
    bool close = false;        ///< after the last byte
    bool reset = false;        ///< and hard
};

struct ComposeContext {
    std::string date;
    bool keep_alive = true;
};

Wire compose(const Reply& reply, const Plan& plan, const ComposeContext& context);

}  // namespace sandbox
