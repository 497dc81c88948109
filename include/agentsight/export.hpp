#pragma once

// Marks what the library exports; everything else is hidden, and so is what a marked class
// keeps to itself.
#if defined(_WIN32)
#define AGENTSIGHT_API
#define AGENTSIGHT_HIDDEN
#else
#define AGENTSIGHT_API __attribute__((visibility("default")))
#define AGENTSIGHT_HIDDEN __attribute__((visibility("hidden")))
#endif
