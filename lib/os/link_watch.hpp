#pragma once

#include <memory>

#include "os/descriptor.hpp"

namespace agentsight::os {

class LinkEvents;

/// A descriptor that becomes readable when a network link comes up or an address is added
/// (Linux: netlink, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR); -1 elsewhere or
/// where the sandbox forbids it: then the application calls network_changed().
/// It also becomes readable for less; drain() says whether it matters. One thread.
class LinkWatch {
  public:
    LinkWatch();
    ~LinkWatch();
    LinkWatch(const LinkWatch&) = delete;
    LinkWatch& operator=(const LinkWatch&) = delete;

    int descriptor() const { return socket_.value(); }
    /// There was no descriptor or no memory for it (EMFILE and the like), which may pass.
    bool worth_another_try() const { return short_of_something_; }
    /// Reads what has come; true where a link came up or an address was added that was not
    /// there before, loopback and link-local ones apart.
    bool drain() noexcept;

  private:
    Descriptor socket_;
    bool short_of_something_ = false;
    std::unique_ptr<LinkEvents> events_;
};

}  // namespace agentsight::os
