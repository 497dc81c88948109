#pragma once

namespace agentsight::os {

/// A descriptor that becomes readable when a network link comes up or an address is added
/// (Linux: netlink, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR); -1 elsewhere or
/// where the sandbox forbids it: then the application calls network_changed().
class LinkWatch {
  public:
    LinkWatch();
    ~LinkWatch();
    LinkWatch(const LinkWatch&) = delete;
    LinkWatch& operator=(const LinkWatch&) = delete;

    int descriptor() const { return descriptor_; }
    /// Reads what has come; true where a link came up or an address was added.
    bool drain() noexcept;

  private:
    int descriptor_ = -1;
};

}  // namespace agentsight::os
