#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <memory>
#include <string>
#include <vector>

#include "net/leash.hpp"
#include "net/transport.hpp"

namespace agentsight::net {

struct Addresses {
    boost::system::error_code error;
    std::vector<boost::asio::ip::address> list;  ///< in the order to try; not empty without error
};

/// Turns names into addresses on threads of its own, because getaddrinfo(3) cannot be
/// cancelled: a lookup that hangs is abandoned, never waited for, neither by a deadline nor
/// by the destructor. Its thread ends whenever the call returns and touches nothing but what
/// it shares. At most `most_lookups` threads exist at a time; callers for one name share one.
class Resolver {
  public:
    /// A lookup this old is not joined any more: it may hang on a network that is gone.
    static constexpr std::chrono::seconds stale_after{5};
    static constexpr int most_lookups = 3;
    static constexpr std::size_t most_addresses = 8;

    Resolver(boost::asio::io_context& context, ResolveFunction function);
    ~Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    /// An address as text is its own answer. Pulled: error is operation_aborted.
    boost::asio::awaitable<Addresses> resolve(std::string host, Leash& leash);

  private:
    struct Shared;
    struct Lookup;

    std::shared_ptr<Lookup> lookup(const std::string& host);
    static void run(std::shared_ptr<Shared> shared, std::shared_ptr<Lookup> lookup);

    boost::asio::io_context& context_;
    std::shared_ptr<Shared> shared_;
    std::shared_ptr<Lookup> latest_;
};

/// RFC 8305, section 4: families alternate, beginning with the first; bounded.
std::vector<boost::asio::ip::address> interleave(std::vector<boost::asio::ip::address> list,
                                                 std::size_t most);

}  // namespace agentsight::net
