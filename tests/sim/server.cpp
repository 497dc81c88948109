#include "server.hpp"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/civil_time.hpp"
#include "core/text.hpp"

namespace agentsight::sim {

namespace {

using Json = nlohmann::json;
using Kind = Phase::Kind;

Reply error(int status, const std::string& detail) {
    return {.status = status, .body = Json{{"detail", detail}}.dump()};
}

Reply html(int status) {
    return {.status = status, .body = "<html><body>Hello</body></html>", .json = false};
}

int hex(char c) {
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

std::string decode(const std::string& text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size()) {
            out.push_back(static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2])));
            i += 2;
        } else {
            out.push_back(text[i]);
        }
    }
    return out;
}

std::map<std::string, std::string> parse_query(const std::string& target) {
    std::map<std::string, std::string> query;
    std::size_t at = target.find('?');
    while (at != std::string::npos && at < target.size()) {
        const std::size_t end = std::min(target.find('&', at + 1), target.size());
        const std::string part = target.substr(at + 1, end - at - 1);
        const std::size_t equals = part.find('=');
        query[part.substr(0, equals)] = decode(part.substr(equals + 1));
        at = end < target.size() ? end : std::string::npos;
    }
    return query;
}

/// In one of the three forms that HTTP allows.
std::string http_date(core::UtcMs utc_ms, int form) {
    static constexpr const char* days[] = {"Thursday", "Friday",  "Saturday", "Sunday",
                                           "Monday",   "Tuesday", "Wednesday"};
    static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const core::CivilTime time = core::civil_time(utc_ms);
    const std::string day = days[utc_ms / 86'400'000 % 7];
    const char* const month = months[time.month - 1];
    char text[64];
    if (form == 0) {
        std::snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT",
                      day.substr(0, 3).c_str(), time.day, month, time.year, time.hour, time.minute,
                      time.second);
    } else if (form == 1) {
        std::snprintf(text, sizeof text, "%s, %02d-%s-%02d %02d:%02d:%02d GMT", day.c_str(),
                      time.day, month, time.year % 100, time.hour, time.minute, time.second);
    } else {
        std::snprintf(text, sizeof text, "%s %s %2d %02d:%02d:%02d %04d", day.substr(0, 3).c_str(),
                      month, time.day, time.hour, time.minute, time.second, time.year);
    }
    return text;
}

/// Business ids of the simulation are "c0", "c1" ...; their database ids follow.
std::string database_id(const std::string& conversation) {
    return conversation.front() == '#' ? conversation.substr(1)
                                       : std::to_string(1'000 + std::stoi(conversation.substr(2)));
}

}  // namespace

Server::Server(const Scenario& scenario, test::TestRandom& random)
    : scenario_(scenario), random_(random) {}

core::UtcMs Server::date(Time now) const {
    return (epoch + now) / 1000 * 1000;
}

int Server::arrivals(const std::string& record) const {
    const auto found = arrivals_.find(record);
    return found == arrivals_.end() ? 0 : found->second;
}

Reply Server::handle(const core::HttpRequest& request, Credential::Kind kind, Time now) {
    if (auto reply = in_the_way(request, now)) {
        return *reply;
    }
    return request.method == core::HttpRequest::Method::post ? post(request, kind, now)
                                                             : get(request, now);
}

/// Answers of somebody who stands before the API.
std::optional<Reply> Server::in_the_way(const core::HttpRequest& request, Time now) {
    if (scenario_.active(Kind::portal, now)) {
        switch (scenario_.seed % 3) {
            case 0:
                return html(200);
            case 1:
                return html(302);
            default:
                return html(511);
        }
    }
    if (scenario_.active(Kind::proxy_auth, now)) {
        return html(407);
    }
    if (scenario_.has_poison && request.body.find("DROP TABLE") != std::string::npos) {
        return html(403);
    }
    if (scenario_.active(Kind::outage_before, now)) {
        return html(random_.below(2) == 0 ? 500 : 503);
    }
    const bool well = now >= scenario_.faults_until;
    if (!well && static_cast<int>(random_.below(1'000)) < scenario_.not_processed) {
        return html(random_.below(2) == 0 ? 408 : 425);
    }
    if (!well && static_cast<int>(random_.below(1'000)) < scenario_.moody) {
        return moody(now);
    }
    if (scenario_.active(Kind::throttle, now)) {
        Reply reply = error(429, "Request was throttled.");
        reply.retry_after = std::to_string(1 + random_.below(60));
        return reply;
    }
    return std::nullopt;
}

Reply Server::moody(Time now) {
    Reply reply = error(random_.below(2) == 0 ? 429 : 503, "Not now.");
    const auto wait = static_cast<Time>(random_.below(90));
    switch (random_.below(3)) {
        case 0:
            reply.retry_after = std::to_string(wait);
            break;
        case 1:
            reply.retry_after =
                http_date(date(now) + 1'000 * wait, static_cast<int>(random_.below(3)));
            break;
        default:
            reply.status = 429;  // a 503 that says nothing may be processed
            if (random_.below(2) == 0) {
                reply.retry_after = "a moment";
            }
    }
    return reply;
}

Reply Server::post(const core::HttpRequest& request, Credential::Kind kind, Time now) {
    ++arrivals_[request.idempotency_key];
    const bool older = request.target == "/api/conversation-feedbacks/";
    if (scenario_.active(older ? Kind::old_route_gone : Kind::new_route_gone, now)) {
        return html(404);
    }
    if (scenario_.active(Kind::unpaid, now)) {
        return error(401, "Agent does not have an active subscription or development phase.");
    }
    if (scenario_.active(Kind::key_invalid, now)) {
        return error(401, "Invalid API key.");
    }
    const Json body = Json::parse(request.body);
    Row row;
    row.id = static_cast<int>(rows_.size()) + 1;
    row.record = request.idempotency_key;
    row.conversation =
        body.contains("conversation")
            ? "#" + std::to_string(body["conversation"].get<int>())
            : "=" + std::string{core::strip(body["conversation_id"].get<std::string>())};
    row.sentiment = body["sentiment"];
    row.comment = core::strip(body.value("comment", ""));
    row.of_platform = kind == Credential::Kind::jwt;
    row.created = now + scenario_.database_skew;
    if (row.conversation.substr(1) == missing_conversation) {
        return error(404, "Not found.");
    }
    if (row.comment == refused_comment) {
        return error(400, "No.");
    }
    if (row.comment == failing_comment) {
        return html(500);
    }
    rows_.push_back(row);
    Reply reply{.status = 201, .body = row_json(row, true)};
    if (scenario_.active(Kind::outage_after, now)) {
        return html(504);
    }
    return reply;
}

bool Server::is_visible(const Row& row, Time now) const {
    const Time lag = scenario_.active(Kind::stale_list, now) ? scenario_.list_lag : 0;
    return row.created - scenario_.database_skew <= now - lag;
}

std::string Server::row_json(const Row& row, bool with_conversation) const {
    Json json{{"id", row.id},
              {"sentiment", row.sentiment},
              {"comment", row.comment},
              {"source", row.of_platform ? "platform" : "customer"},
              {"created_at", core::iso8601(epoch + row.created)}};
    if (with_conversation) {
        json["conversation"] = std::stoi(database_id(row.conversation));
        json["conversation_id"] =
            row.conversation.front() == '=' ? Json(row.conversation.substr(1)) : Json(nullptr);
    }
    return json.dump();
}

Reply Server::get(const core::HttpRequest& request, Time now) {
    if (scenario_.active(Kind::reads_fail, now)) {
        return html(500);
    }
    if (scenario_.active(Kind::key_invalid, now) || scenario_.active(Kind::unpaid, now)) {
        return error(401, "Invalid API key.");
    }
    if (scenario_.refuses_reading) {
        return error(403, "This key may not read.");
    }
    const auto query = parse_query(request.target);
    if (request.target.starts_with("/api/feedbacks/?")) {
        return scenario_.list_route && !scenario_.active(Kind::new_route_gone, now)
                   ? list(query, now)
                   : html(404);
    }
    if (request.target.starts_with("/api/conversations/?")) {
        const std::string name = query.at("conversation_id");
        Json results = Json::array();
        if (name.starts_with("c")) {  // all others are nobody's
            results.push_back(
                {{"id", std::stoi(database_id("=" + name))}, {"conversation_id", name}});
        }
        const std::size_t count = results.size();
        return {.body = Json{{"count", count}, {"next", nullptr}, {"results", results}}.dump()};
    }
    const std::string prefix = "/api/conversations/";
    return conversation(
        request.target.substr(prefix.size(), request.target.size() - prefix.size() - 1), now);
}

Reply Server::list(const std::map<std::string, std::string>& query, Time now) {
    const std::size_t page = std::stoul(query.at("page"));
    const std::size_t size = std::stoul(query.at("page_size"));
    const core::UtcMs after = *core::parse_iso8601(query.at("created_at_after"));
    // One server in three knows none of these filters.
    const bool filters = scenario_.seed % 3 != 0;
    std::vector<const Row*> rows;
    for (const Row& row : rows_) {
        const bool wanted = query.contains("conversation")
                                ? database_id(row.conversation) == query.at("conversation")
                                : row.conversation == "=" + query.at("conversation_id");
        if (is_visible(row, now) && (!filters || (wanted && epoch + row.created >= after))) {
            rows.push_back(&row);
        }
    }
    std::ranges::reverse(rows);
    std::string results;
    for (std::size_t i = (page - 1) * size; i < std::min(rows.size(), page * size); ++i) {
        results += (results.empty() ? "" : ",") + row_json(*rows[i], true);
    }
    const bool more = page * size < rows.size();
    return {.body = R"({"count": )" + std::to_string(rows.size()) + R"(, "next": )" +
                    (more ? "\"http://inside/?page=2\"" : "null") + R"(, "previous": null, )" +
                    R"("results": [)" + results + "]}"};
}

Reply Server::conversation(const std::string& id, Time now) {
    std::string feedbacks;
    for (const Row& row : rows_) {
        if (database_id(row.conversation) == id && is_visible(row, now)) {
            feedbacks += (feedbacks.empty() ? "" : ",") + row_json(row, false);
        }
    }
    return {.body = R"({"id": )" + id + R"(, "feedbacks": [)" + feedbacks + "]}"};
}

}  // namespace agentsight::sim
