#pragma once

#include <string>
#include <vector>

#include "outbox/schema_version.hpp"

namespace agentsight::test {

/// What a later version of this library may make of the newest schema: a table more, and an index
/// over every record, so that the upgrade changes many pages.
inline outbox::Schema next_schema() {
    static const std::string more =
        "\nCREATE TABLE later(key INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT;"
        "\nCREATE INDEX later_note ON record(submitted_utc);";
    static const std::string upgrade = more + "\nINSERT INTO later SELECT key, 'kept' FROM record;";
    static const std::string tables = std::string{outbox::our_schema().back().tables} + more;
    static const auto versions = [] {
        std::vector<outbox::SchemaVersion> made(outbox::our_schema().begin(),
                                                outbox::our_schema().end());
        made.push_back({tables, upgrade});
        return made;
    }();
    return versions;
}

}  // namespace agentsight::test
