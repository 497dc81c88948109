#pragma once

#include <string>
#include <vector>

#include "sqlite/database.hpp"

namespace agentsight::outbox {

/// Everything that must hold and does not, a sentence each: SQLite's integrity check, the
/// ledger against a recount, the order of conversations, the cursors. Reads it all.
std::vector<std::string> find_contradictions(sqlite::Database& database);

}  // namespace agentsight::outbox
