#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/fault.hpp"
#include "sandbox/row.hpp"
#include "sandbox/settings.hpp"

namespace sandbox {

struct ServerOptions {
    std::uint16_t port = 0;          ///< 0: the system picks one
    std::uint16_t control_port = 0;  ///< 0: the system picks one
    std::filesystem::path file;      ///< rows, one JSON object a line; empty: in memory only
    Settings settings;
    std::vector<Fault> faults;          ///< in force from the first connection on
    std::size_t request_log = 100'000;  ///< requests and errors kept, each; the oldest go first
    std::function<void(const Row&)> on_row;  ///< on the server's thread; must not call back
    std::filesystem::path certificate;       ///< PEM chain; with private_key: the API is https
    std::filesystem::path private_key;
};

/// A local AgentSight API on the loopback address, in a thread of its own. Not idempotent,
/// like the real one: a repeated creation is a second row. Every member may be called from
/// any thread (but on_row); what they return are copies.
///
///   sandbox::Server server;
///   server.add_fault({.kind = sandbox::FaultKind::drop_after, .times = 2});
///   ... point a client at server.url() ...
///   server.wait_for_rows(3, 5s);
class Server {
  public:
    /// Listens when it returns. Throws std::runtime_error where it cannot.
    explicit Server(ServerOptions options = {});
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    std::uint16_t port() const;
    std::uint16_t control_port() const;
    std::string url() const;  ///< "http://127.0.0.1:PORT", https with a certificate
    std::string control_url() const;

    std::vector<Row> rows() const;
    std::size_t row_count() const;
    /// Complete requests in the order they arrived, those of faulty outcomes too.
    std::vector<RequestRecord> requests() const;
    std::vector<ProtocolError> errors() const;
    std::uint64_t connection_count() const;  ///< accepted so far
    /// False: the time was up first. Requests count when they are complete, not answered.
    bool wait_for_rows(std::size_t count, std::chrono::milliseconds timeout) const;
    bool wait_for_requests(std::uint64_t count, std::chrono::milliseconds timeout) const;

    std::uint64_t add_fault(Fault fault);
    /// As on the control port: JSON, or "status,status=503,times=2".
    std::uint64_t add_fault(std::string_view spec);
    void remove_fault(std::uint64_t id);
    void clear_faults();
    std::int64_t fault_hits(std::uint64_t id) const;  ///< 0 for an unknown id too

    /// What Date and created_at say, relative to the machine's clock.
    void set_clock_offset(std::chrono::milliseconds offset);
    void change_settings(const std::function<void(Settings&)>& change);
    /// Its database id; `id` 0 lets the server choose.
    std::int64_t add_conversation(const std::string& conversation_id, std::int64_t id = 0);
    bool remove_row(std::int64_t id);

    /// The port stays ours whatever the link. False is Link::refused.
    void set_link(Link link);
    void set_link(bool up);
    void clear_journal();  ///< requests and errors
    /// Rows, conversations, faults, journal, clock offset; ids go on increasing.
    void reset();

    /// Ends all connections and the thread; rows and journal can still be read.
    void stop();

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace sandbox
