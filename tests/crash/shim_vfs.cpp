#include "shim_vfs.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

namespace agentsight::test {

std::string_view name_of(Call call) {
    static constexpr std::array<std::string_view, call_count> names{
        "open",      "close",  "read",      "write",          "truncate",     "sync",
        "file_size", "lock",   "unlock",    "check_reserved", "file_control", "sector_size",
        "remove",    "access", "full_path", "shm_map",        "shm_lock",     "shm_barrier",
        "shm_unmap", "fetch",  "unfetch"};
    return names[static_cast<std::size_t>(call)];
}

/// The -shm of one database: regions and locks, shared by the connections of this process.
struct ShimVfs::SharedMemory {
    static constexpr int slots = SQLITE_SHM_NLOCK;
    std::mutex mutex;
    std::vector<std::unique_ptr<std::uint8_t[]>> regions;
    std::array<int, slots> shared{};
    std::array<bool, slots> exclusive{};
};

struct ShimVfs::File {
    sqlite3_file head;
    sqlite3_file* real;
    ShimVfs* shim;
    std::string* path;
    int flags;
    bool folder_unsynced;  ///< as in "unix": the first sync of a new log syncs the folder too
    std::shared_ptr<SharedMemory>* memory;
    unsigned shared_mask;
    unsigned exclusive_mask;
};

/// C functions cannot be members: they are gathered here, next to the data.
struct ShimCalls {
    using File = ShimVfs::File;

    static File& file_of(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
    static ShimVfs& shim_of(sqlite3_vfs* vfs) { return *static_cast<ShimVfs*>(vfs->pAppData); }

    /// Asks the interceptor, calls, tells it.
    template <class Body>
    static int guarded(ShimVfs& shim, const Operation& operation, Body body) {
        const InShim here;
        if (const int refused = shim.interceptor_.before(operation); refused != SQLITE_OK) {
            return refused;
        }
        const int code = body();
        if (code == SQLITE_OK) {
            shim.interceptor_.after(operation);
        }
        return code;
    }

    // --- the VFS -------------------------------------------------------------------------
    static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* out, int flags,
                    int* out_flags) {
        const InShim here;
        ShimVfs& shim = shim_of(vfs);
        File& file = file_of(out);
        file.head.pMethods = nullptr;
        const std::string path = name != nullptr ? name : "";
        int there = 1;
        if (!path.empty()) {
            shim.base_->xAccess(shim.base_, path.c_str(), SQLITE_ACCESS_EXISTS, &there);
        }
        const bool may_create = (flags & SQLITE_OPEN_CREATE) != 0;
        const Operation operation{
            .call = Call::open, .path = path, .flags = flags, .creates = there == 0 && may_create};
        file.real = reinterpret_cast<sqlite3_file*>(&file + 1);
        return guarded(shim, operation, [&] {
            const int code = shim.base_->xOpen(shim.base_, name, file.real, flags, out_flags);
            if (code != SQLITE_OK) {
                return code;
            }
            constexpr int logs =
                SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL;
            file.shim = &shim;
            file.path = new std::string(path);
            file.flags = flags;
            file.folder_unsynced = may_create && (flags & logs) != 0;
            file.memory = nullptr;
            file.shared_mask = 0;
            file.exclusive_mask = 0;
            file.head.pMethods = methods(shim.traits_.maps_files);
            return SQLITE_OK;
        });
    }

    static int remove(sqlite3_vfs* vfs, const char* path, int sync_folder) {
        ShimVfs& shim = shim_of(vfs);
        const Operation operation{
            .call = Call::remove, .path = path, .syncs_folder = sync_folder != 0};
        return guarded(shim, operation, [&] { return shim.base_->xDelete(shim.base_, path, 0); });
    }

    static int access(sqlite3_vfs* vfs, const char* path, int flags, int* out) {
        ShimVfs& shim = shim_of(vfs);
        return guarded(shim, {.call = Call::access, .path = path, .flags = flags},
                       [&] { return shim.base_->xAccess(shim.base_, path, flags, out); });
    }

    /// SQLite waits between its tries; what it waits for does not come in a test of one thread.
    static int sleep(sqlite3_vfs*, int microseconds) { return microseconds; }

    static int full_path(sqlite3_vfs* vfs, const char* path, int size, char* out) {
        const InShim here;
        ShimVfs& shim = shim_of(vfs);
        const Operation operation{.call = Call::full_path, .path = path};
        if (const int refused = shim.interceptor_.before(operation); refused != SQLITE_OK) {
            return refused;
        }
        return shim.base_->xFullPathname(shim.base_, path, size, out);
    }

    // --- files ---------------------------------------------------------------------------
    static int close(sqlite3_file* out) {
        const InShim here;
        File& file = file_of(out);
        // A close happens whatever it says: SQLite does not ask again.
        const Operation operation{.call = Call::close, .path = *file.path};
        const int told = file.shim->interceptor_.before(operation);
        drop_memory(file);
        const int code = file.real->pMethods->xClose(file.real);
        delete file.path;
        file.path = nullptr;
        return told != SQLITE_OK ? told : code;
    }

    static int read(sqlite3_file* out, void* buffer, int amount, sqlite3_int64 offset) {
        File& file = file_of(out);
        return guarded(*file.shim, {.call = Call::read, .path = *file.path, .offset = offset}, [&] {
            return file.real->pMethods->xRead(file.real, buffer, amount, offset);
        });
    }

    static int write(sqlite3_file* out, const void* buffer, int amount, sqlite3_int64 offset) {
        File& file = file_of(out);
        const Operation operation{
            .call = Call::write,
            .path = *file.path,
            .offset = offset,
            .data = {static_cast<const std::uint8_t*>(buffer), static_cast<std::size_t>(amount)}};
        return guarded(*file.shim, operation, [&] {
            return file.real->pMethods->xWrite(file.real, buffer, amount, offset);
        });
    }

    static int truncate(sqlite3_file* out, sqlite3_int64 size) {
        File& file = file_of(out);
        return guarded(*file.shim, {.call = Call::truncate, .path = *file.path, .offset = size},
                       [&] { return file.real->pMethods->xTruncate(file.real, size); });
    }

    static int sync(sqlite3_file* out, int flags) {
        File& file = file_of(out);
        const Operation operation{.call = Call::sync,
                                  .path = *file.path,
                                  .flags = flags,
                                  .syncs_folder = file.folder_unsynced};
        return guarded(*file.shim, operation, [&] {
            file.folder_unsynced = false;
            return SQLITE_OK;
        });
    }

    static int file_size(sqlite3_file* out, sqlite3_int64* size) {
        File& file = file_of(out);
        return guarded(*file.shim, {.call = Call::file_size, .path = *file.path},
                       [&] { return file.real->pMethods->xFileSize(file.real, size); });
    }

    static int lock(sqlite3_file* out, int level) {
        File& file = file_of(out);
        return guarded(*file.shim, {.call = Call::lock, .path = *file.path, .flags = level},
                       [&] { return file.real->pMethods->xLock(file.real, level); });
    }

    static int unlock(sqlite3_file* out, int level) {
        File& file = file_of(out);
        return guarded(*file.shim, {.call = Call::unlock, .path = *file.path, .flags = level},
                       [&] { return file.real->pMethods->xUnlock(file.real, level); });
    }

    static int check_reserved(sqlite3_file* out, int* result) {
        File& file = file_of(out);
        return guarded(*file.shim, {.call = Call::check_reserved, .path = *file.path},
                       [&] { return file.real->pMethods->xCheckReservedLock(file.real, result); });
    }

    static int file_control(sqlite3_file* out, int operation_code, void* argument) {
        File& file = file_of(out);
        const Operation operation{
            .call = Call::file_control, .path = *file.path, .flags = operation_code};
        return guarded(*file.shim, operation, [&] {
            return file.real->pMethods->xFileControl(file.real, operation_code, argument);
        });
    }

    static int sector_size(sqlite3_file* out) {
        File& file = file_of(out);
        const int given = file.shim->traits_.sector_size;
        return given != 0 ? given : file.real->pMethods->xSectorSize(file.real);
    }

    static int device_characteristics(sqlite3_file* out) {
        File& file = file_of(out);
        const int real = file.real->pMethods->xDeviceCharacteristics(file.real);
        return file.shim->traits_.claims_power_safe_overwrite
                   ? real | SQLITE_IOCAP_POWERSAFE_OVERWRITE
                   : real;
    }

    // --- shared memory -------------------------------------------------------------------
    static int shm_map(sqlite3_file* out, int region, int size, int extend,
                       void volatile** address) {
        const InShim here;
        File& file = file_of(out);
        *address = nullptr;
        const Operation operation{
            .call = Call::shm_map, .path = *file.path, .offset = region, .flags = extend};
        return guarded(*file.shim, operation, [&] {
            if (file.shim->traits_.real_memory) {
                return file.real->pMethods->xShmMap(file.real, region, size, extend, address);
            }
            if (file.memory == nullptr) {
                file.memory = new std::shared_ptr<ShimVfs::SharedMemory>(
                    file.shim->shared_memory(*file.path));
            }
            ShimVfs::SharedMemory& memory = **file.memory;
            const std::lock_guard guard{memory.mutex};
            const auto wanted = static_cast<std::size_t>(region);
            while (extend != 0 && memory.regions.size() <= wanted) {
                memory.regions.push_back(
                    std::make_unique<std::uint8_t[]>(static_cast<std::size_t>(size)));
            }
            if (wanted < memory.regions.size()) {
                *address = memory.regions[wanted].get();
            }
            return SQLITE_OK;
        });
    }

    static int shm_lock(sqlite3_file* out, int offset, int count, int flags) {
        const InShim here;
        File& file = file_of(out);
        const Operation operation{
            .call = Call::shm_lock, .path = *file.path, .offset = offset, .flags = flags};
        if ((flags & SQLITE_SHM_UNLOCK) != 0) {
            // An unlock cannot fail for SQLite; it is told for the yield points.
            file.shim->interceptor_.before(operation);
            if (file.shim->traits_.real_memory) {
                return file.real->pMethods->xShmLock(file.real, offset, count, flags);
            }
            release(file, offset, count);
            return SQLITE_OK;
        }
        return guarded(*file.shim, operation, [&] {
            if (file.shim->traits_.real_memory) {
                return file.real->pMethods->xShmLock(file.real, offset, count, flags);
            }
            return acquire(file, offset, count, (flags & SQLITE_SHM_SHARED) != 0);
        });
    }

    static int acquire(File& file, int offset, int count, bool shared) {
        if (file.memory == nullptr) {
            return SQLITE_IOERR_SHMLOCK;
        }
        ShimVfs::SharedMemory& memory = **file.memory;
        const std::lock_guard guard{memory.mutex};
        for (int slot = offset; slot < offset + count; ++slot) {
            const auto index = static_cast<std::size_t>(slot);
            const unsigned bit = 1u << slot;
            const int others = memory.shared[index] - ((file.shared_mask & bit) != 0 ? 1 : 0);
            const bool taken = memory.exclusive[index] && (file.exclusive_mask & bit) == 0;
            if (taken || (!shared && others > 0)) {
                return SQLITE_BUSY;
            }
        }
        for (int slot = offset; slot < offset + count; ++slot) {
            const auto index = static_cast<std::size_t>(slot);
            const unsigned bit = 1u << slot;
            if (shared && (file.shared_mask & bit) == 0) {
                ++memory.shared[index];
                file.shared_mask |= bit;
            } else if (!shared) {
                memory.exclusive[index] = true;
                file.exclusive_mask |= bit;
            }
        }
        return SQLITE_OK;
    }

    static void release(File& file, int offset, int count) {
        if (file.memory == nullptr) {
            return;
        }
        ShimVfs::SharedMemory& memory = **file.memory;
        const std::lock_guard guard{memory.mutex};
        for (int slot = offset; slot < offset + count; ++slot) {
            const auto index = static_cast<std::size_t>(slot);
            const unsigned bit = 1u << slot;
            if ((file.shared_mask & bit) != 0) {
                --memory.shared[index];
            }
            if ((file.exclusive_mask & bit) != 0) {
                memory.exclusive[index] = false;
            }
            file.shared_mask &= ~bit;
            file.exclusive_mask &= ~bit;
        }
    }

    static void shm_barrier(sqlite3_file* out) {
        const InShim here;
        File& file = file_of(out);
        file.shim->interceptor_.before({.call = Call::shm_barrier, .path = *file.path});
        if (file.shim->traits_.real_memory) {
            return file.real->pMethods->xShmBarrier(file.real);
        }
        std::atomic_thread_fence(std::memory_order_seq_cst);
    }

    static int shm_unmap(sqlite3_file* out, int remove_it) {
        const InShim here;
        File& file = file_of(out);
        const int told =
            file.shim->interceptor_.before({.call = Call::shm_unmap, .path = *file.path});
        if (file.shim->traits_.real_memory) {
            return file.real->pMethods->xShmUnmap(file.real, remove_it);
        }
        drop_memory(file);
        return told;
    }

    static void drop_memory(File& file) {
        release(file, 0, SQLITE_SHM_NLOCK);
        delete std::exchange(file.memory, nullptr);
    }

    static int fetch(sqlite3_file* out, sqlite3_int64 offset, int amount, void** page) {
        File& file = file_of(out);
        *page = nullptr;
        return guarded(
            *file.shim, {.call = Call::fetch, .path = *file.path, .offset = offset},
            [&] { return file.real->pMethods->xFetch(file.real, offset, amount, page); });
    }

    static int unfetch(sqlite3_file* out, sqlite3_int64 offset, void* page) {
        File& file = file_of(out);
        return guarded(*file.shim, {.call = Call::unfetch, .path = *file.path, .offset = offset},
                       [&] { return file.real->pMethods->xUnfetch(file.real, offset, page); });
    }

    static const sqlite3_io_methods* methods(bool maps_files) {
        static const sqlite3_io_methods plain{.iVersion = 2,
                                              .xClose = close,
                                              .xRead = read,
                                              .xWrite = write,
                                              .xTruncate = truncate,
                                              .xSync = sync,
                                              .xFileSize = file_size,
                                              .xLock = lock,
                                              .xUnlock = unlock,
                                              .xCheckReservedLock = check_reserved,
                                              .xFileControl = file_control,
                                              .xSectorSize = sector_size,
                                              .xDeviceCharacteristics = device_characteristics,
                                              .xShmMap = shm_map,
                                              .xShmLock = shm_lock,
                                              .xShmBarrier = shm_barrier,
                                              .xShmUnmap = shm_unmap,
                                              .xFetch = nullptr,
                                              .xUnfetch = nullptr};
        static const sqlite3_io_methods mapping = [] {
            sqlite3_io_methods all = plain;
            all.iVersion = 3;
            all.xFetch = fetch;
            all.xUnfetch = unfetch;
            return all;
        }();
        return maps_files ? &mapping : &plain;
    }
};

ShimVfs::ShimVfs(std::string name, Interceptor& interceptor, ShimTraits traits)
    : name_{std::move(name)},
      interceptor_{interceptor},
      traits_{traits},
      base_{sqlite3_vfs_find("unix")} {
    if (base_ == nullptr || sqlite3_vfs_find(name_.c_str()) != nullptr) {
        throw std::logic_error("no VFS \"unix\", or one of this name already: " + name_);
    }
    vfs_ = *base_;
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + base_->szOsFile;
    vfs_.pNext = nullptr;
    vfs_.zName = name_.c_str();
    vfs_.pAppData = this;
    vfs_.xOpen = ShimCalls::open;
    vfs_.xDelete = ShimCalls::remove;
    vfs_.xAccess = ShimCalls::access;
    vfs_.xFullPathname = ShimCalls::full_path;
    vfs_.xSleep = ShimCalls::sleep;
    sqlite3_vfs_register(&vfs_, 0);
}

ShimVfs::~ShimVfs() {
    sqlite3_vfs_unregister(&vfs_);
}

std::shared_ptr<ShimVfs::SharedMemory> ShimVfs::shared_memory(const std::string& path) {
    const std::lock_guard guard{mutex_};
    std::shared_ptr<SharedMemory> memory = shared_memories_[path].lock();
    if (!memory) {
        memory = std::make_shared<SharedMemory>();
        shared_memories_[path] = memory;
        std::erase_if(shared_memories_, [](const auto& entry) { return entry.second.expired(); });
    }
    return memory;
}

}  // namespace agentsight::test
