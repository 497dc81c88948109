#pragma once

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

namespace agentsight::test {

/// A network of this process's own, with an interface that it takes up and down, and a loopback
/// that is down at first.
class OwnNetwork {
  public:
    /// False: not allowed. While the process has one thread.
    bool enter() {
        if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
            return false;
        }
        tun_ = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
        ifreq request = named(name);
        request.ifr_flags = IFF_TUN | IFF_NO_PI;
        control_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        return tun_ >= 0 && control_ >= 0 && ::ioctl(tun_, TUNSETIFF, &request) == 0;
    }
    bool up() { return set_flags(name, IFF_UP); }
    bool down() { return set_flags(name, 0); }
    bool loopback_up() { return set_flags("lo", IFF_UP); }
    bool add_address() {
        ifreq request = named(name);
        sockaddr_in four{};
        four.sin_family = AF_INET;
        four.sin_addr.s_addr = htonl(0x0A090807);
        std::memcpy(&request.ifr_addr, &four, sizeof four);
        return ::ioctl(control_, SIOCSIFADDR, &request) == 0;
    }

  private:
    static constexpr const char* name = "agentsight0";

    static ifreq named(const char* interface) {
        ifreq request{};
        std::strcpy(request.ifr_name, interface);
        return request;
    }
    bool set_flags(const char* interface, int flags) {
        ifreq request = named(interface);
        request.ifr_flags = static_cast<short>(flags);
        return ::ioctl(control_, SIOCSIFFLAGS, &request) == 0;
    }
    int tun_ = -1;
    int control_ = -1;
};

}  // namespace agentsight::test
