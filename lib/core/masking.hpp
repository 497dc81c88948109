#pragma once

#include <string>
#include <string_view>

#include "core/feedback.hpp"

namespace agentsight::core {

/// A server may repeat in its words what it was sent, a comment that it refuses for instance, and
/// its words go into logs, events and the history. Those words without what they have in common
/// with the comment, or with a text or number in the metadata, as it is or escaped for JSON or
/// HTML, in any case (ASCII): the whole of it from 4 bytes on, a part of it (words are cut) from 8.
std::string masked(std::string_view words, const Feedback& feedback);

}  // namespace agentsight::core
