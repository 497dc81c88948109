#include "sandbox/control.hpp"

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "sandbox/json_text.hpp"
#include "sandbox/text.hpp"

namespace sandbox {
namespace {

using Json = nlohmann::ordered_json;

Reply json(const Json& value, int status = 200) {
    return json_reply(status, value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::uint64_t number(std::string_view text, std::uint64_t fallback) {
    std::uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    return error == std::errc{} && stop == end ? value : fallback;
}

std::string time_text(std::int64_t us) {
    return us == 0 ? "null" : json_string(iso8601(us, false));
}

/// Headers and bodies may hold bytes that are not UTF-8: replaced here, kept in Server.
std::string dump(const Json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string request_json(const RequestRecord& record) {
    Json headers = Json::array();
    for (const auto& [name, value] : record.headers)
        headers.push_back(Json::array({name, value}));
    return ObjectText{}
        .number("number", static_cast<std::int64_t>(record.number))
        .number("connection", static_cast<std::int64_t>(record.connection))
        .text("method", record.method)
        .raw("target", dump(record.target))
        .raw("headers", dump(headers))
        .raw("body", dump(record.body))
        .raw("received_at", time_text(record.received_us))
        .raw("answered_at", time_text(record.answered_us))
        .number("status", record.status)
        .number("row_id", record.row_id)
        .raw("faults", dump(record.faults))
        .take();
}

std::string error_json(const ProtocolError& error) {
    return dump({{"kind", error.kind},
                 {"detail", error.detail},
                 {"connection", error.connection},
                 {"request", error.request}});
}

std::string state_json(const FaultState& state) {
    Json out = Json::parse(fault_json(state.fault));
    out["id"] = state.id;
    out["seen"] = state.seen;
    out["hits"] = state.hits;
    return out.dump();
}

template <class List, class ToText>
Reply list(const List& items, ToText to_text) {
    std::string out = "[";
    for (const auto& item : items) {
        if (out.size() > 1)
            out += ",\n";
        out += to_text(item);
    }
    return json_reply(200, out + "]\n");
}

Reply overview(Hub& hub) {
    return json({{"rows", hub.row_count()},
                 {"requests", hub.request_count()},
                 {"errors", hub.errors().size()},
                 {"connections", hub.connection_count()},
                 {"faults", hub.faults().size()},
                 {"clock_offset_ms", hub.clock_offset()}});
}

Reply add_faults(Hub& hub, const Json& body) {
    std::vector<Fault> faults;
    for (const Json& one : body.is_array() ? body : Json::array({body}))
        faults.push_back(parse_fault(one.dump()));
    Json ids = Json::array();
    for (Fault& fault : faults)
        ids.push_back(hub.add_fault(std::move(fault)));
    return json({{"ids", ids}}, 201);
}

/// Sets `member` where the object names it; a wrong type throws.
template <class Member>
void set(const Json& body, const char* name, Member& member) {
    if (body.contains(name))
        member = body.at(name).get<Member>();
}

void apply(const Json& body, Settings& settings) {
    set(body, "api_keys", settings.api_keys);
    set(body, "read_keys", settings.read_keys);
    set(body, "jwts", settings.jwts);
    set(body, "unpaid", settings.unpaid);
    set(body, "strict_conversations", settings.strict_conversations);
    set(body, "older_envelope", settings.older_envelope);
    set(body, "discard_metadata", settings.discard_metadata);
    set(body, "whole_seconds", settings.whole_seconds);
    set(body, "hide_source", settings.hide_source);
    set(body, "keep_alive_ms", settings.keep_alive_ms);
}

Reply change_settings(Hub& hub, const Json& body) {
    Settings changed = hub.settings();
    apply(body, changed);
    hub.change_settings([&](Settings& settings) { settings = changed; });
    return json({{"ok", true}});
}

Reply add_conversation(Hub& hub, const Json& body) {
    const auto id =
        hub.add_conversation(body.value("conversation_id", ""), body.value("id", std::int64_t{0}));
    return json({{"id", id}}, 201);
}

Link link_of(const Json& body) {
    if (body.contains("up"))
        return body.at("up").get<bool>() ? Link::up : Link::refused;
    const auto state = body.at("state").get<std::string>();
    if (state != "up" && state != "refused" && state != "silent")
        throw std::invalid_argument{"a link's state is up, refused or silent"};
    return state == "up" ? Link::up : state == "silent" ? Link::silent : Link::refused;
}

Reply unknown() {
    return detail_reply(404, "The control port has no such route.");
}

}  // namespace

Reply Control::get(const Request& request) {
    const std::uint64_t after = number(find_field(request.query, "after"), 0);
    if (request.path == "/")
        return overview(hub_);
    if (request.path == "/rows") {
        const auto limit =
            number(find_field(request.query, "limit"), std::numeric_limits<std::size_t>::max());
        return list(hub_.rows_after(static_cast<std::int64_t>(after), limit), row_json);
    }
    if (request.path == "/rows/count")
        return json({{"count", hub_.row_count()}});
    if (request.path == "/requests")
        return list(hub_.requests(after), request_json);
    if (request.path == "/errors")
        return list(hub_.errors(), error_json);
    if (request.path == "/faults")
        return list(hub_.faults(), state_json);
    return unknown();
}

Reply Control::post(const Request& request) {
    const Json body = request.body.empty() ? Json::object() : Json::parse(request.body);
    if (request.path == "/faults")
        return add_faults(hub_, body);
    if (request.path == "/clock")
        hub_.set_clock_offset(body.at("offset_ms").get<std::int64_t>());
    else if (request.path == "/conversations")
        return add_conversation(hub_, body);
    else if (request.path == "/settings")
        return change_settings(hub_, body);
    else if (request.path == "/link")
        set_link_(link_of(body));
    else if (request.path == "/reset")
        hub_.reset();
    else if (request.path == "/clear")
        hub_.clear_journal();
    else
        return unknown();
    return json({{"ok", true}});
}

Reply Control::remove(const Request& request) {
    const std::string_view path = request.path;
    constexpr std::string_view fault = "/faults/";
    constexpr std::string_view row = "/rows/";
    bool removed = true;
    if (path == "/faults")
        hub_.clear_faults();
    else if (path.starts_with(fault))
        removed = hub_.remove_fault(number(path.substr(fault.size()), 0));
    else if (path.starts_with(row))
        removed = hub_.remove_row(static_cast<std::int64_t>(number(path.substr(row.size()), 0)));
    else
        return unknown();
    return removed ? json({{"ok", true}}) : detail_reply(404, "There is no such id.");
}

Reply Control::handle(const Request& request) {
    try {
        if (request.method == "GET")
            return get(request);
        if (request.method == "POST")
            return post(request);
        if (request.method == "DELETE")
            return remove(request);
        return detail_reply(405, "GET, POST and DELETE only.");
    } catch (const std::exception& error) {
        return detail_reply(400, error.what());
    }
}

}  // namespace sandbox
