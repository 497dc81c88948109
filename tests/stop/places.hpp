#pragma once

#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "sandbox/server.hpp"
#include "support/temporary_folder.hpp"

namespace agentsight::test {

/// Where a delivery may stand when it is told to stop.
enum class Stall {
    none,         ///< a server that answers
    tls,          ///< the same over TLS
    silent,       ///< reads the request, never answers
    drips,        ///< answers a byte now and then
    handshake,    ///< accepts, and never says a word of TLS
    black_hole,   ///< drops every SYN
    resolver,     ///< the name lookup hangs
    refused,      ///< nobody listens
    captive,      ///< answers 200 with a page
    unavailable,  ///< answers 503, with Retry-After
};
inline constexpr std::array<std::string_view, 10> stall_names{
    "none",       "tls",      "silent",  "drips",   "handshake",
    "black_hole", "resolver", "refused", "captive", "unavailable"};
inline constexpr std::size_t stalls = stall_names.size();

/// A listener of loopback that accepts nothing and whose queue is full, so that the kernel
/// drops what comes.
class BlackHole {
  public:
    BlackHole();
    ~BlackHole();
    BlackHole(const BlackHole&) = delete;
    BlackHole& operator=(const BlackHole&) = delete;
    std::uint16_t port() const { return port_; }

  private:
    int listener_ = -1;
    std::array<int, 4> fillers_{-1, -1, -1, -1};
    std::uint16_t port_ = 0;
};

/// One server, or what stands in for one, for each stall.
class Places {
  public:
    Places();
    std::string url(Stall stall) const;
    /// What trusts the TLS server.
    std::filesystem::path ca_file() const { return folder_.path() / "server.pem"; }

  private:
    TemporaryFolder folder_;
    BlackHole black_hole_;
    std::array<std::unique_ptr<sandbox::Server>, stalls> servers_;
    std::string refused_;
};

}  // namespace agentsight::test
