#pragma once

#include <chrono>

/// What exit_child.cpp asks of its plugin, a shared module that brings the library with it.
struct PluginWork {
    const char* outbox;
    const char* endpoint;
    const char* ca_file;
    std::chrono::microseconds time;
};

using PluginFunction = int (*)(const PluginWork&);
