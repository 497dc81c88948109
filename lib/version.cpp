#include "agentsight/version.hpp"

namespace agentsight {

const char* version() noexcept {
    return AGENTSIGHT_VERSION;
}

std::string user_agent() {
    return std::string("agentsight-outbox/") + version();
}

}  // namespace agentsight
