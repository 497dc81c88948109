#pragma once

#include "outbox/store.hpp"

/// The fleet program has a hundred thousand devices, and so no file each: this is another
/// implementation of outbox::Store, in memory, put in the place of the real one by the
/// linker. It does what the engine asks and nothing else; it loses nothing because it
/// never ends. Feedback is submitted by make_backlog().
namespace agentsight::sim {

/// `count` records of as many conversations, submitted now.
void make_backlog(outbox::Store& store, int count);
std::size_t delivered(const outbox::Store& store);

}  // namespace agentsight::sim
