#pragma once

#include <string>
#include <string_view>

#include "agentsight/outbox.hpp"

namespace agentsight::tool {

// A server may repeat in its words what it was sent: a comment that it refuses, for instance.

/// Such words without what they have in common with the record's comment, or with a text in its
/// metadata: the whole of it from 4 bytes on, a part of it (they are cut) from 16.
std::string masked(std::string_view words, const Record& record);

/// All that the server said about this record.
void mask_words(Record& record);

/// What a hold tells. It names no record: masked is what repeats one of those that drew the
/// same answer, as far as some hundreds of them are looked at.
void mask_words(Status& status, const Outbox& outbox);

}  // namespace agentsight::tool
