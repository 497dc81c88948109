#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/exchange.hpp"
#include "core/time.hpp"

/// TLS by OpenSSL, which stays inside the source. In a build without TLS the same names
/// say so. One thread.
namespace agentsight::net {

/// The device's clock is not believed when it is before this: 2026-09-01. A constant, not
/// the time of the build, so that builds are reproducible; move it on with each release.
inline constexpr core::UtcMs release_time = 1'788'220'800'000;

/// Where the authorities are looked for; the first that names something wins.
struct TrustSources {
    std::filesystem::path ca_file;             ///< Options::ca_file
    std::filesystem::path environment_file;    ///< SSL_CERT_FILE
    std::filesystem::path environment_folder;  ///< SSL_CERT_DIR, beside the file
    bool library_paths = true;                 ///< those OpenSSL was built with
    std::vector<std::filesystem::path> bundles;

    /// The environment's, the library's, and the bundles of the common distributions.
    static TrustSources of_system(std::filesystem::path ca_file);
};

struct TlsOptions {
    TrustSources trust;
    std::filesystem::path client_certificate;  ///< PEM, the chain after it; empty: none
    std::filesystem::path client_key;          ///< PEM; empty: in the certificate's file
    std::string host;                          ///< whom the certificate must name
};

/// Why there is no TLS connection.
struct TlsProblem {
    core::Failure failure = core::Failure::none;  ///< tls, clock or cut
    std::string detail;
};

/// TLS over a connected socket that outlives it.
class TlsStream {
  public:
    virtual ~TlsStream() = default;

    virtual boost::asio::awaitable<TlsProblem> handshake() = 0;
    virtual boost::asio::awaitable<std::size_t> read_some(boost::asio::mutable_buffer buffer,
                                                          boost::system::error_code& error) = 0;
    virtual boost::asio::awaitable<std::size_t> write_some(boost::asio::const_buffer buffer,
                                                           boost::system::error_code& error) = 0;
    /// Without waiting: the peer has sent nothing but session tickets.
    virtual bool quiet() = 0;
    /// Without waiting: tells the peer that we close.
    virtual void farewell() noexcept = 0;
    /// After a failed read on a new connection: the server's TLS refused our certificate, and
    /// with it every byte we sent (RFC 8446, section 4.4.2.4: it never got past the handshake).
    virtual bool refused_us(const boost::system::error_code& error) const = 0;
    virtual std::string refusal(const boost::system::error_code& error) const = 0;
    /// A time the server gave in a response over this connection becomes the floor, unless
    /// its own certificate would not be valid then.
    virtual void trust_time(core::UtcMs time) = 0;
};

/// What all connections to one host share: authorities, sessions to resume, the time floor.
class TlsClient {
  public:
    TlsClient(TlsOptions options, const core::Clock& clock);
    ~TlsClient();

    /// Loads what is not loaded yet; a problem is not permanent: the next call looks again.
    TlsProblem prepare();
    /// At once after prepare() found no problem: a certificate that another connection refuses
    /// meanwhile unloads the authorities.
    std::unique_ptr<TlsStream> stream(boost::asio::ip::tcp::socket& socket);

    /// The newest time that servers proved; 0: none.
    core::UtcMs trusted_time() const noexcept;
    /// One known from before raises it.
    void trust_time(core::UtcMs time) noexcept;

    class Impl;

  private:
    std::unique_ptr<Impl> impl_;
};

}  // namespace agentsight::net
