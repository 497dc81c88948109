#include "sandbox/connection.hpp"

#include <array>
#include <optional>

#include "sandbox/composer.hpp"
#include "sandbox/request_reader.hpp"

namespace sandbox {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::chrono::seconds lingering{5};
constexpr std::chrono::minutes longest_hold{10};

std::int64_t or_else(std::int64_t value, std::int64_t fallback) {
    return value == Fault::unset ? fallback : value;
}

/// Reads a request, has it answered, writes the reply, begins again. One operation is
/// under way at a time; everything on the server's thread.
class HttpConnection final : public Connection,
                             public std::enable_shared_from_this<HttpConnection> {
  public:
    HttpConnection(std::unique_ptr<Stream> stream, Shared& shared, ConnectionInfo info)
        : stream_{std::move(stream)},
          timer_{stream_->socket().get_executor()},
          shared_{shared},
          info_{info} {}

    const ConnectionInfo& info() const override { return info_; }

    void start() override {
        wait_at_most(std::chrono::seconds{30});
        stream_->open([self = shared_from_this()](error_code error) {
            if (error)
                return self->close(false);
            self->begin_request();
        });
    }

    void hold() override { wait_at_most(longest_hold); }

    void close(bool reset) override {
        if (closed_)
            return;
        closed_ = true;
        const auto self = shared_from_this();
        error_code ignored;
        if (reset)
            stream_->socket().set_option(Socket::linger{true, 0}, ignored);
        timer_.cancel();
        stream_->socket().close(ignored);
        shared_.connections.erase(self);
    }

    void sweep(SteadyTime now) override {
        if (now < deadline_)
            return;
        if (reading_ && reader_.within_request())
            note("incomplete_request", "the rest of a request did not come");
        close(false);
    }

  private:
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
        reader_.reset();
        reading_ = true;
        wait_at_most(std::chrono::milliseconds{shared_.hub.keep_alive_ms()});
        if (in_.empty())
            read();
        else
            feed();
    }

    void read() {
        stream_->read_some(asio::buffer(chunk_),
                           [self = shared_from_this()](error_code error, std::size_t size) {
                               self->on_read(error, size);
                           });
    }

    void on_read(error_code error, std::size_t size) {
        if (closed_)
            return;
        if (error) {
            if (reader_.within_request() || !in_.empty())
                note("closed_mid_request", "the connection ended within a request");
            return close(false);
        }
        in_.append(chunk_.data(), size);
        feed();
    }

    void feed() {
        switch (reader_.feed(in_)) {
            case RequestReader::State::more:
                return read();
            case RequestReader::State::wants_continue:
                return send_continue();
            case RequestReader::State::complete:
                return on_request();
            case RequestReader::State::malformed:
                return refuse(400, reader_.error());
            case RequestReader::State::header_too_large:
                return refuse(431, "the header is too large");
            case RequestReader::State::body_too_large:
                return refuse(413, "the body is too large");
        }
    }

    void send_continue() {
        static constexpr std::string_view text = "HTTP/1.1 100 Continue\r\n\r\n";
        write(text, [](HttpConnection& self) { self.read(); });
    }

    /// What is no request is answered as a server in front of Django would.
    void refuse(int status, const std::string& words) {
        note("bad_http", words);
        in_.clear();
        plan_ = {};
        exchange_.reset();
        send(html_reply(status, reason_phrase(status)), false);
    }

    // Answering.

    void on_request() {
        deadline_ = SteadyTime::max();
        reading_ = false;
        Request request = reader_.take();
        request.connection = info_.number;
        keep_alive_ = reader_.keep_alive();
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
        if (!in_.empty() || stream_->socket().available(ignored) > 0)
            note("pipelined", "bytes came before the answer", exchange_->request.number);
    }

    // Writing.

    void send(Reply reply, bool keep_alive) {
        wire_ = compose(reply, plan_, {.date = shared_.hub.date_field(), .keep_alive = keep_alive});
        sent_ = 0;
        if (plan_.pace)
            return drip();
        write(wire_.bytes, [](HttpConnection& self) { self.send_filler(); });
    }

    /// Writes all of it and goes on; a failure ends the connection.
    void write(std::string_view bytes, void (*then)(HttpConnection&)) {
        stream_->write(asio::buffer(bytes),
                       [self = shared_from_this(), then](error_code error, std::size_t) {
                           if (error || self->closed_)
                               return self->close(false);
                           then(*self);
                       });
    }

    void drip() {
        const Fault& pace = *plan_.pace;
        const auto start = static_cast<std::size_t>(std::max<std::int64_t>(0, or_else(pace.at, 0)));
        const auto step =
            static_cast<std::size_t>(std::max<std::int64_t>(1, or_else(pace.bytes, 1)));
        const std::size_t left = wire_.bytes.size() - sent_;
        const std::size_t size = std::min(left, sent_ == 0 && start > 0 ? start : step);
        const auto piece = std::string_view{wire_.bytes}.substr(sent_, size);
        sent_ += size;
        write(piece, [](HttpConnection& self) { self.dripped(); });
    }

    void dripped() {
        if (sent_ >= wire_.bytes.size())
            return send_filler();
        after(or_else(plan_.pace->interval_ms, 100), [](HttpConnection& self) { self.drip(); });
    }

    void send_filler() {
        static const std::string letters(64 * 1024, 'x');
        if (wire_.filler == 0)
            return send_tail();
        const auto size = std::min<std::uint64_t>(wire_.filler, letters.size());
        wire_.filler -= size;
        write(std::string_view{letters}.substr(0, size),
              [](HttpConnection& self) { self.send_filler(); });
    }

    void send_tail() {
        if (wire_.tail.empty())
            return finish();
        write(wire_.tail, [](HttpConnection& self) { self.finish(); });
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
        stream_->finish([self = shared_from_this()](error_code error) {
            if (error)
                return self->close(false);
            self->discard_until_end();
        });
    }

    void discard_until_end() {
        stream_->read_some(asio::buffer(chunk_),
                           [self = shared_from_this()](error_code error, std::size_t) {
                               if (error || self->closed_)
                                   return self->close(false);
                               self->discard_until_end();
                           });
    }

    void after(std::int64_t ms, void (*then)(HttpConnection&)) {
        timer_.expires_after(std::chrono::milliseconds{ms});
        timer_.async_wait([self = shared_from_this(), then](error_code error) {
            if (!error && !self->closed_)
                then(*self);
        });
    }

    std::unique_ptr<Stream> stream_;
    Timer timer_;
    Shared& shared_;
    ConnectionInfo info_;
    std::array<char, 16 * 1024> chunk_;
    std::string in_;  ///< read and not yet parsed
    RequestReader reader_;
    std::optional<Exchange> exchange_;
    Plan plan_;
    Wire wire_;
    std::size_t sent_ = 0;
    SteadyTime deadline_ = SteadyTime::max();
    bool reading_ = false;  ///< a request is expected, or under way
    bool keep_alive_ = true;
    bool closed_ = false;
};

}  // namespace

std::shared_ptr<Connection> make_connection(std::unique_ptr<Stream> stream, Shared& shared,
                                            ConnectionInfo info) {
    return std::make_shared<HttpConnection>(std::move(stream), shared, info);
}

}  // namespace sandbox
