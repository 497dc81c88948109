#include "sandbox/http.hpp"

#include <boost/beast/http/status.hpp>

#include "sandbox/json_text.hpp"
#include "sandbox/text.hpp"

namespace sandbox {

std::string_view Request::header(std::string_view name) const {
    return find_field(headers, name);
}

Reply json_reply(int status, std::string body) {
    return {.status = status, .content_type = "application/json", .body = std::move(body)};
}

Reply html_reply(int status, std::string_view title) {
    const std::string text{title};
    return {.status = status,
            .content_type = "text/html; charset=utf-8",
            .body = "\n<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>" + text +
                    "</title>\n</head>\n<body>\n  <h1>" + text +
                    "</h1><p></p>\n</body>\n</html>\n"};
}

Reply detail_reply(int status, std::string_view words) {
    return json_reply(status, ObjectText{}.text("detail", words).take());
}

Reply no_route() {
    return html_reply(404, "Not Found");
}

std::string_view reason_phrase(int status) {
    const auto words = boost::beast::http::obsolete_reason(
        boost::beast::http::int_to_status(static_cast<unsigned>(status)));
    return {words.data(), words.size()};
}

}  // namespace sandbox
