#include "sqlite/statement.hpp"

#include <sqlite3.h>

#include "sqlite/failure.hpp"

namespace agentsight::sqlite {

Rows::~Rows() {
    if (statement_ != nullptr) {
        sqlite3_reset(statement_);
        // Erased text must not live on in a binding, nor may a binding outlive its value.
        sqlite3_clear_bindings(statement_);
    }
}

Rows::Rows(Rows&& other) noexcept : database_(other.database_), statement_(other.statement_) {
    other.statement_ = nullptr;
}

void Rows::check(int code) const {
    if (code != SQLITE_OK) {
        throw Failure(code, sqlite3_system_errno(database_), sqlite3_errmsg(database_));
    }
}

bool Rows::next() {
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) {
        return true;
    }
    if (code != SQLITE_DONE) {
        check(code);
    }
    return false;
}

bool Rows::is_null(int column) const {
    return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

std::int64_t Rows::integer(int column) const {
    return sqlite3_column_int64(statement_, column);
}

std::optional<std::int64_t> Rows::maybe_integer(int column) const {
    if (is_null(column)) {
        return std::nullopt;
    }
    return integer(column);
}

std::string_view Rows::text_view(int column) const {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    if (text == nullptr) {
        if (!is_null(column)) {
            throw Failure(SQLITE_NOMEM, 0, "out of memory reading a text");
        }
        return {};
    }
    return {text, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

std::string Rows::text(int column) const {
    return std::string{text_view(column)};
}

Bytes Rows::bytes(int column) const {
    const auto* data = static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column));
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
    return data == nullptr ? Bytes{} : Bytes{data, size};
}

void Rows::bind_one(int index, std::int64_t value) {
    check(sqlite3_bind_int64(statement_, index, value));
}

void Rows::bind_one(int index, std::nullptr_t) {
    check(sqlite3_bind_null(statement_, index));
}

void Rows::bind_one(int index, std::string_view value) {
    // A null pointer would bind NULL; an empty view may have one.
    const char* data = value.data() == nullptr ? "" : value.data();
    check(sqlite3_bind_text64(statement_, index, data, value.size(), SQLITE_STATIC, SQLITE_UTF8));
}

void Rows::bind_one(int index, Bytes value) {
    const void* data = value.data() == nullptr ? static_cast<const void*>("") : value.data();
    check(sqlite3_bind_blob64(statement_, index, data, value.size(), SQLITE_STATIC));
}

}  // namespace agentsight::sqlite
