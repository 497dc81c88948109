#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace sandbox_test {

using Json = nlohmann::ordered_json;
using std::chrono::milliseconds;

/// How waiting for bytes came to an end.
enum class End { data, eof, reset, silence };

struct Response {
    int status = 0;  ///< 0: no status line came
    std::string head;
    std::string body;
    End end = End::data;  ///< data: complete by its length

    std::string field(std::string_view name) const {
        const std::size_t at = head.find("\r\n" + std::string{name} + ": ");
        if (at == std::string::npos)
            return {};
        const std::size_t begin = at + 4 + name.size();
        return head.substr(begin, head.find("\r\n", begin) - begin);
    }
    Json json() const { return Json::parse(body); }
};

/// A client that knows only sockets: sends any bytes, and reads with a deadline.
class RawClient {
  public:
    explicit RawClient(std::uint16_t port, milliseconds patience = milliseconds{5000})
        : socket_{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)} {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
        pollfd waiting{socket_, POLLOUT, 0};
        socklen_t size = sizeof error_;
        error_ = EINPROGRESS;
        if (::poll(&waiting, 1, static_cast<int>(patience.count())) > 0)
            ::getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error_, &size);
        ::fcntl(socket_, F_SETFL, 0);
    }
    ~RawClient() { close(); }
    RawClient(const RawClient&) = delete;
    RawClient& operator=(const RawClient&) = delete;

    bool connected() const { return error_ == 0; }
    int descriptor() const { return socket_; }
    int error() const { return error_; }  ///< EINPROGRESS: no answer yet

    void close() {
        if (socket_ >= 0)
            ::close(std::exchange(socket_, -1));
    }

    void send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent < 0)
                return;  // the reading side tells how the connection ended
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
    }

    /// Waits for more bytes and appends them to `in`.
    End receive(milliseconds timeout) {
        if (error_ == ECONNRESET)
            return End::reset;  // before connect() returned; told once
        pollfd waiting{socket_, POLLIN, 0};
        if (::poll(&waiting, 1, static_cast<int>(timeout.count())) <= 0)
            return End::silence;
        std::array<char, 16384> chunk{};
        const ssize_t size = ::recv(socket_, chunk.data(), chunk.size(), 0);
        if (size == 0)
            return End::eof;
        if (size < 0)
            return errno == ECONNRESET ? End::reset : End::silence;
        in.append(chunk.data(), static_cast<std::size_t>(size));
        return End::data;
    }

    End receive_until(const auto& done, milliseconds timeout = milliseconds{5000}) {
        while (!done()) {
            const End end = receive(timeout);
            if (end != End::data)
                return end;
        }
        return End::data;
    }

    /// One response by its Content-Length; what follows stays in `in`.
    Response response(milliseconds timeout = milliseconds{5000}) {
        Response out;
        std::size_t end = 0;
        out.end = receive_until([&] { return (end = in.find("\r\n\r\n")) != std::string::npos; },
                                timeout);
        if (out.end != End::data)
            return out;
        out.head = in.substr(0, end + 2);
        in.erase(0, end + 4);
        out.status = std::atoi(out.head.c_str() + 9);
        const std::string length = out.field("Content-Length");
        if (length.empty())
            return out;
        const std::size_t size = std::stoul(length);
        out.end = receive_until([&] { return in.size() >= size; }, timeout);
        out.body = in.substr(0, size);
        in.erase(0, size);
        return out;
    }

    /// Everything until the peer ends the connection.
    End rest(milliseconds timeout = milliseconds{5000}) {
        return receive_until([] { return false; }, timeout);
    }

    std::string in;  ///< received and not yet taken

  private:
    int socket_ = -1;
    int error_ = 0;
};

/// A well-behaved request; `extra` are whole header lines.
inline std::string request(std::string_view method, std::string_view target,
                           std::string_view body = {}, std::string_view extra = {},
                           std::string_view authorization = "Api-Key ags_test") {
    std::string out{method};
    out.append(" ").append(target).append(" HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: test\r\n");
    out.append("Accept: application/json\r\n");
    if (!authorization.empty())
        out.append("Authorization: ").append(authorization).append("\r\n");
    if (method == "POST")
        out.append("Content-Type: application/json\r\nContent-Length: ")
            .append(std::to_string(body.size()))
            .append("\r\n");
    out.append(extra).append("\r\n").append(body);
    return out;
}

inline constexpr std::string_view old_route = "/api/conversation-feedbacks/";
inline constexpr std::string_view new_route = "/api/feedbacks/";

inline std::string get(std::string_view target) {
    return request("GET", target);
}
inline std::string post(std::string_view target, const Json& body) {
    return request("POST", target, body.dump());
}
/// A small valid creation on the older route.
inline std::string create(std::string_view comment = "fine", std::string_view name = "conv") {
    return post(old_route, {{"sentiment", "positive"},
                            {"conversation_id", std::string{name}},
                            {"comment", std::string{comment}}});
}

inline Response exchange(std::uint16_t port, std::string_view bytes) {
    RawClient client{port};
    client.send(bytes);
    return client.response();
}

}  // namespace sandbox_test
