#include "scripted_server.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <optional>
#include <stdexcept>

#if AGENTSIGHT_TLS
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "certificates.hpp"
#endif

namespace agentsight::test {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

struct ScriptedServer::State {
    State(asio::io_context& context, Script given, ServerTls given_tls,
          const tcp::endpoint& endpoint)
        : acceptor(context, endpoint), script(std::move(given)), tls(given_tls) {}

    tcp::acceptor acceptor;
    Script script;
    ServerTls tls;
    int accepted = 0;
    std::vector<std::string> requests;
};

namespace {

/// Bytes of one request at the front of `text`; none while it is not whole.
std::optional<std::size_t> request_size(const std::string& text) {
    const auto end = text.find("\r\n\r\n");
    if (end == std::string::npos) {
        return std::nullopt;
    }
    const auto field = text.find("Content-Length: ");
    const std::size_t body =
        field == std::string::npos || field > end ? 0 : std::stoul(text.substr(field + 16, 20));
    return text.size() >= end + 4 + body ? std::optional{end + 4 + body} : std::nullopt;
}

class SocketSession final : public Session {
  public:
    SocketSession(tcp::socket socket, std::vector<std::string>& requests)
        : socket_(std::move(socket)), requests_(requests) {
        error_code ignored;
        socket_.set_option(tcp::no_delay{true}, ignored);
    }

    asio::awaitable<std::string> request() override {
        std::optional<std::size_t> size = request_size(received_);
        while (!size) {
            const bool more = co_await read_more();
            if (!more) {
                break;
            }
            size = request_size(received_);
        }
        std::string whole = received_.substr(0, size.value_or(received_.size()));
        received_.erase(0, whole.size());
        if (size) {
            requests_.push_back(whole);
        }
        co_return whole;
    }

    asio::awaitable<std::string> some() override {
        if (received_.empty()) {
            co_await read_more();
        }
        co_return std::exchange(received_, {});
    }

    asio::awaitable<void> write(std::string bytes) override {
        error_code ignored;
        const asio::const_buffer buffer = asio::buffer(bytes);
#if AGENTSIGHT_TLS
        if (stream_) {
            co_await asio::async_write(*stream_, buffer,
                                       asio::redirect_error(asio::use_awaitable, ignored));
            co_return;
        }
#endif
        co_await asio::async_write(socket_, buffer,
                                   asio::redirect_error(asio::use_awaitable, ignored));
    }

    asio::awaitable<std::string> rest() override {
        bool more = true;
        while (more) {
            more = co_await read_more();
        }
        co_return std::exchange(received_, {});
    }

    void cut() override {
        error_code ignored;
        socket_.close(ignored);
    }

    asio::awaitable<void> close() override {
#if AGENTSIGHT_TLS
        if (stream_) {
            error_code ignored;
            co_await stream_->async_shutdown(asio::redirect_error(asio::use_awaitable, ignored));
        }
#endif
        cut();
        co_return;
    }

    void reset() override {
        error_code ignored;
        socket_.set_option(asio::socket_base::linger{true, 0}, ignored);
        cut();
    }

    asio::awaitable<bool> secure(ServerTls tls) override {
#if AGENTSIGHT_TLS
        context_.emplace(server_context(tls));
        stream_.emplace(socket_, *context_);
        error_code error;
        co_await stream_->async_handshake(asio::ssl::stream_base::server,
                                          asio::redirect_error(asio::use_awaitable, error));
        co_return !error;
#else
        (void)tls;
        co_return false;
#endif
    }

    bool resumed() const override {
#if AGENTSIGHT_TLS
        return stream_ && SSL_session_reused(handle()) == 1;
#else
        return false;
#endif
    }

    std::string server_name() const override {
#if AGENTSIGHT_TLS
        const char* name =
            stream_ ? SSL_get_servername(handle(), TLSEXT_NAMETYPE_host_name) : nullptr;
        return name == nullptr ? "" : name;
#else
        return {};
#endif
    }

  private:
    asio::awaitable<bool> read_more() {
        char chunk[4096];
        error_code error;
        std::size_t size = 0;
        const asio::mutable_buffer buffer{chunk, sizeof chunk};
#if AGENTSIGHT_TLS
        if (stream_) {
            size = co_await stream_->async_read_some(
                buffer, asio::redirect_error(asio::use_awaitable, error));
            received_.append(chunk, size);
            co_return !error;
        }
#endif
        size = co_await socket_.async_read_some(buffer,
                                                asio::redirect_error(asio::use_awaitable, error));
        received_.append(chunk, size);
        co_return !error;
    }

#if AGENTSIGHT_TLS
    SSL* handle() const {
        return const_cast<SocketSession*>(this)->stream_->native_handle();
    }
#endif

    tcp::socket socket_;
    std::vector<std::string>& requests_;
    std::string received_;
#if AGENTSIGHT_TLS
    std::optional<asio::ssl::context> context_;
    std::optional<asio::ssl::stream<tcp::socket&>> stream_;
#endif
};

template <typename State>
asio::awaitable<void> serve(std::shared_ptr<State> state, tcp::socket socket, int index) {
    SocketSession session{std::move(socket), state->requests};
    session.index = index;
    if (state->tls.identity != nullptr) {
        const bool secured = co_await session.secure(state->tls);
        if (!secured) {
            co_return;
        }
    }
    co_await state->script(session);
}

template <typename State>
asio::awaitable<void> accept_all(std::shared_ptr<State> state) {
    for (;;) {
        error_code error;
        tcp::socket socket =
            co_await state->acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
        if (error) {
            co_return;
        }
        asio::co_spawn(state->acceptor.get_executor(),
                       serve(state, std::move(socket), state->accepted++), asio::detached);
    }
}

}  // namespace

ScriptedServer::ScriptedServer(asio::io_context& context, Script script, ServerTls tls,
                               const std::string& address, std::uint16_t port)
    : state_(std::make_shared<State>(context, std::move(script), tls,
                                     tcp::endpoint{asio::ip::make_address(address), port})) {
    asio::co_spawn(context, accept_all(state_), asio::detached);
}

ScriptedServer::~ScriptedServer() {
    error_code ignored;
    state_->acceptor.close(ignored);
}

std::uint16_t ScriptedServer::port() const {
    return state_->acceptor.local_endpoint().port();
}

core::Url ScriptedServer::url(const std::string& host) const {
    core::Url url;
    url.tls = state_->tls.identity != nullptr;
    url.host = host;
    url.port = port();
    return url;
}

int ScriptedServer::accepted() const {
    return state_->accepted;
}
const std::vector<std::string>& ScriptedServer::requests() const {
    return state_->requests;
}

bool run_until(asio::io_context& context, const std::function<bool()>& done) {
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds{30};
    context.restart();
    while (!done()) {
        if (std::chrono::steady_clock::now() > patience) {
            return false;
        }
        context.run_one_until(patience);
        if (context.stopped() && !done()) {
            return false;
        }
    }
    return true;
}

std::vector<core::Evidence> run_all(asio::io_context& context,
                                    std::vector<asio::awaitable<core::Evidence>> work) {
    std::vector<core::Evidence> results(work.size());
    std::size_t finished = 0;
    for (std::size_t i = 0; i < work.size(); ++i) {
        asio::co_spawn(context, std::move(work[i]),
                       [&results, &finished, i](std::exception_ptr error, core::Evidence evidence) {
                           if (error) {
                               std::rethrow_exception(error);
                           }
                           results[i] = std::move(evidence);
                           ++finished;
                       });
    }
    if (!run_until(context, [&] { return finished == results.size(); })) {
        throw std::runtime_error("the exchange did not end");
    }
    return results;
}

core::Evidence run(asio::io_context& context, asio::awaitable<core::Evidence> work) {
    std::vector<asio::awaitable<core::Evidence>> one;
    one.push_back(std::move(work));
    return run_all(context, std::move(one)).front();
}

core::HttpRequest post(std::string body) {
    core::HttpRequest request;
    request.method = core::HttpRequest::Method::post;
    request.target = "/api/conversation-feedbacks/";
    request.body = std::move(body);
    request.idempotency_key = "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0000";
    return request;
}

core::HttpRequest get(std::string target) {
    core::HttpRequest request;
    request.target = std::move(target);
    return request;
}

std::string answer(int status, std::string_view body, std::string_view extra_fields) {
    return "HTTP/1.1 " + std::to_string(status) + " Words\r\nContent-Type: application/json\r\n" +
           std::string{extra_fields} + "Content-Length: " + std::to_string(body.size()) +
           "\r\n\r\n" + std::string{body};
}

net::TransportOptions options_for(const core::Url& endpoint) {
    net::TransportOptions options;
    options.endpoint = endpoint;
    options.proxy = "direct";
    options.user_agent = "agentsight-outbox/test";
    options.request_timeout = std::chrono::seconds{20};
    return options;
}

}  // namespace agentsight::test
