#include "net/connection.hpp"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>
#include <utility>

namespace agentsight::net {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::steady_clock;

Connection::Connection(tcp::socket socket, ResponseLimits limits, LeastRate least_rate)
    : reader(limits), least_rate_(least_rate), socket_(std::move(socket)) {}

Connection::~Connection() {
    if (tls_ && socket_.is_open()) {
        tls_->farewell();
    }
}

void Connection::stop() noexcept {
    error_code ignored;
    socket_.close(ignored);
}

asio::awaitable<TlsProblem> Connection::start_tls(TlsClient& client) {
    tls_ = client.stream(socket_);
    TlsProblem problem = co_await tls_->handshake();
    co_return problem;
}

bool Connection::proven_idle() {
    if (reader.leftover()) {
        return false;
    }
    if (tls_) {
        return tls_->quiet();
    }
    char byte = 0;
    error_code error;
    socket_.receive(asio::buffer(&byte, 1), tcp::socket::message_peek, error);
    return error == asio::error::would_block;
}

asio::awaitable<error_code> Connection::write(std::string_view bytes, bool& handed_over) {
    error_code error;
    while (!bytes.empty() && !error) {
        const asio::const_buffer rest{bytes.data(), bytes.size()};
        std::size_t size = 0;
        if (tls_) {
            handed_over = true;
            size = co_await tls_->write_some(rest, error);
        } else {
            // At once, without the loop: a request nearly always fits the socket's buffer.
            size = socket_.write_some(rest, error);
            if (error == asio::error::would_block) {
                error = {};
                co_await socket_.async_wait(tcp::socket::wait_write,
                                            asio::redirect_error(asio::use_awaitable, error));
            }
            handed_over = handed_over || size > 0;
        }
        bytes.remove_prefix(size);
    }
    co_return error;
}

bool Connection::keeps_up(steady_clock::time_point began, std::size_t bytes) const {
    const auto spent =
        std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - began);
    return spent < least_rate_.after ||
           static_cast<std::int64_t>(bytes) * 1'000 >= least_rate_.bytes_a_second * spent.count();
}

asio::awaitable<error_code> Connection::read() {
    error_code error;
    std::optional<steady_clock::time_point> began;  // none where all comes at once: no clock
    std::size_t bytes = 0;
    ResponseReader::State state = ResponseReader::State::more;
    while (state == ResponseReader::State::more) {
        const std::span<char> room = reader.room();
        const asio::mutable_buffer buffer{room.data(), room.size()};
        std::size_t size = 0;
        if (tls_) {
            size = co_await tls_->read_some(buffer, error);
        } else {
            size = co_await socket_.async_read_some(
                buffer, asio::redirect_error(asio::use_awaitable, error));
        }
        if (size == 0) {
            co_return error ? error : error_code{asio::error::eof};
        }
        error = {};
        state = reader.received(size);
        bytes += size;
        if (state != ResponseReader::State::more) {
            break;
        }
        if (!began) {
            began = steady_clock::now();
        } else if (!keeps_up(*began, bytes)) {
            too_slow_ = true;
            co_return error_code{asio::error::timed_out};
        }
    }
    co_return error_code{};
}

}  // namespace agentsight::net
