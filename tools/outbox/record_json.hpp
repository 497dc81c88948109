#pragma once

#include <optional>
#include <string>

#include "agentsight/outbox.hpp"
#include "output.hpp"

namespace agentsight::tool {

/// Stands for what is not to be seen.
inline constexpr const char* mask = "***";

/// Comments and metadata are customers' words: masked unless someone asks for them.
enum class Reveal { no, yes };

/// One record as `list`, `show` and `export` print it; Record::history only where wanted.
Json to_json(const Record& record, Reveal reveal);
Json history_json(const Record& record);

/// The outbox as `status --json` prints it.
Json to_json(const Status& status);

/// A time, or null.
Json time_json(const std::optional<UtcMilliseconds>& time);

std::string_view credential_name(Credential::Kind kind);

/// The comment and the metadata as people may see them; empty where there is none.
std::string shown_comment(const Record& record, Reveal reveal);
std::string shown_metadata(const Record& record, Reveal reveal);

/// The conversation as people read it: the business id, or "#42" for a database id.
std::string shown_conversation(const Record& record);

}  // namespace agentsight::tool
