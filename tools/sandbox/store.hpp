#pragma once

#include <cstdint>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sandbox/row.hpp"

namespace sandbox {

struct Conversation {
    std::int64_t id = 0;
    std::string conversation_id;
    std::vector<std::size_t> rows;  ///< indexes into the store's rows, in order of arrival
};

/// The server's tables, in memory and, with a file, also there: one line of JSON a change,
/// handed to the kernel before the row counts as stored, so that it survives a SIGKILL
/// (not a power cut: this is a sandbox). One thread at a time.
class Store {
  public:
    Store() = default;
    /// Reads what the file has; a last line cut short by a kill is dropped.
    /// Throws std::runtime_error where the file cannot be opened or is something else.
    explicit Store(const std::filesystem::path& file);

    /// Assigns the id. Throws std::runtime_error where the file cannot take it.
    const Row& add(Row row);
    bool remove(std::int64_t id);
    void clear();

    const std::deque<Row>& rows() const { return rows_; }
    const Row* find_row(std::int64_t id) const;

    Conversation* find(std::int64_t id);
    Conversation* find(std::string_view conversation_id);
    /// An empty business id is made up; a database id of 0, or one in use, is the next free.
    Conversation& create(std::string_view conversation_id, std::int64_t id = 0);
    const std::vector<std::int64_t>& conversation_order() const { return order_; }

  private:
    struct Closer {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };

    void load(const std::filesystem::path& file);
    void load_line(const std::string& line);
    void write_line(const std::string& line);
    void place(Row row);
    Conversation& insert(Conversation conversation);

    std::deque<Row> rows_;
    std::unordered_map<std::int64_t, Conversation> conversations_;
    std::unordered_map<std::string, std::int64_t> by_name_;
    std::vector<std::int64_t> order_;
    std::int64_t next_row_ = 1;
    std::int64_t next_conversation_ = 1;
    std::filesystem::path path_;
    std::unique_ptr<std::FILE, Closer> file_;
};

/// A row as one JSON object, as the file and the control port have it.
std::string row_json(const Row& row);

}  // namespace sandbox
