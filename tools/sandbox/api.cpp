#include "sandbox/api.hpp"

#include <algorithm>
#include <charconv>

#include "sandbox/json_text.hpp"
#include "sandbox/text.hpp"

namespace sandbox {
namespace {

struct Credential {
    std::string_view scheme;
    std::string_view value;
};

Credential credential_of(const Request& request) {
    const std::string_view field = request.header("Authorization");
    const std::size_t space = field.find(' ');
    if (space == std::string_view::npos)
        return {field, {}};
    return {field.substr(0, space), strip(field.substr(space + 1))};
}

bool contains(const std::vector<std::string>& list, std::string_view value) {
    return std::find(list.begin(), list.end(), value) != list.end();
}

bool key_known(const Settings& settings, std::string_view key) {
    return !key.empty() && (contains(settings.read_keys, key) || settings.api_keys.empty() ||
                            contains(settings.api_keys, key));
}

Reply unauthorized(std::string_view words) {
    Reply reply = detail_reply(401, words);
    reply.headers.emplace_back("WWW-Authenticate", "Api-Key");
    return reply;
}

/// None: the credential is good for a request of that method.
std::optional<Reply> refuse_credential(const Request& request, const Settings& settings) {
    const Credential credential = credential_of(request);
    const bool key = equal_ignoring_case(credential.scheme, "Api-Key");
    const bool jwt = equal_ignoring_case(credential.scheme, "Bearer");
    if (!key && !jwt)
        return unauthorized("Authentication credentials were not provided.");
    if (key && !key_known(settings, credential.value))
        return unauthorized("Invalid API key.");
    if (jwt && (credential.value.empty() ||
                (!settings.jwts.empty() && !contains(settings.jwts, credential.value))))
        return unauthorized("Given token not valid for any token type");
    if (settings.unpaid)
        return unauthorized("Agent does not have an active subscription or development phase.");
    if (key && contains(settings.read_keys, credential.value) && request.method != "GET")
        return detail_reply(403, "You do not have permission to perform this action.");
    return std::nullopt;
}

std::string_view allowed_methods(std::string_view route) {
    if (route == "old")
        return "POST";
    return route == "new" ? "GET, POST" : "GET";
}

Reply method_not_allowed(const Request& request, std::string_view allowed) {
    Reply reply = detail_reply(405, "Method \"" + request.method + "\" not allowed.");
    reply.headers.emplace_back("Allow", allowed);
    return reply;
}

Reply who_am_i(const Request& request, const Settings& settings) {
    const bool reader = contains(settings.read_keys, credential_of(request).value);
    ObjectText body;
    body.number("agent_id", 20)
        .text("agent_name", "Sandbox")
        .text("role", reader ? "read" : "write")
        .raw("environments", R"([{"id":40,"name":"development"}])")
        .raw("capabilities", R"(["feedbacks"])");
    return json_reply(200, body.take());
}

Reply read(const Request& request, const RouteMatch& match, const ApiContext& context) {
    if (match.route == "new")
        return list_feedbacks(request, context);
    if (match.route == "conversations")
        return list_conversations(request, context);
    if (match.route == "lookup")
        return lookup_conversation(request, context);
    if (match.route == "me")
        return who_am_i(request, context.settings);
    return show_conversation(match.key, context);
}

/// What a browser sees: the same data within a page.
Reply browsable(Reply reply) {
    std::string page =
        "<!DOCTYPE html>\n<html>\n<head><title>Sandbox API</title></head>\n<body>\n<pre>";
    for (const char c : reply.body)
        page += c == '<' ? std::string{"&lt;"} : c == '&' ? std::string{"&amp;"} : std::string{c};
    reply.body = page + "</pre>\n</body>\n</html>\n";
    reply.content_type = "text/html; charset=utf-8";
    return reply;
}

bool wants_page(const Request& request) {
    return request.method == "GET" &&
           request.header("Accept").find("application/json") == std::string_view::npos;
}

Prepared judge(const Request& request, const RouteMatch& match, const Body& body,
               const ApiContext& context) {
    if (auto refused = refuse_credential(request, context.settings))
        return {.reply = std::move(*refused)};
    const std::string_view allowed = allowed_methods(match.route);
    if (allowed.find(request.method) == std::string_view::npos)
        return {.reply = method_not_allowed(request, allowed)};
    if (request.method == "POST")
        return prepare_creation(request, match.route, body, context);
    return {.reply = read(request, match, context)};
}

}  // namespace

RouteMatch match_route(std::string_view path) {
    if (path == "/api/conversation-feedbacks/")
        return {"old"};
    if (path == "/api/feedbacks/")
        return {"new"};
    if (path == "/api/conversations/")
        return {"conversations"};
    if (path == "/api/conversations/lookup/")
        return {"lookup"};
    if (path == "/api/me/")
        return {"me"};
    constexpr std::string_view prefix = "/api/conversations/";
    if (!path.starts_with(prefix) || !path.ends_with('/'))
        return {};
    const std::string_view text = path.substr(prefix.size(), path.size() - prefix.size() - 1);
    std::int64_t key = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), key);
    const bool number = error == std::errc{} && end == text.data() + text.size() && key >= 0;
    return number ? RouteMatch{"conversation", key} : RouteMatch{};
}

Prepared prepare(const Request& request, const Body& body, const ApiContext& context) {
    const RouteMatch match = match_route(request.path);
    if (match.route.empty())
        return {.reply = no_route()};
    Prepared prepared = judge(request, match, body, context);
    if (wants_page(request))
        prepared.reply = browsable(std::move(prepared.reply));
    return prepared;
}

}  // namespace sandbox
