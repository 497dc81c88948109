#include <algorithm>
#include <charconv>
#include <functional>

#include "sandbox/api.hpp"
#include "sandbox/json_text.hpp"
#include "sandbox/text.hpp"

namespace sandbox {

std::string newer_row(const Row& row, const Settings& settings) {
    ObjectText out;
    out.number("id", row.id)
        .text("kind", "conversation")
        .number("agent", 20)
        .number("conversation", row.conversation)
        .text("conversation_id", row.conversation_id)
        .raw("user", row.source == "platform" ? "7" : "null")
        .text("environment", "development")
        .number("environment_id", 40)
        .text("sentiment", row.sentiment)
        .null("category")
        .text("comment", row.comment)
        .text("created_at", iso8601(row.created_at_us, settings.whole_seconds));
    return out.take();
}

namespace {

constexpr std::int64_t default_page_size = 15;
constexpr std::int64_t max_page_size = 100;

std::optional<std::int64_t> integer(std::string_view text) {
    std::int64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    return error == std::errc{} && stop == end ? std::optional{value} : std::nullopt;
}

Reply filter_error(const char* name, const std::string& words) {
    return json_reply(400, ObjectText{}.raw(name, "[" + json_string(words) + "]").take());
}

struct Page {
    std::int64_t number = 1;
    std::int64_t size = default_page_size;
};

/// None: no such page ("0", "x"); one beyond the last is found out later.
std::optional<Page> page_of(const Request& request) {
    Page page;
    const auto size = integer(find_field(request.query, "page_size"));
    if (size && *size > 0)
        page.size = std::min(*size, max_page_size);
    const std::string_view number = find_field(request.query, "page");
    if (number.empty())
        return page;
    const auto parsed = integer(number);
    if (!parsed || *parsed < 1)
        return std::nullopt;
    page.number = *parsed;
    return page;
}

/// An absolute URL of the host the server saw, as Django builds it.
std::string link(const Request& request, std::int64_t page) {
    std::string url = "http://" + std::string{request.header("Host")} + request.path;
    char joint = '?';
    for (const auto& [name, value] : request.query) {
        if (name == "page")
            continue;
        url += joint + percent_encode(name) + "=" + percent_encode(value);
        joint = '&';
    }
    return page == 1 ? url : url + joint + "page=" + std::to_string(page);
}

std::string array_of(std::int64_t first, std::int64_t end,
                     const std::function<std::string(std::size_t)>& item) {
    std::string out = "[";
    for (std::int64_t index = first; index < end; ++index) {
        if (index > first)
            out += ',';
        out += item(static_cast<std::size_t>(index));
    }
    return out + "]";
}

Reply envelope(const Request& request, const Settings& settings, std::int64_t count,
               const std::function<std::string(std::size_t)>& item) {
    const auto page = page_of(request);
    const std::int64_t pages =
        page ? std::max<std::int64_t>(1, (count + page->size - 1) / page->size) : 0;
    if (!page || page->number > pages)
        return detail_reply(404, "Invalid page.");
    const auto link_to = [&](std::int64_t number) {
        return number < 1 || number > pages ? "null" : json_string(link(request, number));
    };
    ObjectText body;
    body.number("count", count);
    if (!settings.older_envelope)
        body.number("page_size", page->size)
            .number("total_pages", pages)
            .number("current_page", page->number);
    const std::int64_t first = (page->number - 1) * page->size;
    body.raw("next", link_to(page->number + 1))
        .raw("previous", link_to(page->number - 1))
        .raw("results", array_of(first, std::min(count, first + page->size), item));
    return json_reply(200, body.take());
}

bool visible(const Row& row, const ApiContext& context) {
    if (row.deleted)
        return false;
    return context.stale_ms == 0 || std::chrono::steady_clock::now() - row.arrived >=
                                        std::chrono::milliseconds{context.stale_ms};
}

/// The list's filters, read and checked.
struct Filter {
    std::optional<std::int64_t> conversation;
    std::string conversation_id;
    std::string sentiment;
    std::optional<bool> has_comment;
    std::optional<std::int64_t> after;
    std::optional<std::int64_t> before;
    bool nothing = false;  ///< a kind of which there are no rows

    bool takes(const Row& row) const {
        return (!conversation || *conversation == row.conversation) &&
               (conversation_id.empty() || conversation_id == row.conversation_id) &&
               (sentiment.empty() || sentiment == row.sentiment) &&
               (!has_comment || *has_comment != row.comment.empty()) &&
               (!after || row.created_at_us >= *after) && (!before || row.created_at_us <= *before);
    }
};

std::optional<Reply> read_time(const Request& request, const char* name,
                               std::optional<std::int64_t>& time) {
    const std::string_view text = find_field(request.query, name);
    if (text.empty())
        return std::nullopt;
    time = parse_iso8601(text);
    return time ? std::nullopt : std::optional{filter_error(name, "Enter a valid date/time.")};
}

std::optional<Reply> read_choices(const Request& request, Filter& filter) {
    const auto bad_choice = [](const char* name, const std::string& value) {
        return filter_error(
            name, "Select a valid choice. " + value + " is not one of the available choices.");
    };
    filter.sentiment = find_field(request.query, "sentiment");
    const std::string& sentiment = filter.sentiment;
    if (!sentiment.empty() && sentiment != "positive" && sentiment != "neutral" &&
        sentiment != "negative")
        return bad_choice("sentiment", sentiment);
    const std::string kind{find_field(request.query, "kind")};
    filter.nothing = !kind.empty() && kind != "conversation";
    const std::string_view has_comment = find_field(request.query, "has_comment");
    if (equal_ignoring_case(has_comment, "true") || has_comment == "1")
        filter.has_comment = true;
    else if (equal_ignoring_case(has_comment, "false") || has_comment == "0")
        filter.has_comment = false;
    return std::nullopt;
}

std::optional<Reply> read_filter(const Request& request, Filter& filter) {
    const std::string_view key = find_field(request.query, "conversation");
    if (!key.empty() && !(filter.conversation = integer(key)))
        return filter_error("conversation", "Enter a number.");
    filter.conversation_id = strip(find_field(request.query, "conversation_id"));
    if (auto error = read_time(request, "created_at_after", filter.after))
        return error;
    if (auto error = read_time(request, "created_at_before", filter.before))
        return error;
    return read_choices(request, filter);
}

/// Looks only at one conversation's rows where the filter names it: a reconciling client
/// asks that of a server with a million rows.
std::vector<const Row*> select(const Filter& filter, const ApiContext& context) {
    std::vector<const Row*> out;
    const auto& rows = context.store.rows();
    const auto look = [&](const Row& row) {
        if (visible(row, context) && filter.takes(row))
            out.push_back(&row);
    };
    if (filter.nothing)
        return out;
    if (!filter.conversation && filter.conversation_id.empty()) {
        std::for_each(rows.begin(), rows.end(), look);
        return out;
    }
    const Conversation* conversation =
        filter.conversation ? context.store.find(*filter.conversation)
                            : context.store.find(std::string_view{filter.conversation_id});
    if (conversation != nullptr)
        for (const std::size_t index : conversation->rows)
            look(rows[index]);
    return out;
}

void order(std::vector<const Row*>& rows, std::string_view ordering) {
    const bool by_id = ordering == "id" || ordering == "-id";
    const bool ascending = ordering == "id" || ordering == "created_at";
    const auto key = [by_id](const Row* row) { return by_id ? row->id : row->created_at_us; };
    std::stable_sort(rows.begin(), rows.end(), [&](const Row* a, const Row* b) {
        const auto left = std::pair{key(a), a->id};
        const auto right = std::pair{key(b), b->id};
        return ascending ? left < right : right < left;
    });
}

ObjectText conversation_text(const Conversation& conversation) {
    ObjectText out;
    out.number("id", conversation.id)
        .text("conversation_id", conversation.conversation_id)
        .number("agent", 20)
        .number("environment_id", 40)
        .boolean("is_deleted", false);
    return out;
}

std::string shown_feedback(const Row& row, const Settings& settings) {
    ObjectText out;
    out.number("id", row.id).text("sentiment", row.sentiment);
    if (!settings.hide_source)
        out.text("source", row.source);
    out.text("comment", row.comment)
        .text("created_at", iso8601(row.created_at_us, settings.whole_seconds));
    return out.take();
}

}  // namespace

bool is_list_filter(std::string_view route, std::string_view name) {
    constexpr std::string_view feedbacks =
        " conversation conversation_id sentiment kind has_comment created_at_after "
        "created_at_before ordering page page_size ";
    constexpr std::string_view conversations =
        " conversation_id full include_deleted page page_size ordering ";
    const std::string word = " " + std::string{name} + " ";
    if (route == "new")
        return feedbacks.find(word) != std::string_view::npos;
    if (route == "conversations")
        return conversations.find(word) != std::string_view::npos;
    return route == "lookup" && name == "conversation_id";
}

Reply list_feedbacks(const Request& request, const ApiContext& context) {
    Filter filter;
    if (auto error = read_filter(request, filter))
        return *error;
    std::vector<const Row*> rows = select(filter, context);
    order(rows, find_field(request.query, "ordering"));
    const auto item = [&](std::size_t index) { return newer_row(*rows[index], context.settings); };
    return envelope(request, context.settings, static_cast<std::int64_t>(rows.size()), item);
}

Reply list_conversations(const Request& request, const ApiContext& context) {
    const std::string_view wanted = strip(find_field(request.query, "conversation_id"));
    std::vector<const Conversation*> found;
    if (!wanted.empty()) {
        if (const Conversation* one = context.store.find(wanted))
            found.push_back(one);
    } else {
        for (const std::int64_t id : context.store.conversation_order())
            found.push_back(context.store.find(id));
    }
    const auto item = [&](std::size_t index) { return conversation_text(*found[index]).take(); };
    return envelope(request, context.settings, static_cast<std::int64_t>(found.size()), item);
}

Reply lookup_conversation(const Request& request, const ApiContext& context) {
    const std::string_view wanted = strip(find_field(request.query, "conversation_id"));
    if (wanted.empty())
        return json_reply(400, R"({"error":"conversation_id is required"})");
    const Conversation* found = context.store.find(wanted);
    if (found == nullptr)
        return detail_reply(404, "Not found.");
    return json_reply(200, ObjectText{}.number("id", found->id).take());
}

Reply show_conversation(std::int64_t key, const ApiContext& context) {
    const Conversation* found = context.store.find(key);
    if (found == nullptr)
        return detail_reply(404, "Not found.");
    std::vector<const Row*> rows;
    for (const std::size_t index : found->rows)
        if (visible(context.store.rows()[index], context))
            rows.push_back(&context.store.rows()[index]);
    const auto item = [&](std::size_t index) {
        return shown_feedback(*rows[index], context.settings);
    };
    const std::string feedbacks = array_of(0, static_cast<std::int64_t>(rows.size()), item);
    return json_reply(200, conversation_text(*found).raw("feedbacks", feedbacks).take());
}

}  // namespace sandbox
