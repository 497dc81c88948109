#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace agentsight::tool {

/// Foreign text made inert for a terminal: control characters (C0, DEL, C1), line
/// separators and bidirectional controls become visible escapes (`\n`, `\x1b`, `\u202e`),
/// and so do bytes that are not UTF-8 (`\xff`). Everything else stays as it is.
std::string inert(std::string_view text);

/// The same for JSON text that is valid already: what JSON leaves raw (DEL, C1,
/// bidirectional controls) becomes `\uXXXX`, which means the same to every parser.
std::string inert_json(std::string json);

/// At most `columns` code points; what is cut is marked by an ellipsis.
std::string shortened(std::string_view text, std::size_t columns);

/// Padded with blanks to `columns` code points.
std::string padded(std::string_view text, std::size_t columns);

/// "422 comment: required": the status, where there was an answer, and what it said.
std::string status_and_words(std::optional<int> status, std::string_view words);

/// "1 record", "2 records".
std::string counted(std::size_t number, std::string_view noun);

/// 1234567 bytes as "1.2 MB".
std::string human_bytes(std::size_t bytes);

}  // namespace agentsight::tool
