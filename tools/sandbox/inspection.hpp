#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sandbox/body.hpp"
#include "sandbox/http.hpp"

namespace sandbox {

struct Remark {
    std::string kind;
    std::string detail;
};

/// Everything about a complete request that a careful client would not do, beyond what the
/// server refuses anyway. Details never quote the body or a credential.
std::vector<Remark> inspect(const Request& request, std::string_view route, const Body& body);

}  // namespace sandbox
