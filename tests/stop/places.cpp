#include "places.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "hung_resolver.hpp"
#include "support/identity.hpp"

namespace agentsight::test {

namespace {

std::size_t index(Stall stall) {
    return static_cast<std::size_t>(stall);
}

int need(int result, const char* what) {
    if (result < 0) {
        throw std::system_error(errno, std::generic_category(), what);
    }
    return result;
}

std::unique_ptr<sandbox::Server> server(const char* fault, sandbox::ServerOptions options = {}) {
    options.request_log = 100;
    auto made = std::make_unique<sandbox::Server>(options);
    if (fault != nullptr) {
        made->add_fault(fault);
    }
    return made;
}

}  // namespace

BlackHole::BlackHole() {
    listener_ = need(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    need(::bind(listener_, generic, size), "bind");
    need(::listen(listener_, 0), "listen");
    need(::getsockname(listener_, generic, &size), "getsockname");
    port_ = ntohs(address.sin_port);
    for (int& filler : fillers_) {
        filler = need(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket");
        if (::connect(filler, generic, size) != 0 && errno != EINPROGRESS) {
            need(-1, "connect");
        }
    }
}

BlackHole::~BlackHole() {
    for (const int filler : fillers_) {
        ::close(filler);
    }
    ::close(listener_);
}

Places::Places() {
    const auto key = folder_.path() / "server.key";
    const Identity identity =
        make_identity({.alternative_names = "IP:127.0.0.1", .valid_for_s = 20 * 366 * 86'400});
    identity.save_certificate(ca_file());
    identity.save_key(key);
    sandbox::ServerOptions tls;
    tls.certificate = ca_file();
    tls.private_key = key;
    servers_[index(Stall::none)] = server(nullptr);
    servers_[index(Stall::tls)] = server(nullptr, tls);
    servers_[index(Stall::silent)] = server("hang,method=*");
    servers_[index(Stall::drips)] = server("drip,method=*,interval_ms=20");
    servers_[index(Stall::handshake)] = server("hang_connect");
    servers_[index(Stall::captive)] = server("captive_portal,method=*");
    servers_[index(Stall::unavailable)] = server("status,method=*,status=503,retry_after=1");
    sandbox::Server gone;
    refused_ = gone.url();
    gone.stop();
}

std::string Places::url(Stall stall) const {
    switch (stall) {
        case Stall::black_hole:
            return "http://127.0.0.1:" + std::to_string(black_hole_.port());
        case Stall::resolver:
            return "https://" + std::string{hung_host};
        case Stall::refused:
            return refused_;
        case Stall::handshake:
            return "https://127.0.0.1:" + std::to_string(servers_[index(stall)]->port());
        default:
            return servers_[index(stall)]->url();
    }
}

}  // namespace agentsight::test
