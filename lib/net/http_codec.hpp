#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/credential.hpp"
#include "core/exchange.hpp"

/// HTTP/1.1 (RFC 9112) between bytes and values. Knows no socket; Beast stays inside the
/// source. One thread.
namespace agentsight::net {

struct RequestHead {
    std::string_view method;  ///< "GET", "POST" or "CONNECT"
    std::string_view target;
    std::string_view host;
    std::string_view user_agent;
    std::string_view authorization;  ///< empty: none; so are the next three
    std::string_view proxy_authorization;
    std::string_view idempotency_key;
    std::string_view body;
};

/// Replaces `out` with the whole request, head and body, ready for one write. False where a
/// value has a CR, LF or NUL: nothing may be sent then.
bool serialize(const RequestHead& request, core::SecretText& out);

struct ResponseLimits {
    std::size_t header_bytes = 8 * 1024;
    std::size_t body_bytes = 64 * 1024;
};

/// A complete final response.
struct Response {
    int status = 0;
    bool json = false;  ///< application/json or application/...+json, or no type at all
    std::optional<std::string> retry_after;
    std::string date;  ///< the raw field; empty: none; so is the next
    std::string location;
    std::string body;
    bool keep_alive = false;          ///< the server keeps the connection
    std::optional<int> idle_seconds;  ///< Keep-Alive: timeout=N
};

/// Takes the bytes of one connection and gives the responses in them, one at a time. A
/// response is complete by its length or its chunks or not at all; 1xx are skipped.
class ResponseReader {
  public:
    enum class State { more, complete, failed };
    enum class Kind { ordinary, connect };  ///< a 2xx to CONNECT has no body

    /// Interim responses skipped before one final response; more is a fault.
    static constexpr int most_interim = 20;

    explicit ResponseReader(ResponseLimits limits);
    ~ResponseReader();

    /// Before each response, of which `more_body` bytes may come beyond the limit.
    void start(Kind kind = Kind::ordinary, std::size_t more_body = 0);
    /// Room to read into; never empty while the state is `more`.
    std::span<char> room();
    /// `size` bytes came into the room. Not after another state than `more`.
    State received(std::size_t size);

    /// After `complete`, once.
    Response take();
    /// After `failed`: malformed or too_large, and why.
    core::Failure failure() const noexcept;
    const std::string& detail() const noexcept;
    /// Bytes that belong to no response so far: after `complete`, unsolicited ones.
    bool leftover() const noexcept;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace agentsight::net
