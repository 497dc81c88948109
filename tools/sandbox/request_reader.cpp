#include "sandbox/request_reader.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>

#include "sandbox/text.hpp"

namespace sandbox {
namespace {

namespace http = boost::beast::http;

constexpr std::uint32_t header_limit = 16 * 1024;
constexpr std::uint64_t body_limit = 2'621'440;  // Django's DATA_UPLOAD_MAX_MEMORY_SIZE

std::string_view view(boost::beast::string_view text) {
    return {text.data(), text.size()};
}

}  // namespace

struct RequestReader::Parser {
    std::optional<http::request_parser<http::string_body>> http;
    bool told_to_continue = false;
};

RequestReader::RequestReader() : parser_{std::make_unique<Parser>()} {
    reset();
}
RequestReader::~RequestReader() = default;

void RequestReader::reset() {
    parser_->http.emplace();
    parser_->http->eager(true);
    parser_->http->header_limit(header_limit);
    parser_->http->body_limit(body_limit);
    parser_->told_to_continue = false;
}

RequestReader::State RequestReader::feed(std::string& in) {
    boost::system::error_code error;
    auto& parser = *parser_->http;
    const std::size_t used = parser.put(boost::asio::buffer(in), error);
    in.erase(0, used);
    if (error == http::error::header_limit)
        return State::header_too_large;
    if (error == http::error::body_limit)
        return State::body_too_large;
    if (error && error != http::error::need_more) {
        error_ = error.message();
        return State::malformed;
    }
    if (parser.is_done())
        return State::complete;
    const bool waits = parser.is_header_done() && !parser_->told_to_continue &&
                       equal_ignoring_case(view(parser.get()[http::field::expect]), "100-continue");
    parser_->told_to_continue = parser_->told_to_continue || waits;
    return waits ? State::wants_continue : State::more;
}

bool RequestReader::within_request() const {
    return parser_->http->got_some();
}

bool RequestReader::keep_alive() const {
    return parser_->http->keep_alive();
}

Request RequestReader::take() {
    auto& message = parser_->http->get();
    Request request;
    request.version = message.version();
    request.method = view(message.method_string());
    request.target = view(message.target());
    const std::size_t question = request.target.find('?');
    request.path = request.target.substr(0, question);
    if (question != std::string::npos)
        request.query = parse_query(std::string_view{request.target}.substr(question + 1));
    for (const auto& field : message)
        request.headers.emplace_back(view(field.name_string()), view(field.value()));
    request.body = std::move(message.body());
    return request;
}

}  // namespace sandbox
