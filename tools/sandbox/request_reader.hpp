#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "sandbox/http.hpp"

namespace sandbox {

/// Parses one request after another from bytes as they come. Knows no socket; the only
/// file behind it that includes the parser.
class RequestReader {
  public:
    enum class State {
        more,            ///< wants more bytes
        wants_continue,  ///< so does the client: it waits for a 100
        complete,
        malformed,
        header_too_large,
        body_too_large,
    };

    RequestReader();
    ~RequestReader();

    /// Forgets everything and expects a new request.
    void reset();
    /// Takes bytes off the front of `in`, not beyond the request's end.
    State feed(std::string& in);
    /// Whether bytes of an incomplete request were taken.
    bool within_request() const;
    /// What is wrong, in the parser's words.
    const std::string& error() const { return error_; }

    /// Once, after State::complete.
    Request take();
    /// Whether the client wants the connection to stand.
    bool keep_alive() const;

  private:
    struct Parser;
    std::unique_ptr<Parser> parser_;
    std::string error_;
};

}  // namespace sandbox
