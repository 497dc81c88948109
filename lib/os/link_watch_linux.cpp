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
        events.running(interface, LinkEvents::is_running(entry->ifa_flags));
        if (std::string bytes = address_bytes(entry->ifa_addr); !bytes.empty()) {
            events.address(interface, bytes);
        }
    }
    ::freeifaddrs(first);
}

Descriptor open_socket() {
    Descriptor opened{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE)};
    sockaddr_nl groups{};
    groups.nl_family = AF_NETLINK;
    groups.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    if (!opened.valid()) {
        return {};
    }
    if (::bind(opened.value(), reinterpret_cast<const sockaddr*>(&groups), sizeof groups) != 0) {
        const int why = errno;
        opened.close();
        errno = why;
    }
    return opened;
}

}  // namespace

LinkWatch::LinkWatch() : events_{std::make_unique<LinkEvents>()} {
    try {
        socket_ = open_socket();
        if (socket_.valid()) {
            learn_present_state(*events_);
        } else {
            short_of_something_ =
                errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        }
    } catch (const std::exception&) {
        socket_.close();
        short_of_something_ = true;
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
