#include "net/race.hpp"

#include <utility>

#include "os/close_on_exec.hpp"

namespace agentsight::net {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

error_code open_socket(tcp::socket& socket, const tcp::endpoint& endpoint) {
    error_code error;
    socket.open(endpoint.protocol(), error);
    if (error) {
        return error;
    }
    // A program the application starts must not keep our connection open.
    os::close_on_exec(socket.native_handle());
    socket.non_blocking(true, error);
    if (!error) {
        error_code ignored;
        socket.set_option(tcp::no_delay{true}, ignored);
    }
    return error;
}

}  // namespace

Race::Race(const asio::any_io_executor& executor, std::vector<tcp::endpoint> endpoints)
    : endpoints_(std::move(endpoints)), stagger_(executor), decided_(executor) {
    // Never reallocated: a connecting socket must not move.
    sockets_.reserve(endpoints_.size());
}

asio::awaitable<Race::Result> Race::run(asio::any_io_executor executor,
                                        std::vector<tcp::endpoint> endpoints, Leash& leash) {
    const auto race = std::make_shared<Race>(executor, std::move(endpoints));
    const Tie tie{leash, *race};
    if (!race->decided_.is_open()) {
        race->start_next();
    }
    co_await race->decided_.wait();
    Result result;
    if (race->winner_ && !leash.pulled()) {
        result.socket.emplace(std::move(race->sockets_[*race->winner_]));
    } else {
        result.error = race->error_;
    }
    race->close_all();
    co_return result;
}

void Race::stop() noexcept {
    if (!error_) {
        error_ = asio::error::operation_aborted;
    }
    close_all();
    decided_.open();
}

void Race::close_all() noexcept {
    stagger_.cancel();
    error_code ignored;
    for (tcp::socket& socket : sockets_) {
        socket.close(ignored);
    }
}

/// Without memory for the next there is no race.
void Race::start_next() noexcept {
    try {
        start_next_or_throw();
    } catch (...) {
        error_ = asio::error::no_memory;
        decided_.open();
    }
}

void Race::start_next_or_throw() {
    if (sockets_.size() == endpoints_.size() || decided_.is_open()) {
        return;
    }
    const std::size_t index = sockets_.size();
    tcp::socket& socket = sockets_.emplace_back(stagger_.get_executor());
    if (const error_code error = open_socket(socket, endpoints_[index])) {
        return finished(index, error);
    }
    const auto self = shared_from_this();
    socket.async_connect(endpoints_[index],
                         [self, index](const error_code& error) { self->finished(index, error); });
    if (sockets_.size() < endpoints_.size()) {
        stagger_.expires_after(stagger);
        stagger_.async_wait([self](const error_code& error) {
            if (!error) {
                self->start_next();
            }
        });
    }
}

void Race::finished(std::size_t index, const error_code& error) {
    if (decided_.is_open()) {
        return;
    }
    if (!error) {
        winner_ = index;
        return decided_.open();
    }
    ++failed_;
    // "Refused" says more than "unreachable", which a missing family answers.
    if (!error_ || error == asio::error::connection_refused) {
        error_ = error;
    }
    if (failed_ == endpoints_.size()) {
        return decided_.open();
    }
    start_next();  // at once; it moves the stagger timer too
}

}  // namespace agentsight::net
