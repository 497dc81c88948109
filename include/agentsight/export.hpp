#pragma once

// Marks what the library exports; everything else is hidden.
#if defined(_WIN32)
#define AGENTSIGHT_API
#else
#define AGENTSIGHT_API __attribute__((visibility("default")))
#endif
