#pragma once

namespace agentsight::net {

/// Before a thread that may use TLS is made, and before whatever ends that thread at exit() is
/// registered: an application that uses OpenSSL itself afterwards would have OpenSSL's own
/// clean-up run before it, under a thread that is inside. Nothing in a build without TLS.
void keep_tls_through_exit() noexcept;

}  // namespace agentsight::net
