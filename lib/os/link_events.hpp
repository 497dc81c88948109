#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace agentsight::os {

/// What netlink messages say about a way out. The kernel repeats itself (every wireless
/// statistic, every router advertisement), so only a change for the better counts: a link
/// that was not running runs, an address that was not there is. Pure; one thread.
class LinkEvents {
  public:
    /// What is known at the start, so that a repetition of it is none.
    void running(int interface, bool is_running);
    void address(int interface, const std::string& bytes);

    /// By an interface's flags (IFF_...).
    static bool is_running(unsigned flags);

    /// Judges a buffer of whole messages (struct nlmsghdr ...). True: a way out may be new.
    bool take(std::span<const std::byte> messages);

  private:
    bool take_link(std::span<const std::byte> body);
    bool take_address(std::span<const std::byte> body, bool added);

    /// Bounded: beyond it a repetition counts as news, which costs one probe.
    static constexpr std::size_t max_known = 1024;
    std::vector<int> running_;            ///< interfaces
    std::vector<std::string> addresses_;  ///< an interface's number, then the address
};

}  // namespace agentsight::os
