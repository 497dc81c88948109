#pragma once

#include <filesystem>

namespace agentsight::test {

class CrashDisk;

/// What the library does to a disk's folder without SQLite reaches the disk by these: the
/// programs here are linked with --wrap for the few functions of lib/os that make, rename or
/// remove files. A disk is known while it lives.
void know_disk(CrashDisk& disk);
void forget_disk(CrashDisk& disk);

}  // namespace agentsight::test
