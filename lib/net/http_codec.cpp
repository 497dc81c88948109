#include "net/http_codec.hpp"

#include <algorithm>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <charconv>
#include <cstring>
#include <utility>

#include "core/text.hpp"

namespace agentsight::net {

namespace http = boost::beast::http;
using boost::system::error_code;
using core::Failure;

namespace {

boost::string_view beast_view(std::string_view text) {
    return {text.data(), text.size()};
}

bool fit_for_a_line(std::string_view text) {
    return text.find_first_of(std::string_view{"\r\n\0", 3}) == std::string_view::npos;
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
    out.append(name).append(": ").append(value).append("\r\n");
}

void append_field_if(std::string& out, std::string_view name, std::string_view value) {
    if (!value.empty()) {
        append_field(out, name, value);
    }
}

bool same(std::string_view left, std::string_view right) {
    return boost::beast::iequals(beast_view(left), beast_view(right));
}

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// Where nothing is said the receiver may look for itself (RFC 9110, section 8.3): whether the body
/// is JSON its parser tells.
bool is_json(std::string_view content_type) {
    const std::string_view type = trimmed(content_type.substr(0, content_type.find(';')));
    if (type.empty()) {
        return true;
    }
    constexpr std::string_view family = "application/";
    if (type.size() <= family.size() || !same(type.substr(0, family.size()), family)) {
        return false;
    }
    const std::string_view name = type.substr(family.size());
    return same(name, "json") || (name.size() > 5 && same(name.substr(name.size() - 5), "+json"));
}

/// The N of "timeout=N" among the parameters of Keep-Alive.
std::optional<int> keep_alive_timeout(std::string_view field) {
    while (!field.empty()) {
        const auto comma = field.find(',');
        const std::string_view part = trimmed(field.substr(0, comma));
        field = comma == std::string_view::npos ? std::string_view{} : field.substr(comma + 1);
        const auto equals = part.find('=');
        if (equals == std::string_view::npos || !same(trimmed(part.substr(0, equals)), "timeout")) {
            continue;
        }
        const std::string_view digits = trimmed(part.substr(equals + 1));
        int seconds = 0;
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
        // Larger than an int is long enough for any use of ours; anything else is no hint.
        if (error == std::errc::result_out_of_range) {
            return std::nullopt;
        }
        if (error == std::errc{} && end == digits.data() + digits.size()) {
            return std::max(seconds, 0);
        }
    }
    return std::nullopt;
}

}  // namespace

bool serialize(const RequestHead& request, core::SecretText& message) {
    for (const std::string_view value :
         {request.method, request.target, request.host, request.user_agent, request.authorization,
          request.proxy_authorization, request.idempotency_key}) {
        if (!fit_for_a_line(value)) {
            return false;
        }
    }
    // Beast's serializer writes the same bytes, but brings 40 KB of code and a tree of fields
    // along.
    constexpr std::size_t names_of_fields = 512;
    std::string& out = message.renew(names_of_fields + request.target.size() + request.host.size() +
                                     request.user_agent.size() + request.authorization.size() +
                                     request.proxy_authorization.size() +
                                     request.idempotency_key.size() + request.body.size());
    out.append(request.method).append(" ").append(request.target).append(" HTTP/1.1\r\n");
    append_field(out, "Host", request.host);
    append_field(out, "User-Agent", request.user_agent);
    append_field_if(out, "Authorization", request.authorization);
    append_field_if(out, "Proxy-Authorization", request.proxy_authorization);
    if (request.method != "CONNECT") {
        append_field(out, "Accept", "application/json");
        append_field(out, "Accept-Encoding", "identity");
    }
    append_field_if(out, "Idempotency-Key", request.idempotency_key);
    if (request.method == "POST") {
        append_field(out, "Content-Type", "application/json");
        append_field(out, "Content-Length", std::to_string(request.body.size()));
    }
    out.append("\r\n").append(request.body);
    return true;
}

class ResponseReader::Impl {
  public:
    explicit Impl(ResponseLimits limits)
        : limits_(limits),
          // A whole head must fit; body bytes are handed on as they come.
          capacity_(std::max<std::size_t>(limits.header_bytes + 1024, 16 * 1024)),
          buffer_(std::make_unique_for_overwrite<char[]>(capacity_)) {}

    void start(Kind kind, std::size_t more_body) {
        kind_ = kind;
        most_body_ = limits_.body_bytes + more_body;
        interim_ = 0;
        failure_ = Failure::none;
        next_response();
    }

    std::span<char> room() {
        if (begin_ > 0) {
            std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
            end_ -= begin_;
            begin_ = 0;
        }
        return {buffer_.get() + end_, capacity_ - end_};
    }

    State received(std::size_t size) {
        end_ += size;
        // Each turn either consumes bytes or returns.
        for (;;) {
            const State state = parse();
            if (state != State::complete || !is_interim()) {
                return state;
            }
            if (parser_->get().result_int() == 101) {
                return fail(Failure::malformed, "the answer switches protocols unasked");
            }
            if (++interim_ > most_interim) {
                return fail(Failure::malformed, "too many interim responses");
            }
            next_response();
        }
    }

    Response take() {
        auto message = parser_->release();
        Response response;
        response.status = static_cast<int>(message.result_int());
        response.keep_alive = message.keep_alive();
        response.json = is_json(text(message, http::field::content_type));
        if (const auto found = message.find(http::field::retry_after); found != message.end()) {
            response.retry_after.emplace(found->value());
        }
        response.date = text(message, http::field::date);
        response.location = text(message, http::field::location);
        response.idle_seconds = keep_alive_timeout(text(message, http::field::keep_alive));
        response.body = std::move(message.body());
        parser_.reset();
        return response;
    }

    Failure failure_ = Failure::none;
    std::string detail_;
    bool leftover() const noexcept { return begin_ != end_; }

  private:
    using Parser = http::response_parser<http::string_body>;
    /// No chunked body ends in fewer unread bytes ("0", CRLF, CRLF), and Beast asserts that
    /// it is not asked again about a last chunk with fewer at hand.
    static constexpr std::size_t least_chunked = 5;

    template <class Message>
    static std::string_view text(const Message& message, http::field name) {
        const auto value = message[name];
        return {value.data(), value.size()};
    }

    void next_response() {
        parser_.emplace();
        parser_->header_limit(static_cast<std::uint32_t>(limits_.header_bytes));
        parser_->body_limit(most_body_);
        // RFC 9110, section 9.3.6: the tunnel begins after the head of a 2xx. The body of a
        // refusal is not worth reading: the connection ends.
        parser_->skip(kind_ == Kind::connect);
    }

    bool is_interim() { return parser_->get().result_int() / 100 == 1; }

    State fail(Failure why, std::string detail) {
        failure_ = why;
        detail_ = std::move(detail);
        return State::failed;
    }

    State fail(const error_code& error) {
        if (error == http::error::header_limit) {
            return fail(Failure::too_large, "the answer's header is larger than " +
                                                std::to_string(limits_.header_bytes) + " bytes");
        }
        if (error == http::error::body_limit) {
            return fail(Failure::too_large, "the answer's body is larger than " +
                                                std::to_string(most_body_) + " bytes");
        }
        return fail(Failure::malformed,
                    "the answer is not HTTP: " + core::printable(error.message()));
    }

    /// Bytes into the parser: first the head alone, so that it can be judged before any body.
    State parse() {
        while (!parser_->is_done()) {
            const bool head = !parser_->is_header_done();
            if (end_ - begin_ < (head || !parser_->chunked() ? 1 : least_chunked)) {
                return State::more;
            }
            parser_->eager(!head);
            error_code error;
            const std::size_t consumed = parser_->put(
                boost::asio::const_buffer(buffer_.get() + begin_, end_ - begin_), error);
            begin_ += consumed;
            if (error == http::error::need_more) {
                return need_more();
            }
            if (error) {
                return fail(error);
            }
            if (head && parser_->is_header_done()) {
                if (const State state = judge_head(); state != State::more) {
                    return state;
                }
            }
        }
        return State::complete;
    }

    State need_more() {
        if (begin_ == 0 && end_ == capacity_) {
            return fail(Failure::too_large, "the answer has a line that is too long");
        }
        return State::more;
    }

    /// `more`: go on with the body.
    State judge_head() {
        const auto& head = parser_->get();
        if (head.result_int() < 100 || head.result_int() > 599) {
            return fail(Failure::malformed, "the answer's status is none of HTTP's");
        }
        if (is_interim() || kind_ == Kind::connect) {
            return State::more;
        }
        if (const auto encoding = text(head, http::field::content_encoding);
            !encoding.empty() && !same(encoding, "identity")) {
            return fail(Failure::malformed, "the answer is compressed (" +
                                                core::printable(encoding, 40) +
                                                "), which was not asked for");
        }
        // RFC 9112, sections 6.1 and 6.3: beside another coding a length does not count.
        const auto codings = head.count(http::field::transfer_encoding);
        if (codings > 1 ||
            (codings == 1 && !same(text(head, http::field::transfer_encoding), "chunked"))) {
            return fail(Failure::malformed, "the answer has a transfer encoding besides chunked");
        }
        if (parser_->need_eof() && !parser_->is_done()) {
            return fail(Failure::malformed, "the answer's body has neither length nor chunks");
        }
        return State::more;
    }

    const ResponseLimits limits_;
    const std::size_t capacity_;
    const std::unique_ptr<char[]> buffer_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::optional<Parser> parser_;
    Kind kind_ = Kind::ordinary;
    std::size_t most_body_ = 0;
    int interim_ = 0;
};

ResponseReader::ResponseReader(ResponseLimits limits) : impl_(std::make_unique<Impl>(limits)) {}
ResponseReader::~ResponseReader() = default;

void ResponseReader::start(Kind kind, std::size_t more_body) {
    impl_->start(kind, more_body);
}
std::span<char> ResponseReader::room() {
    return impl_->room();
}
ResponseReader::State ResponseReader::received(std::size_t size) {
    return impl_->received(size);
}
Response ResponseReader::take() {
    return impl_->take();
}
Failure ResponseReader::failure() const noexcept {
    return impl_->failure_;
}
const std::string& ResponseReader::detail() const noexcept {
    return impl_->detail_;
}
bool ResponseReader::leftover() const noexcept {
    return impl_->leftover();
}

}  // namespace agentsight::net
