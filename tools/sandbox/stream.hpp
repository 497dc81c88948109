#pragma once

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <functional>
#include <memory>

namespace boost::asio::ssl {
class context;
}

namespace sandbox {

// On the io_context's own executor: the type-erased one costs compile and run time.
using Executor = boost::asio::io_context::executor_type;
using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, Executor>;
using Timer = boost::asio::basic_waitable_timer<
    std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>, Executor>;

/// Bytes both ways, plain or TLS, behind one face, so that the connection above is
/// compiled once. One read and one write under way at most.
class Stream {
  public:
    using Done = std::function<void(boost::system::error_code)>;
    using Moved = std::function<void(boost::system::error_code, std::size_t)>;

    virtual ~Stream() = default;
    virtual Socket& socket() = 0;
    /// The handshake, where there is one; `done` may run before this returns.
    virtual void open(Done done) = 0;
    virtual void read_some(boost::asio::mutable_buffer into, Moved moved) = 0;
    virtual void write(boost::asio::const_buffer all, Moved moved) = 0;
    /// Says that no more will be written.
    virtual void finish(Done done) = 0;
};

std::unique_ptr<Stream> plain_stream(Socket socket);
#ifdef SANDBOX_TLS
std::unique_ptr<Stream> tls_stream(Socket socket, boost::asio::ssl::context& tls);
#endif

}  // namespace sandbox
