#include "sandbox/fault.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace sandbox {
namespace {

using Json = nlohmann::ordered_json;

struct Kind {
    FaultKind kind;
    std::string_view name;
    std::string_view words;
    std::string_view example;  ///< of its members
};

constexpr std::array<Kind, 29> kinds{{
    {FaultKind::hang_connect, "hang_connect", "the connection is accepted, and never read", ""},
    {FaultKind::slow_accept, "slow_accept", "the connection is accepted late", "ms=500"},
    {FaultKind::reset_accept, "reset_accept", "the connection is accepted and reset", ""},
    {FaultKind::latency, "latency", "waits before the request is looked at", "ms=200"},
    {FaultKind::interim, "interim", "100, 103 or 101 before the reply", "status=103,count=2"},
    {FaultKind::status, "status", "answers this status, stores nothing",
     "status=503,retry_after=5"},
    {FaultKind::error_after_store, "error_after_store", "stores the row, then answers 500", ""},
    {FaultKind::drop_before, "drop_before", "closes before the row is stored", ""},
    {FaultKind::drop_after, "drop_after", "stores the row, closes without a reply", ""},
    {FaultKind::hang, "hang", "reads, never answers", "store=true"},
    {FaultKind::late, "late", "answers 504, and stores the row later", "ms=3000"},
    {FaultKind::throttle, "throttle", "429 after so many requests in a while",
     "requests=5,per_ms=1000"},
    {FaultKind::route_removed, "route_removed", "a 404 page for the old or the new route",
     "generation=old"},
    {FaultKind::captive_portal, "captive_portal", "a 200 page, or with status=302 a redirect",
     "status=302,location=http://127.0.0.1/login"},
    {FaultKind::duplicate, "duplicate", "stores two rows, as a proxy that repeats does", ""},
    {FaultKind::rewrite, "rewrite", "stores another comment", "body=other"},
    {FaultKind::stale_list, "stale_list", "young rows are not shown", "ms=5000"},
    {FaultKind::cut, "cut", "only the first bytes of the reply", "at=40"},
    {FaultKind::giant, "giant", "a reply of so many bytes", "bytes=10000000"},
    {FaultKind::wrong_length, "wrong_length", "Content-Length is off by so many bytes", "bytes=10"},
    {FaultKind::close_delimited, "close_delimited", "a reply without a length", ""},
    {FaultKind::chunked, "chunked", "a chunked reply; variant=cut: without its end", "variant=cut"},
    {FaultKind::gzip, "gzip", "a compressed reply", ""},
    {FaultKind::bad_json, "bad_json", "a reply without its last character", ""},
    {FaultKind::malformed, "malformed", "a reply that is no HTTP", "body=nonsense"},
    {FaultKind::headers, "headers", "replaces, adds or (empty) removes header fields",
     "header.Date="},
    {FaultKind::drip, "drip", "the reply comes a few bytes at a time", "bytes=1,interval_ms=100"},
    {FaultKind::close_idle, "close_idle", "closes the connection after the reply, unannounced",
     "ms=100"},
    {FaultKind::push_idle, "push_idle", "an unasked 408 after the reply", "ms=100"},
}};

FaultKind kind_named(const std::string& name) {
    for (const Kind& kind : kinds)
        if (kind.name == name)
            return kind.kind;
    throw std::invalid_argument{"no fault is called \"" + name + "\""};
}

/// Calls visit(name, member) for every plain member, so that reading and writing agree.
template <class AnyFault, class Visit>
void for_each_member(AnyFault& fault, Visit visit) {
    visit("route", fault.route);
    visit("method", fault.method);
    visit("path", fault.path);
    visit("comment", fault.comment);
    visit("conversation_id", fault.conversation_id);
    visit("skip", fault.skip);
    visit("nth", fault.nth);
    visit("every", fault.every);
    visit("times", fault.times);
    visit("probability", fault.probability);
    visit("seed", fault.seed);
    visit("status", fault.status);
    visit("body", fault.body);
    visit("retry_after", fault.retry_after);
    visit("location", fault.location);
    visit("at", fault.at);
    visit("bytes", fault.bytes);
    visit("ms", fault.ms);
    visit("interval_ms", fault.interval_ms);
    visit("count", fault.count);
    visit("requests", fault.requests);
    visit("per_ms", fault.per_ms);
    visit("store", fault.store);
    visit("reset", fault.reset);
    visit("generation", fault.generation);
    visit("variant", fault.variant);
}

std::string as_text(const Json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
}

void read_member(const Json& value, std::string& member) {
    member = as_text(value);
}
void read_member(const Json& value, bool& member) {
    if (!value.is_boolean())
        throw std::invalid_argument{"wants true or false"};
    member = value.get<bool>();
}
void read_member(const Json& value, double& member) {
    if (!value.is_number())
        throw std::invalid_argument{"wants a number"};
    member = value.get<double>();
}

template <class Integer>
void read_member(const Json& value, Integer& member) {
    if (!value.is_number_integer())
        throw std::invalid_argument{"wants an integer"};
    member = value.get<Integer>();
}

void read_headers(const Json& value, Fields& headers) {
    for (const auto& [name, text] : value.items())
        headers.emplace_back(name, text.is_null() ? std::string{} : as_text(text));
}

bool read_named(Fault& fault, const std::string& name, const Json& value) {
    bool known = false;
    for_each_member(fault, [&](std::string_view member_name, auto& member) {
        if (member_name != name)
            return;
        known = true;
        read_member(value, member);
    });
    return known;
}

void read_into(Fault& fault, const std::string& name, const Json& value) {
    try {
        if (name == "kind")
            fault.kind = kind_named(as_text(value));
        else if (name == "headers")
            read_headers(value, fault.headers);
        else if (!read_named(fault, name, value))
            throw std::invalid_argument{"is not a member of a fault"};
    } catch (const std::exception& error) {
        throw std::invalid_argument{"fault member \"" + name + "\": " + error.what()};
    }
}

Fault from_json(const Json& json) {
    if (!json.is_object() || !json.contains("kind"))
        throw std::invalid_argument{"a fault is an object with a \"kind\""};
    Fault fault;
    for (const auto& [name, value] : json.items())
        read_into(fault, name, value);
    return fault;
}

/// "header.Retry-After=5" and "member=value", where a value that reads as JSON is JSON.
void read_assignment(Fault& fault, std::string_view item) {
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos)
        throw std::invalid_argument{"fault member without \"=\": " + std::string{item}};
    const std::string name{item.substr(0, equals)};
    const std::string text{item.substr(equals + 1)};
    if (name.starts_with("header.")) {
        fault.headers.emplace_back(name.substr(7), text);
        return;
    }
    const Json value = Json::parse(text, nullptr, false);
    read_into(fault, name, value.is_discarded() ? Json(text) : value);
}

Fault from_list(std::string_view spec) {
    Fault fault;
    std::size_t end = spec.find(',');
    fault.kind = kind_named(std::string{spec.substr(0, end)});
    while (end != std::string_view::npos) {
        spec.remove_prefix(end + 1);
        end = spec.find(',');
        read_assignment(fault, spec.substr(0, end));
    }
    return fault;
}

void check(const Fault& fault) {
    if (fault.every < 1 || fault.skip < 0 || fault.nth < 0)
        throw std::invalid_argument{"a fault's every counts from 1, skip and nth from 0"};
    if (fault.status != Fault::unset && fault.status != 0 &&
        (fault.status < 100 || fault.status > 999))
        throw std::invalid_argument{"a fault's status has three digits"};
    for (const std::int64_t wait : {fault.ms, fault.interval_ms, fault.per_ms})
        if (wait != Fault::unset && (wait < 0 || wait > 86'400'000))
            throw std::invalid_argument{"a fault's times are between 0 and a day"};
    if (!(fault.probability >= 0 && fault.probability <= 1))
        throw std::invalid_argument{"a fault's probability is between 0 and 1"};
    for (const std::int64_t count : {fault.count, fault.requests})
        if (count != Fault::unset && count < 0)
            throw std::invalid_argument{"a fault's count and requests count from 0"};
    if (fault.bytes != Fault::unset && fault.bytes < 1 && fault.kind != FaultKind::wrong_length)
        throw std::invalid_argument{"a fault's bytes count from 1; only wrong_length takes others"};
    if (fault.per_ms == 0)
        throw std::invalid_argument{"a fault's per_ms is at least 1"};
}

bool is_default(const std::string& value) {
    return value.empty();
}
bool is_default(bool value) {
    return !value;
}
bool is_default(std::int64_t value) {
    return value == Fault::unset;
}
template <class Number>
bool is_default(Number) {
    return false;
}

}  // namespace

std::string_view name_of(FaultKind kind) {
    const auto* at = std::find_if(kinds.begin(), kinds.end(),
                                  [&](const Kind& entry) { return entry.kind == kind; });
    return at->name;
}

std::string kind_names() {
    std::string out;
    for (const Kind& kind : kinds)
        out.append(out.empty() ? "" : ", ").append(kind.name);
    return out;
}

std::string kinds_help() {
    std::string out;
    for (const Kind& kind : kinds) {
        out.append("  ").append(kind.name);
        out.append(18 - kind.name.size(), ' ').append(kind.words).append("\n");
        out.append(20, ' ').append("--fault ").append(kind.name);
        out.append(kind.example.empty() ? "" : ",").append(kind.example).append("\n");
    }
    return out;
}

Fault parse_fault(std::string_view spec) {
    Fault fault;
    if (spec.starts_with('{')) {
        const Json json = Json::parse(spec, nullptr, false);
        if (json.is_discarded())
            throw std::invalid_argument{"the fault is not JSON"};
        fault = from_json(json);
    } else {
        fault = from_list(spec);
    }
    check(fault);
    return fault;
}

std::string fault_json(const Fault& fault) {
    Json out{{"kind", name_of(fault.kind)}};
    for_each_member(fault, [&](const char* name, const auto& member) {
        if (!is_default(member))
            out[name] = member;
    });
    for (const auto& [name, value] : fault.headers)
        out["headers"][name] = value;
    return out.dump();
}

}  // namespace sandbox
