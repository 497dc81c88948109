#include "sandbox/inspection.hpp"

#include <algorithm>
#include <array>

#include "sandbox/api.hpp"
#include "sandbox/text.hpp"

namespace sandbox {
namespace {

/// Gathers remarks about one request.
class Inspector {
  public:
    Inspector(const Request& request, std::string_view route, const Body& body)
        : request_{request}, route_{route}, body_{body} {}

    std::vector<Remark> take() {
        look_at_fields();
        look_at_authorization();
        look_at_target();
        if (request_.method == "POST")
            look_at_body();
        else if (!request_.body.empty())
            note("unexpected_body", request_.method + " with a body");
        return std::move(remarks_);
    }

  private:
    void note(std::string kind, std::string detail) {
        remarks_.push_back({std::move(kind), std::move(detail)});
    }

    std::size_t count(std::string_view name) const { return count_fields(request_.headers, name); }

    void look_at_fields() {
        if (request_.version != 11)
            note("version", "not HTTP/1.1");
        if (count("Host") != 1)
            note("missing_host", std::to_string(count("Host")) + " Host fields");
        if (request_.header("User-Agent").empty())
            note("missing_user_agent", "no User-Agent");
        if (request_.header("Accept").find("application/json") == std::string_view::npos)
            note("accept", "Accept does not name application/json");
        for (const auto name : {"Content-Length", "Content-Type", "Accept", "Idempotency-Key"})
            if (count(name) > 1)
                note("repeated_field", name);
        for (const auto& [name, value] : request_.headers)
            if (std::any_of(value.begin(), value.end(), [](char c) { return c < ' ' || c == 127; }))
                note("header_bytes", "the value of " + name + " is not printable ASCII");
    }

    void look_at_authorization() {
        if (count("Authorization") != 1)
            return note("authorization", std::to_string(count("Authorization")) + " fields");
        const std::string_view value = request_.header("Authorization");
        const std::size_t space = value.find(' ');
        const std::string_view scheme = value.substr(0, space);
        const bool known = scheme == "Api-Key" || scheme == "Bearer";
        const std::string_view rest =
            space == std::string_view::npos ? std::string_view{} : value.substr(space + 1);
        if (!known || rest.empty() || rest.find(' ') != std::string_view::npos)
            note("authorization", "neither \"Api-Key KEY\" nor \"Bearer TOKEN\"");
    }

    void look_at_target() {
        const std::string_view target = request_.target;
        const bool plain =
            std::all_of(target.begin(), target.end(), [](char c) { return c > ' ' && c < 127; });
        if (!target.starts_with('/') || !plain || target.find('#') != std::string_view::npos)
            note("target", "not in origin form");
        if (!request_.path.ends_with('/'))
            note("trailing_slash", "the path does not end in a slash");
        if (route_.empty())
            note("unknown_route", "no such route");
        if (request_.method != "GET")
            return;
        for (const auto& [name, value] : request_.query)
            if (!is_list_filter(route_, name))
                note("unknown_filter", name.substr(0, 40));
    }

    void look_at_body() {
        if (count("Content-Length") == 0 && count("Transfer-Encoding") == 0)
            note("missing_length", "POST without a length");
        const std::string_view type = request_.header("Content-Type");
        if (!equal_ignoring_case(type, "application/json") &&
            !equal_ignoring_case(type, "application/json; charset=utf-8"))
            note("content_type", "not application/json");
        if (!body_.error.empty() || !body_.value.is_object())
            return note("body_json", "the body is not a JSON object");
        for (const std::string& name : body_.duplicate_names)
            note("duplicate_name", name.substr(0, 40));
        look_at_members();
    }

    void look_at_members() {
        constexpr std::array<std::string_view, 5> known{"sentiment", "conversation_id",
                                                        "conversation", "comment", "metadata"};
        for (const auto& [name, value] : body_.value.items()) {
            const bool kind = name == "kind" && route_ == "new";
            const bool word = std::find(known.begin(), known.end(), name) != known.end();
            if (!kind && !word)
                note("unknown_member", name.substr(0, 40));
        }
        const auto at = [&](const char* name) { return body_.value.find(name); };
        const auto end = body_.value.end();
        if (at("comment") != end && (!at("comment")->is_string() || *at("comment") == ""))
            note("empty_comment", "an empty comment, or none, was sent");
        if (at("metadata") != end && (!at("metadata")->is_object() || at("metadata")->empty()))
            note("empty_metadata", "an empty metadata object, or none, was sent");
        if (at("conversation_id") != end && !at("conversation_id")->is_string())
            note("member_type", "conversation_id is not text");
        if (at("conversation") != end && !at("conversation")->is_number_integer())
            note("member_type", "conversation is not an integer");
        if ((at("conversation") != end) == (at("conversation_id") != end))
            note("conversation", "not exactly one of conversation and conversation_id");
    }

    const Request& request_;
    std::string_view route_;
    const Body& body_;
    std::vector<Remark> remarks_;
};

}  // namespace

std::vector<Remark> inspect(const Request& request, std::string_view route, const Body& body) {
    return Inspector{request, route, body}.take();
}

}  // namespace sandbox
