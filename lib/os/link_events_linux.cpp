#include "os/link_events.hpp"

#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace agentsight::os {
namespace {

template <typename T>
bool read_head(std::span<const std::byte> bytes, T& head) {
    if (bytes.size() < sizeof head) {
        return false;
    }
    std::memcpy(&head, bytes.data(), sizeof head);
    return true;
}

std::span<const std::byte> after(std::span<const std::byte> bytes, std::size_t size) {
    return bytes.size() < size ? std::span<const std::byte>{} : bytes.subspan(size);
}

std::string key_of(int interface, const std::string& bytes) {
    return std::to_string(interface) + ' ' + bytes;
}

bool is_way_out(unsigned flags) {
    return (flags & IFF_LOOPBACK) == 0;
}

}  // namespace

bool LinkEvents::is_running(unsigned flags) {
    return (flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
}

void LinkEvents::running(int interface, bool is_running) {
    std::erase(running_, interface);
    if (is_running && running_.size() < max_known) {
        running_.push_back(interface);
    }
}

void LinkEvents::address(int interface, const std::string& bytes) {
    if (addresses_.size() < max_known) {
        addresses_.push_back(key_of(interface, bytes));
    }
}

bool LinkEvents::take(std::span<const std::byte> messages) {
    bool news = false;
    nlmsghdr head{};
    while (read_head(messages, head) && head.nlmsg_len >= sizeof head &&
           head.nlmsg_len <= messages.size()) {
        const auto body = after(messages.first(head.nlmsg_len), NLMSG_HDRLEN);
        switch (head.nlmsg_type) {
            case RTM_NEWLINK:
                news = take_link(body) || news;
                break;
            case RTM_DELLINK:
                if (ifinfomsg link{}; read_head(body, link)) {
                    running(link.ifi_index, false);
                }
                break;
            case RTM_NEWADDR:
            case RTM_DELADDR:
                news = take_address(body, head.nlmsg_type == RTM_NEWADDR) || news;
                break;
            default:
                break;
        }
        messages = after(messages, NLMSG_ALIGN(head.nlmsg_len));
    }
    return news;
}

bool LinkEvents::take_link(std::span<const std::byte> body) {
    ifinfomsg link{};
    if (!read_head(body, link) || !is_way_out(link.ifi_flags)) {
        return false;
    }
    const bool was_running =
        std::find(running_.begin(), running_.end(), link.ifi_index) != running_.end();
    running(link.ifi_index, is_running(link.ifi_flags));
    return is_running(link.ifi_flags) && !was_running;
}

bool LinkEvents::take_address(std::span<const std::byte> body, bool added) {
    ifaddrmsg address_head{};
    // An address of the host or of the link only is no way to a server.
    if (!read_head(body, address_head) || address_head.ifa_scope >= RT_SCOPE_LINK) {
        return false;
    }
    std::string bytes;
    std::span<const std::byte> attributes = after(body, NLMSG_ALIGN(sizeof address_head));
    rtattr attribute{};
    while (read_head(attributes, attribute) && attribute.rta_len >= sizeof attribute &&
           attribute.rta_len <= attributes.size()) {
        // IFA_LOCAL is the address itself; on a point-to-point link IFA_ADDRESS is the peer's.
        if (attribute.rta_type == IFA_LOCAL ||
            (attribute.rta_type == IFA_ADDRESS && bytes.empty())) {
            const auto value = after(attributes.first(attribute.rta_len), RTA_LENGTH(0));
            bytes.assign(reinterpret_cast<const char*>(value.data()), value.size());
        }
        attributes = after(attributes, RTA_ALIGN(attribute.rta_len));
    }
    const int interface = static_cast<int>(address_head.ifa_index);
    const auto known = std::find(addresses_.begin(), addresses_.end(), key_of(interface, bytes));
    if (!added) {
        if (known != addresses_.end()) {
            addresses_.erase(known);
        }
        return false;
    }
    if (known != addresses_.end()) {
        return false;
    }
    address(interface, bytes);
    return true;
}

}  // namespace agentsight::os
