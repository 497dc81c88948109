#include "sandbox/server.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <stdexcept>
#include <thread>

#include "sandbox/connection.hpp"
#include "sandbox/control.hpp"
#ifdef SANDBOX_TLS
#include <boost/asio/ssl/context.hpp>
#endif

namespace sandbox {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Acceptor = asio::basic_socket_acceptor<tcp, Executor>;

namespace {

constexpr int backlog = 4096;
constexpr std::chrono::milliseconds sweep_interval{250};

tcp::endpoint loopback(std::uint16_t port) {
    return {asio::ip::address_v4::loopback(), port};
}

/// A program this process starts must not keep our connections open.
void keep_to_ourselves(int descriptor) {
    ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}

}  // namespace

class Server::Impl {
  public:
    explicit Impl(ServerOptions options)
        : hub_{{.file = options.file,
                .settings = options.settings,
                .request_log = options.request_log,
                .on_row = std::move(options.on_row)},
               [this](std::int64_t ms, std::function<void()> run) {
                   schedule(ms, std::move(run));
               }},
          control_{hub_, [this](Link link) { set_link_here(link); }},
          shared_{hub_, [this](const Request& request) { return control_.handle(request); }, {}} {
        for (Fault& fault : options.faults)
            hub_.add_fault(std::move(fault));
        use_certificate(options);
        listen(api_, options.port);
        listen(steering_, options.control_port);
        port_ = api_.local_endpoint().port();
        control_port_ = steering_.local_endpoint().port();
        accept_api();
        accept_control();
        sweep();
        thread_ = std::thread{[this] { context_.run(); }};
    }

    ~Impl() { stop(); }

    void stop() {
        if (!thread_.joinable())
            return;
        asio::post(context_, [this] {
            close_connections();
            context_.stop();
        });
        thread_.join();
        error_code ignored;
        api_.close(ignored);
        steering_.close(ignored);
    }

    void set_link(Link link) {
        if (!thread_.joinable())
            return;
        std::promise<void> done;
        asio::post(context_, [&] {
            set_link_here(link);
            done.set_value();
        });
        done.get_future().wait();
    }

    Hub& hub() { return hub_; }
    std::uint16_t port() const { return port_; }
    std::uint16_t control_port() const { return control_port_; }
    bool secure() const { return secure_; }

  private:
    void use_certificate(const ServerOptions& options) {
        secure_ = !options.certificate.empty();
        if (!secure_)
            return;
#ifdef SANDBOX_TLS
        error_code error;
        if (tls_.use_certificate_chain_file(options.certificate.string(), error))
            throw std::invalid_argument{"--certificate: cannot use " +
                                        options.certificate.string() + ": " + error.message()};
        if (tls_.use_private_key_file(options.private_key.string(), asio::ssl::context::pem, error))
            throw std::invalid_argument{"--private-key: cannot use " +
                                        options.private_key.string() + ": " + error.message()};
#else
        throw std::runtime_error{"this sandbox was built without TLS"};
#endif
    }

    static void bind(Acceptor& acceptor, std::uint16_t port) {
        acceptor.open(tcp::v4());
        keep_to_ourselves(acceptor.native_handle());
        acceptor.set_option(Acceptor::reuse_address{true});
        acceptor.bind(loopback(port));
    }

    /// A port the system picks is picked by another socket and then asked for by name: only
    /// so does it stay ours while the link is down.
    static void listen(Acceptor& acceptor, std::uint16_t port) {
        try {
            Acceptor picker{acceptor.get_executor()};
            bind(picker, port);
            bind(acceptor, picker.local_endpoint().port());
            acceptor.listen(backlog);
        } catch (const boost::system::system_error& error) {
            throw std::runtime_error{"cannot listen on 127.0.0.1:" + std::to_string(port) + ": " +
                                     error.code().message()};
        }
    }

    void schedule(std::int64_t ms, std::function<void()> run) {
        auto timer = std::make_shared<Timer>(context_, std::chrono::milliseconds{ms});
        timer->async_wait([timer, run = std::move(run)](error_code error) {
            if (!error)
                run();
        });
    }

    void accept_api() {
        if (accepting_ || link_ != Link::up)
            return;
        accepting_ = true;
        api_.async_accept([this](error_code error, Socket socket) {
            accepting_ = false;
            if (error == asio::error::operation_aborted)
                return accept_api();
            if (error)
                return schedule(50, [this] { accept_api(); });
            prepare(socket);
            greet(std::move(socket));
        });
    }

    /// Faults of the beginning; only slow_accept keeps the next connection waiting.
    void greet(Socket socket) {
        std::optional<Fault> fault;
        const std::uint64_t number = hub_.open_connection(fault);
        const auto connection = make(std::move(socket), number);
        shared_.connections.insert(connection);
        if (fault && fault->kind == FaultKind::slow_accept) {
            schedule(fault->ms == Fault::unset ? 1000 : fault->ms, [this, connection] {
                connection->start();
                accept_api();
            });
            return;
        }
        if (!fault)
            connection->start();
        else if (fault->kind == FaultKind::hang_connect)
            connection->hold();
        else
            connection->close(true);
        accept_api();
    }

    std::shared_ptr<Connection> make(Socket socket, std::uint64_t number) {
#ifdef SANDBOX_TLS
        if (secure_)
            return make_connection(tls_stream(std::move(socket), tls_), shared_, {number, false});
#endif
        return make_connection(plain_stream(std::move(socket)), shared_, {number, false});
    }

    void accept_control() {
        steering_.async_accept([this](error_code error, Socket socket) {
            if (error)
                return schedule(50, [this] { accept_control(); });
            prepare(socket);
            const auto connection =
                make_connection(plain_stream(std::move(socket)), shared_, {0, true});
            shared_.connections.insert(connection);
            connection->start();
            accept_control();
        });
    }

    static void prepare(Socket& socket) {
        keep_to_ourselves(socket.native_handle());
        error_code ignored;
        socket.set_option(tcp::no_delay{true}, ignored);
    }

    /// Shutting a listening socket down makes the kernel refuse connections while the
    /// port stays bound to us; listening again undoes it.
    void set_link_here(Link link) {
        if (link == link_)
            return;
        link_ = link;
        fillers_.clear();
        error_code ignored;
        api_.cancel(ignored);
        if (link == Link::refused) {
            ::shutdown(api_.native_handle(), SHUT_RDWR);
            return cut_connections();
        }
        api_.listen(link == Link::silent ? 0 : backlog, ignored);
        if (link == Link::silent)
            fill_queue();
        accept_api();
    }

    /// The kernel drops what knocks while a queue of one holds a connection of our own
    /// that nobody accepts.
    void fill_queue() {
        for (int count = 0; count < 2; ++count) {
            Socket filler{context_, tcp::v4()};
            keep_to_ourselves(filler.native_handle());
            filler.async_connect(loopback(port_), [](error_code) {});
            fillers_.push_back(std::move(filler));
        }
    }

    /// As a network does it that goes away; the control port stays reachable.
    void cut_connections() {
        const auto all = shared_.connections;
        for (const auto& connection : all)
            if (!connection->info().control)
                connection->close(true);
    }

    void close_connections() {
        const auto all = shared_.connections;
        for (const auto& connection : all)
            connection->close(false);
    }

    void sweep() {
        schedule(sweep_interval.count(), [this] {
            const auto now = std::chrono::steady_clock::now();
            const auto all = shared_.connections;
            for (const auto& connection : all)
                connection->sweep(now);
            sweep();
        });
    }

    asio::io_context context_{1};
    Hub hub_;
    Control control_;
    Shared shared_;
    Acceptor api_{context_};
    Acceptor steering_{context_};
#ifdef SANDBOX_TLS
    asio::ssl::context tls_{asio::ssl::context::tls_server};
#endif
    std::uint16_t port_ = 0;
    std::uint16_t control_port_ = 0;
    bool secure_ = false;
    Link link_ = Link::up;
    bool accepting_ = false;
    std::vector<Socket> fillers_;
    std::thread thread_;
};

Server::Server(ServerOptions options) : impl_{std::make_unique<Impl>(std::move(options))} {}
Server::~Server() = default;

std::uint16_t Server::port() const {
    return impl_->port();
}

std::uint16_t Server::control_port() const {
    return impl_->control_port();
}

std::string Server::url() const {
    return (impl_->secure() ? "https://127.0.0.1:" : "http://127.0.0.1:") + std::to_string(port());
}

std::string Server::control_url() const {
    return "http://127.0.0.1:" + std::to_string(control_port());
}

std::vector<Row> Server::rows() const {
    return impl_->hub().rows();
}

std::size_t Server::row_count() const {
    return impl_->hub().row_count();
}

std::vector<RequestRecord> Server::requests() const {
    return impl_->hub().requests();
}

std::vector<ProtocolError> Server::errors() const {
    return impl_->hub().errors();
}

std::uint64_t Server::connection_count() const {
    return impl_->hub().connection_count();
}

bool Server::wait_for_rows(std::size_t count, std::chrono::milliseconds timeout) const {
    return impl_->hub().wait_for_rows(count, timeout);
}

bool Server::wait_for_requests(std::uint64_t count, std::chrono::milliseconds timeout) const {
    return impl_->hub().wait_for_requests(count, timeout);
}

std::uint64_t Server::add_fault(Fault fault) {
    return impl_->hub().add_fault(std::move(fault));
}

std::uint64_t Server::add_fault(std::string_view spec) {
    return add_fault(parse_fault(spec));
}

void Server::remove_fault(std::uint64_t id) {
    impl_->hub().remove_fault(id);
}

void Server::clear_faults() {
    impl_->hub().clear_faults();
}

std::int64_t Server::fault_hits(std::uint64_t id) const {
    for (const FaultState& state : impl_->hub().faults())
        if (state.id == id)
            return state.hits;
    return 0;
}

void Server::set_clock_offset(std::chrono::milliseconds offset) {
    impl_->hub().set_clock_offset(offset.count());
}

void Server::change_settings(const std::function<void(Settings&)>& change) {
    impl_->hub().change_settings(change);
}

std::int64_t Server::add_conversation(const std::string& conversation_id, std::int64_t id) {
    return impl_->hub().add_conversation(conversation_id, id);
}

bool Server::remove_row(std::int64_t id) {
    return impl_->hub().remove_row(id);
}

void Server::set_link(Link link) {
    impl_->set_link(link);
}

void Server::set_link(bool up) {
    set_link(up ? Link::up : Link::refused);
}

void Server::clear_journal() {
    impl_->hub().clear_journal();
}

void Server::reset() {
    impl_->hub().reset();
}

void Server::stop() {
    impl_->stop();
}

}  // namespace sandbox
