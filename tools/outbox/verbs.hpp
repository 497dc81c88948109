#pragma once

#include "flags.hpp"

namespace agentsight::tool {

// Each adds its verb, or verbs, to the command line. The order here is the order of --help.
void add_submit(CLI::App& app, Invocation& invocation);
void add_import(CLI::App& app, Invocation& invocation);
void add_drain(CLI::App& app, Invocation& invocation);
void add_status(CLI::App& app, Invocation& invocation);
void add_list(CLI::App& app, Invocation& invocation);
void add_show(CLI::App& app, Invocation& invocation);
void add_watch(CLI::App& app, Invocation& invocation);
void add_requeue(CLI::App& app, Invocation& invocation);
void add_discard(CLI::App& app, Invocation& invocation);
void add_resolve(CLI::App& app, Invocation& invocation);
void add_hold_and_release(CLI::App& app, Invocation& invocation);
void add_export(CLI::App& app, Invocation& invocation);
void add_verify(CLI::App& app, Invocation& invocation);
void add_salvage(CLI::App& app, Invocation& invocation);
void add_compact_and_purge(CLI::App& app, Invocation& invocation);
void add_metrics(CLI::App& app, Invocation& invocation);

}  // namespace agentsight::tool
