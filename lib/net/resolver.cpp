#include "net/resolver.hpp"

#include <algorithm>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "net/gate.hpp"
#include "os/process.hpp"

namespace agentsight::net {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

std::vector<asio::ip::address> ask_system(const std::string& host, error_code& error) {
    // A context of the thread's own: it only carries the blocking call. AI_ADDRCONFIG is not
    // asked for, since it hides "localhost" from a machine without a network; a family
    // without a route fails at once in the race.
    asio::io_context context{1};
    asio::ip::tcp::resolver resolver{context};
    const auto results =
        resolver.resolve(host, "0", asio::ip::tcp::resolver::numeric_service, error);
    std::vector<asio::ip::address> list;
    for (const auto& entry : results) {
        list.push_back(entry.endpoint().address());
    }
    return list;
}

}  // namespace

std::vector<asio::ip::address> interleave(std::vector<asio::ip::address> list, std::size_t most) {
    std::vector<asio::ip::address> first;
    std::vector<asio::ip::address> second;
    for (auto& address : list) {
        (address.is_v6() == list.front().is_v6() ? first : second).push_back(address);
    }
    std::vector<asio::ip::address> mixed;
    for (std::size_t i = 0; mixed.size() < most && i < std::max(first.size(), second.size()); ++i) {
        if (i < first.size()) {
            mixed.push_back(first[i]);
        }
        if (i < second.size() && mixed.size() < most) {
            mixed.push_back(second[i]);
        }
    }
    return mixed;
}

/// What the threads may touch however long they live.
struct Resolver::Shared {
    std::mutex mutex;
    asio::io_context* context = nullptr;  ///< null once nobody waits for answers any more
    int running = 0;
    ResolveFunction function;
};

/// All but `host` belongs to the context's thread.
struct Resolver::Lookup {
    explicit Lookup(std::string name) : host(std::move(name)) {}

    void finish(Addresses found) {
        answer = std::move(found);
        done = true;
        for (Gate* gate : waiting) {
            gate->open();
        }
    }

    /// A waiter's, as long as it waits.
    struct Place {
        Place(Lookup& at, Gate& one) : lookup(at), gate(one) { lookup.waiting.push_back(&gate); }
        ~Place() { std::erase(lookup.waiting, &gate); }
        Place(const Place&) = delete;
        Place& operator=(const Place&) = delete;
        Lookup& lookup;
        Gate& gate;
    };

    const std::string host;
    std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
    bool done = false;
    Addresses answer;
    std::vector<Gate*> waiting;
};

Resolver::Resolver(asio::io_context& context, ResolveFunction function)
    : context_(context), shared_(std::make_shared<Shared>()) {
    shared_->context = &context;
    shared_->function = function ? std::move(function) : ask_system;
}

Resolver::~Resolver() {
    const std::lock_guard lock{shared_->mutex};
    shared_->context = nullptr;
}

void Resolver::run(std::shared_ptr<Shared> shared, std::shared_ptr<Lookup> lookup) {
    Addresses found;
    try {
        found.list = interleave(shared->function(lookup->host, found.error), most_addresses);
    } catch (...) {
        found.list.clear();
        found.error = asio::error::no_memory;
    }
    if (!found.error && found.list.empty()) {
        found.error = asio::error::host_not_found;
    }
    const std::lock_guard lock{shared->mutex};
    --shared->running;
    if (shared->context == nullptr) {
        return;
    }
    try {
        asio::post(*shared->context, [lookup, answer = std::move(found)]() mutable {
            lookup->finish(std::move(answer));
        });
    } catch (...) {
        // Out of memory: the waiters end by their deadlines.
    }
}

std::shared_ptr<Resolver::Lookup> Resolver::lookup(const std::string& host) {
    const bool pending = latest_ && !latest_->done && latest_->host == host;
    if (pending && std::chrono::steady_clock::now() - latest_->started < stale_after) {
        return latest_;
    }
    {
        const std::lock_guard lock{shared_->mutex};
        if (shared_->running >= most_lookups) {
            return pending ? latest_ : nullptr;
        }
        ++shared_->running;
    }
    try {
        auto fresh = std::make_shared<Lookup>(host);
        const os::SignalsBlocked for_the_thread;
        std::thread{run, shared_, fresh}.detach();
        latest_ = std::move(fresh);
        return latest_;
    } catch (const std::exception&) {  // no thread, or no memory for one
        const std::lock_guard lock{shared_->mutex};
        --shared_->running;
        return pending ? latest_ : nullptr;
    }
}

asio::awaitable<Addresses> Resolver::resolve(std::string host, Leash& leash) {
    Addresses answer;
    const asio::ip::address literal = asio::ip::make_address(host, answer.error);
    if (!answer.error) {
        answer.list.push_back(literal);
        co_return answer;
    }
    const std::shared_ptr<Lookup> shared = lookup(host);
    if (!shared) {
        answer.error = asio::error::try_again;
        co_return answer;
    }
    Gate gate{context_.get_executor()};
    {
        const Tie tie{leash, gate};
        const Lookup::Place place{*shared, gate};
        co_await gate.wait();
    }
    answer.error = asio::error::operation_aborted;
    if (shared->done) {
        answer = shared->answer;
    }
    co_return answer;
}

}  // namespace agentsight::net
