#include "sandbox/connection.hpp"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>

#include "sandbox/composer.hpp"
#include "sandbox/text.hpp"
#ifdef SANDBOX_TLS
#include <boost/asio/ssl/stream.hpp>
#endif

namespace sandbox {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::uint32_t header_limit = 16 * 1024;
constexpr std::uint64_t body_limit = 2'621'440;  // Django's DATA_UPLOAD_MAX_MEMORY_SIZE
constexpr std::chrono::seconds lingering{5};
constexpr std::chrono::minutes longest_hold{10};

std::int64_t or_else(std::int64_t value, std::int64_t fallback) {
    return value == Fault::unset ? fallback : value;
}

template <class Stream>
constexpr bool is_plain = std::is_same_v<Stream, tcp::socket>;

/// Reads a request, has it answered, writes the reply, begins again. One operation is
/// under way at a time; everything on the server's thread.
template <class Stream>
class HttpConnection final : public Connection,
                             public std::enable_shared_from_this<HttpConnection<Stream>> {
  public:
    HttpConnection(Stream stream, Shared& shared, ConnectionInfo info)
        : Connection{info},
          stream_{std::move(stream)},
          timer_{stream_.get_executor()},
          shared_{shared} {}

    void start() override {
        wait_at_most(std::chrono::seconds{30});
        if constexpr (is_plain<Stream>) {
            begin_request();
        } else {
            stream_.async_handshake(asio::ssl::stream_base::server,
                                    [self = this->shared_from_this()](error_code error) {
                                        if (error)
                                            return self->close(false);
                                        self->begin_request();
                                    });
        }
    }

    void hold() override { wait_at_most(longest_hold); }

    void close(bool reset) override {
        if (closed_)
            return;
        closed_ = true;
        const auto self = this->shared_from_this();
        error_code ignored;
        if (reset)
            socket().set_option(tcp::socket::linger{true, 0}, ignored);
        timer_.cancel();
        socket().close(ignored);
        shared_.connections.erase(self);
    }

    void sweep(SteadyTime now) override {
        if (now >= deadline_)
            close(false);
    }

  private:
    using Parser = http::request_parser<http::string_body>;

    auto& socket() { return stream_.lowest_layer(); }

    template <class Duration>
    void wait_at_most(Duration patience) {
        deadline_ = std::chrono::steady_clock::now() + patience;
    }

    void note(const char* kind, std::string detail, std::uint64_t request = 0) {
        if (!info_.control)
            shared_.hub.note(info_.number, request, {kind, std::move(detail)});
    }

    // Reading.

    void begin_request() {
        parser_.emplace();
        parser_->eager(true);
        parser_->header_limit(header_limit);
        parser_->body_limit(body_limit);
        continued_ = false;
        wait_at_most(std::chrono::milliseconds{shared_.hub.keep_alive_ms()});
        if (in_.empty())
            read();
        else
            feed();
    }

    void read() {
        stream_.async_read_some(asio::buffer(chunk_), [self = this->shared_from_this()](
                                                          error_code error, std::size_t size) {
            self->on_read(error, size);
        });
    }

    void on_read(error_code error, std::size_t size) {
        if (closed_)
            return;
        if (error) {
            if (parser_->got_some() || !in_.empty())
                note("closed_mid_request", "the connection ended within a request");
            return close(false);
        }
        in_.append(chunk_.data(), size);
        feed();
    }

    void feed() {
        error_code error;
        const std::size_t used = parser_->put(asio::buffer(in_), error);
        in_.erase(0, used);
        if (error == http::error::need_more)
            return need_more();
        if (error)
            return refuse(error);
        if (parser_->is_done())
            return on_request();
        need_more();
    }

    void need_more() {
        if (parser_->is_header_done() && !continued_ &&
            equal_ignoring_case(parser_->get()[http::field::expect], "100-continue"))
            return send_continue();
        read();
    }

    void send_continue() {
        continued_ = true;
        static constexpr std::string_view text = "HTTP/1.1 100 Continue\r\n\r\n";
        asio::async_write(stream_, asio::buffer(text),
                          [self = this->shared_from_this()](error_code error, std::size_t) {
                              if (error)
                                  return self->close(false);
                              self->read();
                          });
    }

    /// What is no request is answered as a server in front of Django would.
    void refuse(error_code error) {
        note("bad_http", error.message());
        const bool large = error == http::error::body_limit;
        const bool header = error == http::error::header_limit;
        in_.clear();
        plan_ = {};
        exchange_.reset();
        send(html_reply(large ? 413 : header ? 431 : 400, "Bad Request"), false);
    }

    Request take_request() {
        auto& message = parser_->get();
        Request request;
        request.connection = info_.number;
        request.version = message.version();
        request.method =
            std::string_view{message.method_string().data(), message.method_string().size()};
        request.target = std::string_view{message.target().data(), message.target().size()};
        const std::size_t question = request.target.find('?');
        request.path = request.target.substr(0, question);
        if (question != std::string::npos)
            request.query = parse_query(std::string_view{request.target}.substr(question + 1));
        for (const auto& field : message)
            request.headers.emplace_back(
                std::string_view{field.name_string().data(), field.name_string().size()},
                std::string_view{field.value().data(), field.value().size()});
        request.body = std::move(message.body());
        return request;
    }

    // Answering.

    void on_request() {
        deadline_ = SteadyTime::max();
        Request request = take_request();
        keep_alive_ = parser_->keep_alive();
        plan_ = {};
        if (info_.control)
            return send(shared_.control(request), keep_alive_);
        exchange_.emplace(shared_.hub.admit(std::move(request)));
        plan_ = exchange_->plan;
        if (!plan_.latency)
            return answer();
        after(or_else(plan_.latency->ms, 1000), [](HttpConnection& self) { self.answer(); });
    }

    void answer() {
        look_for_early_bytes();
        Ending ending;
        try {
            ending = shared_.hub.answer(*exchange_);
        } catch (const std::exception&) {
            ending.reply = html_reply(500, "Server Error (500)");
        }
        if (ending.kind == Ending::Kind::close)
            return close(ending.reset);
        if (ending.kind == Ending::Kind::hang) {
            wait_at_most(longest_hold);
            return discard_until_end();
        }
        shared_.hub.answered(*exchange_, ending.reply.status);
        send(std::move(ending.reply), keep_alive_);
    }

    /// A client that sends on before it has its answer would send twice in the field.
    void look_for_early_bytes() {
        error_code ignored;
        if (!in_.empty() || socket().available(ignored) > 0)
            note("pipelined", "bytes came before the answer", exchange_->request.number);
    }

    // Writing.

    void send(Reply reply, bool keep_alive) {
        wire_ = compose(reply, plan_, {.date = shared_.hub.date_field(), .keep_alive = keep_alive});
        sent_ = 0;
        if (plan_.pace)
            return drip();
        asio::async_write(stream_, asio::buffer(wire_.bytes),
                          [self = this->shared_from_this()](error_code error, std::size_t) {
                              if (error)
                                  return self->close(false);
                              self->send_filler();
                          });
    }

    void drip() {
        const Fault& pace = *plan_.pace;
        const auto start = static_cast<std::size_t>(std::max<std::int64_t>(0, or_else(pace.at, 0)));
        const auto step =
            static_cast<std::size_t>(std::max<std::int64_t>(1, or_else(pace.bytes, 1)));
        const std::size_t left = wire_.bytes.size() - sent_;
        const std::size_t size = std::min(left, sent_ == 0 && start > 0 ? start : step);
        const auto piece = asio::buffer(wire_.bytes) + sent_;
        asio::async_write(stream_, asio::buffer(piece, size),
                          [self = this->shared_from_this()](error_code error, std::size_t count) {
                              self->dripped(error, count);
                          });
    }

    void dripped(error_code error, std::size_t count) {
        if (error)
            return close(false);
        sent_ += count;
        if (sent_ >= wire_.bytes.size())
            return send_filler();
        after(or_else(plan_.pace->interval_ms, 100), [](HttpConnection& self) { self.drip(); });
    }

    void send_filler() {
        static const std::string letters(64 * 1024, 'x');
        if (wire_.filler == 0)
            return send_tail();
        const auto size =
            static_cast<std::size_t>(std::min<std::uint64_t>(wire_.filler, letters.size()));
        wire_.filler -= size;
        asio::async_write(stream_, asio::buffer(letters, size),
                          [self = this->shared_from_this()](error_code error, std::size_t) {
                              if (error)
                                  return self->close(false);
                              self->send_filler();
                          });
    }

    void send_tail() {
        if (wire_.tail.empty())
            return finish();
        asio::async_write(stream_, asio::buffer(wire_.tail),
                          [self = this->shared_from_this()](error_code error, std::size_t) {
                              if (error)
                                  return self->close(false);
                              self->finish();
                          });
    }

    void finish() {
        if (closed_)
            return;
        if (wire_.close && wire_.reset)
            return close(true);
        if (wire_.close)
            return close_gently();
        if (!plan_.after)
            return begin_request();
        const Fault& fault = *plan_.after;
        if (fault.kind == FaultKind::push_idle)
            return after(or_else(fault.ms, 100), [](HttpConnection& self) { self.push(); });
        const auto drop = [](HttpConnection& self) { self.close(self.plan_.after->reset); };
        after(or_else(fault.ms, 100), drop);
    }

    /// An unasked answer, as servers send it to a connection idle for too long.
    void push() {
        plan_ = {};
        send(html_reply(408, "Request Timeout"), false);
    }

    // Ending.

    void close_gently() {
        wait_at_most(lingering);
        error_code ignored;
        if constexpr (is_plain<Stream>) {
            socket().shutdown(tcp::socket::shutdown_send, ignored);
            discard_until_end();
        } else {
            stream_.async_shutdown(
                [self = this->shared_from_this()](error_code) { self->close(false); });
        }
    }

    void discard_until_end() {
        stream_.async_read_some(asio::buffer(chunk_),
                                [self = this->shared_from_this()](error_code error, std::size_t) {
                                    if (error || self->closed_)
                                        return self->close(false);
                                    self->discard_until_end();
                                });
    }

    void after(std::int64_t ms, void (*then)(HttpConnection&)) {
        timer_.expires_after(std::chrono::milliseconds{ms});
        timer_.async_wait([self = this->shared_from_this(), then](error_code error) {
            if (!error && !self->closed_)
                then(*self);
        });
    }

    Stream stream_;
    asio::steady_timer timer_;
    Shared& shared_;
    std::array<char, 16 * 1024> chunk_;
    std::string in_;  ///< read and not yet parsed
    std::optional<Parser> parser_;
    std::optional<Exchange> exchange_;
    Plan plan_;
    Wire wire_;
    std::size_t sent_ = 0;
    SteadyTime deadline_ = SteadyTime::max();
    bool continued_ = false;
    bool keep_alive_ = true;
    bool closed_ = false;
};

}  // namespace

std::shared_ptr<Connection> make_connection(tcp::socket socket, Shared& shared,
                                            ConnectionInfo info) {
    return std::make_shared<HttpConnection<tcp::socket>>(std::move(socket), shared, info);
}

#ifdef SANDBOX_TLS
std::shared_ptr<Connection> make_tls_connection(tcp::socket socket, asio::ssl::context& tls,
                                                Shared& shared, ConnectionInfo info) {
    using Stream = asio::ssl::stream<tcp::socket>;
    Stream stream{std::move(socket), tls};
    return std::make_shared<HttpConnection<Stream>>(std::move(stream), shared, info);
}
#endif

}  // namespace sandbox
