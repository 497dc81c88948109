#include "os_hooks.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <system_error>
#include <vector>

#include "crash_vfs.hpp"
#include "os/file.hpp"

namespace agentsight::test {

namespace {

namespace fs = std::filesystem;

std::mutex known_mutex;
std::vector<CrashDisk*> known;

CrashDisk* disk_of(const fs::path& path) {
    const InShim here;
    const fs::path folder = fs::is_directory(path) ? path : path.parent_path();
    const std::lock_guard guard{known_mutex};
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](CrashDisk* disk) { return disk->folder() == folder; });
    return found == known.end() ? nullptr : *found;
}

void require_alive(const CrashDisk* disk) {
    if (disk != nullptr && disk->is_dead()) {
        throw std::system_error(EIO, std::generic_category(), "the disk is cut");
    }
}

}  // namespace

void know_disk(CrashDisk& disk) {
    const std::lock_guard guard{known_mutex};
    known.push_back(&disk);
}

void forget_disk(CrashDisk& disk) {
    const std::lock_guard guard{known_mutex};
    std::erase(known, &disk);
}

}  // namespace agentsight::test

using agentsight::test::CrashDisk;
using agentsight::test::disk_of;
using agentsight::test::require_alive;
using std::filesystem::path;

// The linker's names: __real_X is the function of lib/os, __wrap_X stands in its place.
#define AGENTSIGHT_WRAP(result, name, symbol, parameters)    \
    result real_##name parameters __asm__("__real_" symbol); \
    result wrap_##name parameters __asm__("__wrap_" symbol)

AGENTSIGHT_WRAP(bool, create_private_file,
                "_ZN10agentsight2os19create_private_fileERKNSt10filesystem7__cxx114pathE",
                (const path& file));
AGENTSIGHT_WRAP(bool, write_small_file,
                "_ZN10agentsight2os16write_small_fileERKNSt10filesystem7__cxx114pathE"
                "St17basic_string_viewIcSt11char_traitsIcEE",
                (const path& file, std::string_view text));
AGENTSIGHT_WRAP(void, sync_file, "_ZN10agentsight2os9sync_fileERKNSt10filesystem7__cxx114pathE",
                (const path& file));
AGENTSIGHT_WRAP(void, sync_folder,
                "_ZN10agentsight2os11sync_folderERKNSt10filesystem7__cxx114pathE",
                (const path& folder));
AGENTSIGHT_WRAP(void, rename_file,
                "_ZN10agentsight2os11rename_fileERKNSt10filesystem7__cxx114pathES5_",
                (const path& from, const path& to));
AGENTSIGHT_WRAP(bool, remove_file,
                "_ZN10agentsight2os11remove_fileERKNSt10filesystem7__cxx114pathE",
                (const path& file));
AGENTSIGHT_WRAP(bool, allocate_file,
                "_ZN10agentsight2os13allocate_fileERKNSt10filesystem7__cxx114pathEm",
                (const path& file, std::uint64_t bytes));

bool wrap_create_private_file(const path& file) {
    CrashDisk* disk = disk_of(file);
    require_alive(disk);
    const bool made = real_create_private_file(file);
    if (made && disk != nullptr) {
        disk->created(file);
        disk->folder_synced();
    }
    return made;
}

bool wrap_write_small_file(const path& file, std::string_view text) {
    CrashDisk* disk = disk_of(file);
    require_alive(disk);
    const bool made = real_write_small_file(file, text);
    if (made && disk != nullptr) {
        disk->created(file);
        disk->wrote(file, text);
        disk->synced(file);
        disk->folder_synced();
    }
    return made;
}

void wrap_sync_file(const path& file) {
    CrashDisk* disk = disk_of(file);
    require_alive(disk);
    if (disk != nullptr) {
        disk->synced(file);
        disk->folder_synced();
    } else {
        real_sync_file(file);
    }
}

void wrap_sync_folder(const path& folder) {
    CrashDisk* disk = disk_of(folder);
    require_alive(disk);
    if (disk != nullptr) {
        disk->folder_synced();
    } else {
        real_sync_folder(folder);
    }
}

void wrap_rename_file(const path& from, const path& to) {
    CrashDisk* disk = disk_of(from);
    require_alive(disk);
    real_rename_file(from, to);
    if (disk != nullptr) {
        disk->renamed(from, to);
    }
}

bool wrap_remove_file(const path& file) {
    CrashDisk* disk = disk_of(file);
    if (disk != nullptr && disk->is_dead()) {
        return false;
    }
    const bool gone = real_remove_file(file);
    if (gone && disk != nullptr) {
        disk->removed(file);
    }
    return gone;
}

bool wrap_allocate_file(const path& file, std::uint64_t bytes) {
    CrashDisk* disk = disk_of(file);
    if (disk != nullptr && disk->is_dead()) {
        return false;
    }
    const bool made = real_allocate_file(file, bytes);
    if (made && disk != nullptr) {
        disk->created(file);
        disk->folder_synced();
    }
    return made;
}
