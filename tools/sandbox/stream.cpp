#include "sandbox/stream.hpp"

#include <boost/asio/write.hpp>
#ifdef SANDBOX_TLS
#include <boost/asio/ssl/stream.hpp>
#endif

namespace sandbox {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

class PlainStream final : public Stream {
  public:
    explicit PlainStream(Socket socket) : socket_{std::move(socket)} {}

    Socket& socket() override { return socket_; }
    void open(Done done) override { done({}); }
    void read_some(asio::mutable_buffer into, Moved moved) override {
        socket_.async_read_some(asio::mutable_buffers_1{into}, std::move(moved));
    }
    void write(asio::const_buffer all, Moved moved) override {
        asio::async_write(socket_, asio::const_buffers_1{all}, std::move(moved));
    }
    void finish(Done done) override {
        error_code error;
        socket_.shutdown(Socket::shutdown_send, error);
        done(error);
    }

  private:
    Socket socket_;
};

#ifdef SANDBOX_TLS
class TlsStream final : public Stream {
  public:
    TlsStream(Socket socket, asio::ssl::context& tls) : stream_{std::move(socket), tls} {}

    Socket& socket() override { return stream_.next_layer(); }
    void open(Done done) override {
        stream_.async_handshake(asio::ssl::stream_base::server, std::move(done));
    }
    void read_some(asio::mutable_buffer into, Moved moved) override {
        stream_.async_read_some(asio::mutable_buffers_1{into}, std::move(moved));
    }
    void write(asio::const_buffer all, Moved moved) override {
        asio::async_write(stream_, asio::const_buffers_1{all}, std::move(moved));
    }
    void finish(Done done) override { stream_.async_shutdown(std::move(done)); }

  private:
    asio::ssl::stream<Socket> stream_;
};
#endif

}  // namespace

std::unique_ptr<Stream> plain_stream(Socket socket) {
    return std::make_unique<PlainStream>(std::move(socket));
}

#ifdef SANDBOX_TLS
std::unique_ptr<Stream> tls_stream(Socket socket, asio::ssl::context& tls) {
    return std::make_unique<TlsStream>(std::move(socket), tls);
}
#endif

}  // namespace sandbox
