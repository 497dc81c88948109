#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <unordered_set>

#include "sandbox/hub.hpp"
#include "sandbox/stream.hpp"

namespace sandbox {

class Connection;

/// What the connections of one server share. The server's thread only.
struct Shared {
    Hub& hub;
    /// Answers requests of the control port.
    std::function<Reply(const Request&)> control;
    std::unordered_set<std::shared_ptr<Connection>> connections;
};

struct ConnectionInfo {
    std::uint64_t number = 0;  ///< from 1, in the order of the accepts
    bool control = false;      ///< of the control port: no faults, no journal
};

/// One accepted connection, plain or TLS. Lives in Shared::connections until it is closed.
class Connection {
  public:
    virtual ~Connection() = default;
    virtual const ConnectionInfo& info() const = 0;
    /// Begins to read requests.
    virtual void start() = 0;
    /// Holds the connection without ever reading from it.
    virtual void hold() = 0;
    virtual void close(bool reset) = 0;
    /// Closes it if its patience is over.
    virtual void sweep(std::chrono::steady_clock::time_point now) = 0;
};

std::shared_ptr<Connection> make_connection(std::unique_ptr<Stream> stream, Shared& shared,
                                            ConnectionInfo info);

}  // namespace sandbox
