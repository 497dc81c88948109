#include "sandbox/store.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "sandbox/json_text.hpp"
#include "sandbox/text.hpp"

namespace sandbox {
namespace {

using Json = nlohmann::ordered_json;

Row from_json(const Json& json) {
    Row row;
    row.id = json.at("id").get<std::int64_t>();
    row.conversation = json.at("conversation").get<std::int64_t>();
    row.conversation_id = json.at("conversation_id").get<std::string>();
    row.sentiment = json.at("sentiment").get<std::string>();
    row.comment = json.at("comment").get<std::string>();
    if (!json.at("metadata").is_null())
        row.metadata = json.at("metadata").dump();
    row.source = json.at("source").get<std::string>();
    row.route = json.at("route").get<std::string>();
    row.idempotency_key = json.at("idempotency_key").get<std::string>();
    row.created_at_us = parse_iso8601(json.at("created_at").get<std::string>()).value_or(0);
    return row;
}

}  // namespace

std::string row_json(const Row& row) {
    ObjectText out;
    out.number("id", row.id)
        .number("conversation", row.conversation)
        .text("conversation_id", row.conversation_id)
        .text("sentiment", row.sentiment)
        .text("comment", row.comment)
        .raw("metadata", row.metadata.empty() ? "null" : row.metadata)
        .text("source", row.source)
        .text("route", row.route)
        .text("idempotency_key", row.idempotency_key)
        .text("created_at", iso8601(row.created_at_us, false));
    return out.take();
}

Store::Store(const std::filesystem::path& file) : path_{file} {
    load(file);
    file_.reset(std::fopen(file.c_str(), "ae"));
    if (!file_)
        throw std::runtime_error{"--db: cannot open the rows file " + file.string() +
                                 " for writing"};
}

void Store::load(const std::filesystem::path& file) {
    std::ifstream in{file, std::ios::binary};
    std::string line;
    std::uintmax_t good = 0;
    while (std::getline(in, line)) {
        // A line without its end was cut by a kill; its row was never acknowledged.
        if (in.eof())
            break;
        try {
            load_line(line);
        } catch (const Json::exception&) {
            throw std::runtime_error{file.string() + " is not a rows file of the sandbox"};
        }
        good += line.size() + 1;
    }
    std::error_code error;
    if (std::filesystem::file_size(file, error) > good && !error)
        std::filesystem::resize_file(file, good);
}

void Store::load_line(const std::string& line) {
    const Json json = Json::parse(line);
    if (json.contains("deleted")) {
        const auto id = json.at("deleted").get<std::int64_t>();
        for (Row& row : rows_)
            row.deleted = row.deleted || row.id == id;
    } else if (json.contains("new_conversation")) {
        insert({json.at("new_conversation").get<std::int64_t>(),
                json.at("conversation_id").get<std::string>(),
                {}});
    } else {
        place(from_json(json));
    }
}

void Store::write_line(const std::string& line) {
    if (!file_)
        return;
    const std::string whole = line + "\n";
    if (std::fwrite(whole.data(), 1, whole.size(), file_.get()) != whole.size() ||
        std::fflush(file_.get()) != 0)
        throw std::runtime_error{"cannot write the rows file " + path_.string()};
}

void Store::place(Row row) {
    next_row_ = std::max(next_row_, row.id + 1);
    Conversation* conversation = find(row.conversation);
    if (conversation == nullptr)
        conversation = &insert({row.conversation, row.conversation_id, {}});
    conversation->rows.push_back(rows_.size());
    rows_.push_back(std::move(row));
}

const Row& Store::add(Row row) {
    row.id = next_row_;
    row.arrived = std::chrono::steady_clock::now();
    if (file_)
        write_line(row_json(row));
    place(std::move(row));
    return rows_.back();
}

const Row* Store::find_row(std::int64_t id) const {
    const auto at = std::lower_bound(rows_.begin(), rows_.end(), id,
                                     [](const Row& row, std::int64_t key) { return row.id < key; });
    return at != rows_.end() && at->id == id ? &*at : nullptr;
}

bool Store::remove(std::int64_t id) {
    const Row* found = find_row(id);
    if (found == nullptr || found->deleted)
        return false;
    write_line(ObjectText{}.number("deleted", id).take());
    const_cast<Row*>(found)->deleted = true;  // found in our own deque
    return true;
}

void Store::clear() {
    rows_.clear();
    conversations_.clear();
    by_name_.clear();
    order_.clear();
    if (!file_)
        return;
    // Appending goes on at the new end: the stream was opened for append.
    std::filesystem::resize_file(path_, 0);
}

Conversation* Store::find(std::int64_t id) {
    const auto at = conversations_.find(id);
    return at == conversations_.end() ? nullptr : &at->second;
}

Conversation* Store::find(std::string_view conversation_id) {
    const auto at = by_name_.find(std::string{conversation_id});
    return at == by_name_.end() ? nullptr : find(at->second);
}

Conversation& Store::insert(Conversation conversation) {
    const std::int64_t id = conversation.id;
    by_name_.try_emplace(conversation.conversation_id, id);
    order_.push_back(id);
    return conversations_.insert_or_assign(id, std::move(conversation)).first->second;
}

Conversation& Store::create(std::string_view conversation_id, std::int64_t id) {
    while (conversations_.contains(next_conversation_))
        ++next_conversation_;
    Conversation made;
    made.id = id == 0 || conversations_.contains(id) ? next_conversation_ : id;
    made.conversation_id = conversation_id.empty() ? "conversation-" + std::to_string(made.id)
                                                   : std::string{conversation_id};
    write_line(ObjectText{}
                   .number("new_conversation", made.id)
                   .text("conversation_id", made.conversation_id)
                   .take());
    return insert(std::move(made));
}

}  // namespace sandbox
