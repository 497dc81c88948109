#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <exception>

#include "os/link_events.hpp"
#include "os/link_watch.hpp"

namespace agentsight::os {
namespace {

constexpr int max_reads = 64;

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

bool is_way_out(unsigned flags) {
    return (flags & IFF_LOOPBACK) == 0;
}

bool is_running(unsigned flags) {
    return (flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
}

std::string address_bytes(const sockaddr* address) {
    if (address != nullptr && address->sa_family == AF_INET) {
        sockaddr_in four{};
        std::memcpy(&four, address, sizeof four);
        return {reinterpret_cast<const char*>(&four.sin_addr), sizeof four.sin_addr};
    }
    if (address != nullptr && address->sa_family == AF_INET6) {
        sockaddr_in6 six{};
        std::memcpy(&six, address, sizeof six);
        return {reinterpret_cast<const char*>(&six.sin6_addr), sizeof six.sin6_addr};
    }
    return {};
}

void learn_present_state(LinkEvents& events) {
    ifaddrs* first = nullptr;
    if (::getifaddrs(&first) != 0) {
        return;
    }
    for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
        const int interface = static_cast<int>(::if_nametoindex(entry->ifa_name));
        events.running(interface, is_running(entry->ifa_flags));
        if (std::string bytes = address_bytes(entry->ifa_addr); !bytes.empty()) {
            events.address(interface, std::move(bytes));
        }
    }
    ::freeifaddrs(first);
}

Descriptor open_socket() {
    Descriptor opened{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)};
    sockaddr_nl groups{};
    groups.nl_family = AF_NETLINK;
    groups.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    if (!opened.valid() ||
        ::bind(opened.value(), reinterpret_cast<const sockaddr*>(&groups), sizeof groups) != 0) {
        return {};
    }
    return opened;
}

}  // namespace

void LinkEvents::running(int interface, bool is_running) {
    if (running_.size() < max_known || running_.contains(interface)) {
        running_[interface] = is_running;
    }
}

void LinkEvents::address(int interface, std::string bytes) {
    if (addresses_.size() < max_known) {
        addresses_.emplace(interface, std::move(bytes));
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
                    running_.erase(link.ifi_index);
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
    const auto known = running_.find(link.ifi_index);
    const bool was_running = known != running_.end() && known->second;
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
    if (!added) {
        addresses_.erase({interface, bytes});
        return false;
    }
    if (addresses_.contains({interface, bytes})) {
        return false;
    }
    address(interface, std::move(bytes));
    return true;
}

LinkWatch::LinkWatch() : events_{std::make_unique<LinkEvents>()} {
    try {
        socket_ = open_socket();
        if (socket_.valid()) {
            learn_present_state(*events_);
        }
    } catch (const std::exception&) {
        socket_.close();
    }
}

LinkWatch::~LinkWatch() = default;

bool LinkWatch::drain() noexcept {
    alignas(nlmsghdr) std::array<std::byte, 16 * 1024> buffer;
    bool news = false;
    for (int reads = 0; reads < max_reads && socket_.valid(); ++reads) {
        const ssize_t n = ::recv(socket_.value(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == ENOBUFS) {
            news = true;  // messages were lost: one of them may have been it
            continue;
        }
        if (n <= 0) {
            break;
        }
        try {
            const std::span<const std::byte> messages{buffer};
            news = events_->take(messages.first(static_cast<std::size_t>(n))) || news;
        } catch (const std::exception&) {
            news = true;
        }
    }
    return news;
}

}  // namespace agentsight::os
