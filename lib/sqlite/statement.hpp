#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

struct sqlite3;
struct sqlite3_stmt;

namespace agentsight::sqlite {

using Bytes = std::span<const std::uint8_t>;

/// One use of a prepared statement: bound, stepped, and reset when it goes. Text and bytes
/// are bound by reference: they outlive the use. Throws Failure.
class Rows {
  public:
    Rows(sqlite3* database, sqlite3_stmt* statement) noexcept
        : database_(database), statement_(statement) {}
    ~Rows();
    Rows(Rows&& other) noexcept;
    Rows& operator=(Rows&&) = delete;

    /// True where there is a row to read, until the next call.
    bool next();

    bool is_null(int column) const;
    std::int64_t integer(int column) const;
    std::optional<std::int64_t> maybe_integer(int column) const;
    std::string text(int column) const;  ///< empty for NULL
    std::string_view text_view(int column) const;
    Bytes bytes(int column) const;  ///< valid until next()

    template <class... Values>
    void bind(const Values&... values) {
        int index = 0;
        (bind_one(++index, values), ...);
    }

    void bind_one(int index, std::int64_t value);
    void bind_one(int index, std::nullptr_t);
    void bind_one(int index, std::string_view value);
    void bind_one(int index, Bytes value);
    void bind_one(int index, const std::string& value) { bind_one(index, std::string_view{value}); }
    void bind_one(int index, const char* value) { bind_one(index, std::string_view{value}); }
    template <class T>
    requires(std::is_integral_v<T> || std::is_enum_v<T>) void bind_one(int index, T value) {
        bind_one(index, static_cast<std::int64_t>(value));
    }
    template <class T>
    void bind_one(int index, const std::optional<T>& value) {
        value ? bind_one(index, *value) : bind_one(index, nullptr);
    }

  private:
    void check(int code) const;

    sqlite3* database_;
    sqlite3_stmt* statement_;
};

}  // namespace agentsight::sqlite
