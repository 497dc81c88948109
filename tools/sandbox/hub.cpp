#include "sandbox/hub.hpp"

#include <algorithm>

#include "sandbox/text.hpp"

namespace sandbox {
namespace {

std::int64_t real_us() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

std::int64_t or_else(std::int64_t value, std::int64_t fallback) {
    return value == Fault::unset ? fallback : value;
}

Reply body_of(int status, const std::string& wanted) {
    const std::string words{reason_phrase(status)};
    if (wanted == "html")
        return html_reply(status, words);
    if (wanted == "empty")
        return {.status = status};
    if (wanted.empty() || wanted == "json")
        return detail_reply(status, status == 429 ? "Request was throttled." : words);
    const bool json = wanted.starts_with('{') || wanted.starts_with('[');
    return {.status = status,
            .content_type = json ? "application/json" : "text/html; charset=utf-8",
            .body = wanted};
}

/// The reply a fault makes up, with its status or `fallback`.
Reply made_up(const Fault& fault, int fallback) {
    Reply reply = body_of(static_cast<int>(or_else(fault.status, fallback)), fault.body);
    reply.headers = fault.headers;
    if (!fault.retry_after.empty())
        reply.headers.emplace_back("Retry-After", fault.retry_after);
    if (!fault.location.empty())
        reply.headers.emplace_back("Location", fault.location);
    return reply;
}

Reply throttled(const Fault& fault, std::int64_t seconds) {
    const std::string words =
        fault.retry_after.empty() ? std::to_string(seconds) : fault.retry_after;
    Reply reply =
        detail_reply(429, "Request was throttled. Expected available in " + words + " seconds.");
    reply.headers.emplace_back("Retry-After", words);
    return reply;
}

Reply portal(const Fault& fault) {
    Reply reply =
        html_reply(static_cast<int>(or_else(fault.status, 200)), "Welcome to the network");
    if (!fault.body.empty())
        reply.body = fault.body;
    if (reply.status >= 300 && reply.status < 400)
        reply.headers.emplace_back(
            "Location", fault.location.empty() ? "http://portal.invalid/login" : fault.location);
    return reply;
}

Ending replying(Reply reply) {
    return {.reply = std::move(reply)};
}
Ending closing(const Fault& fault) {
    return {.kind = Ending::Kind::close, .reset = fault.reset};
}

}  // namespace

Hub::Hub(HubOptions options, Schedule schedule)
    : schedule_{std::move(schedule)},
      settings_{std::move(options.settings)},
      request_log_{std::max<std::size_t>(1, options.request_log)},
      on_row_{std::move(options.on_row)},
      store_{options.file.empty() ? Store{} : Store{options.file}} {
    const auto& rows = store_.rows();
    live_rows_ = static_cast<std::size_t>(
        std::count_if(rows.begin(), rows.end(), [](const Row& row) { return !row.deleted; }));
}

std::int64_t Hub::now_us() const {
    return real_us() + offset_us_;
}

std::uint64_t Hub::open_connection(std::optional<Fault>& fault) {
    const std::lock_guard lock{mutex_};
    fault = book_.plan_accept();
    return ++connections_;
}

Exchange Hub::admit(Request request) {
    Exchange exchange;
    exchange.request = std::move(request);
    exchange.route = match_route(exchange.request.path).route;
    if (!exchange.request.body.empty())
        exchange.body = parse_body(exchange.request.body);
    else
        exchange.body.error = "Expecting value: line 1 column 1 (char 0)";
    const auto remarks = inspect(exchange.request, exchange.route, exchange.body);
    const std::lock_guard lock{mutex_};
    exchange.request.number = ++request_count_;
    for (const Remark& remark : remarks)
        push_error(
            {remark.kind, remark.detail, exchange.request.connection, exchange.request.number});
    if (!book_.empty()) {
        const Body& body = exchange.body;
        const std::string comment = member_text(body, "comment");
        const std::string name = member_text(body, "conversation_id");
        const std::string conversation = name.empty() ? member_text(body, "conversation") : name;
        exchange.plan = book_.plan({.route = exchange.route,
                                    .method = exchange.request.method,
                                    .path = exchange.request.path,
                                    .comment = comment,
                                    .conversation_id = conversation});
    }
    log(exchange);
    changed_.notify_all();
    return exchange;
}

void Hub::log(const Exchange& exchange) {
    const Request& request = exchange.request;
    requests_.push_back({.number = request.number,
                         .connection = request.connection,
                         .method = request.method,
                         .target = request.target,
                         .headers = request.headers,
                         .body = request.body,
                         .received_us = real_us(),
                         .faults = exchange.plan.ids});
    if (requests_.size() > request_log_)
        requests_.pop_front();
}

RequestRecord* Hub::find_record(std::uint64_t number) {
    if (requests_.empty() || number < requests_.front().number || number > requests_.back().number)
        return nullptr;
    return &requests_[number - requests_.front().number];
}

void Hub::push_error(ProtocolError error) {
    errors_.push_back(std::move(error));
    if (errors_.size() > request_log_)
        errors_.pop_front();
}

void Hub::note(std::uint64_t connection, std::uint64_t request, Remark remark) {
    const std::lock_guard lock{mutex_};
    push_error({std::move(remark.kind), std::move(remark.detail), connection, request});
    changed_.notify_all();
}

const Row& Hub::store(Row row) {
    const Row& stored = store_.add(std::move(row));
    ++live_rows_;
    if (on_row_)
        on_row_(stored);
    changed_.notify_all();
    return stored;
}

void Hub::store_later(Row row, std::int64_t ms) {
    schedule_(ms, [this, row = std::move(row)]() mutable {
        const std::lock_guard lock{mutex_};
        row.created_at_us = now_us();
        try {
            store(std::move(row));
        } catch (const std::exception&) {
            push_error({"server", "a late row could not be written", 0, 0});
        }
    });
}

Ending Hub::answer(Exchange& exchange) {
    const std::lock_guard lock{mutex_};
    Ending ending = decide(exchange);
    if (RequestRecord* record = find_record(exchange.request.number))
        record->row_id = exchange.row_id;
    return ending;
}

/// The outcomes that never ask the API come first.
Ending Hub::decide(Exchange& exchange) {
    const auto& fault = exchange.plan.outcome;
    if (fault) {
        switch (fault->kind) {
            case FaultKind::drop_before:
                return closing(*fault);
            case FaultKind::throttle:
                return replying(throttled(*fault, exchange.plan.throttled_for_s));
            case FaultKind::route_removed:
                return replying(no_route());
            case FaultKind::captive_portal:
                return replying(portal(*fault));
            case FaultKind::status:
                if (!fault->store)
                    return replying(made_up(*fault, 503));
                break;
            case FaultKind::hang:
                if (!fault->store)
                    return {.kind = Ending::Kind::hang};
                break;
            default:
                break;
        }
    }
    const std::int64_t stale = exchange.plan.stale ? or_else(exchange.plan.stale->ms, 1000) : 0;
    exchange.prepared =
        prepare(exchange.request, exchange.body, {store_, settings_, now_us(), stale});
    return create(exchange);
}

/// Stores where there is something to store, and lets the outcome speak after it.
Ending Hub::create(Exchange& exchange) {
    const auto& fault = exchange.plan.outcome;
    auto& draft = exchange.prepared.draft;
    if (fault && fault->kind == FaultKind::late) {
        if (draft)
            store_later(std::move(*draft), or_else(fault->ms, 1000));
        return fault->status == 0 ? closing(*fault) : replying(made_up(*fault, 504));
    }
    Reply reply = std::move(exchange.prepared.reply);
    if (draft) {
        if (fault && fault->kind == FaultKind::rewrite)
            draft->comment = fault->body;
        if (fault && fault->kind == FaultKind::duplicate)
            store(*draft);
        const Row& row = store(std::move(*draft));
        exchange.row_id = row.id;
        reply = exchange.prepared.fails_after_store ? html_reply(500, "Server Error (500)")
                                                    : created_reply(row, settings_);
    }
    if (!fault)
        return replying(std::move(reply));
    switch (fault->kind) {
        case FaultKind::drop_after:
            return closing(*fault);
        case FaultKind::hang:
            return {.kind = Ending::Kind::hang};
        case FaultKind::status:
            return replying(made_up(*fault, 503));
        case FaultKind::error_after_store:
            return replying(made_up(*fault, 500));
        default:
            return replying(std::move(reply));
    }
}

void Hub::answered(const Exchange& exchange, int status) {
    const std::lock_guard lock{mutex_};
    RequestRecord* record = find_record(exchange.request.number);
    if (record == nullptr)
        return;
    record->status = status;
    record->answered_us = real_us();
}

std::string Hub::date_field() {
    const std::lock_guard lock{mutex_};
    const std::int64_t second = now_us() / 1'000'000;
    if (second != date_second_) {
        date_second_ = second;
        date_ = http_date(second);
    }
    return date_;
}

int Hub::keep_alive_ms() {
    const std::lock_guard lock{mutex_};
    return settings_.keep_alive_ms;
}

std::vector<Row> Hub::rows() {
    return rows_after(0, std::numeric_limits<std::size_t>::max());
}

std::vector<Row> Hub::rows_after(std::int64_t id, std::size_t limit) {
    const std::lock_guard lock{mutex_};
    std::vector<Row> out;
    const auto& rows = store_.rows();
    auto at = std::upper_bound(rows.begin(), rows.end(), id,
                               [](std::int64_t key, const Row& row) { return key < row.id; });
    for (; at != rows.end() && out.size() < limit; ++at)
        if (!at->deleted)
            out.push_back(*at);
    return out;
}

std::size_t Hub::row_count() {
    const std::lock_guard lock{mutex_};
    return live_rows_;
}

std::vector<RequestRecord> Hub::requests(std::uint64_t after) {
    const std::lock_guard lock{mutex_};
    const auto at = std::find_if(requests_.begin(), requests_.end(),
                                 [&](const auto& record) { return record.number > after; });
    return {at, requests_.end()};
}

std::uint64_t Hub::request_count() {
    const std::lock_guard lock{mutex_};
    return request_count_;
}

std::vector<ProtocolError> Hub::errors() {
    const std::lock_guard lock{mutex_};
    return {errors_.begin(), errors_.end()};
}

std::uint64_t Hub::connection_count() {
    const std::lock_guard lock{mutex_};
    return connections_;
}

bool Hub::wait_for_rows(std::size_t count, std::chrono::milliseconds timeout) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, timeout, [&] { return live_rows_ >= count; });
}

bool Hub::wait_for_requests(std::uint64_t count, std::chrono::milliseconds timeout) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, timeout, [&] { return request_count_ >= count; });
}

std::uint64_t Hub::add_fault(Fault fault) {
    const std::lock_guard lock{mutex_};
    return book_.add(std::move(fault));
}

bool Hub::remove_fault(std::uint64_t id) {
    const std::lock_guard lock{mutex_};
    return book_.remove(id);
}

void Hub::clear_faults() {
    const std::lock_guard lock{mutex_};
    book_.clear();
}

std::vector<FaultState> Hub::faults() {
    const std::lock_guard lock{mutex_};
    return book_.faults();
}

void Hub::set_clock_offset(std::int64_t ms) {
    const std::lock_guard lock{mutex_};
    offset_us_ = ms * 1000;
}

std::int64_t Hub::clock_offset() {
    const std::lock_guard lock{mutex_};
    return offset_us_ / 1000;
}

Settings Hub::settings() {
    const std::lock_guard lock{mutex_};
    return settings_;
}

void Hub::change_settings(const std::function<void(Settings&)>& change) {
    const std::lock_guard lock{mutex_};
    change(settings_);
}

std::int64_t Hub::add_conversation(const std::string& conversation_id, std::int64_t key) {
    const std::lock_guard lock{mutex_};
    if (Conversation* known = store_.find(std::string_view{conversation_id}))
        return known->id;
    return store_.create(conversation_id, key).id;
}

bool Hub::remove_row(std::int64_t id) {
    const std::lock_guard lock{mutex_};
    const bool removed = store_.remove(id);
    live_rows_ -= removed ? 1 : 0;
    return removed;
}

void Hub::clear_journal() {
    const std::lock_guard lock{mutex_};
    requests_.clear();
    errors_.clear();
}

void Hub::reset() {
    const std::lock_guard lock{mutex_};
    store_.clear();
    book_.clear();
    requests_.clear();
    errors_.clear();
    live_rows_ = 0;
    offset_us_ = 0;
}

}  // namespace sandbox
