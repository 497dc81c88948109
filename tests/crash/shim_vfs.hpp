#pragma once

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

namespace agentsight::test {

/// The methods of a VFS and of its files, as tests name them.
enum class Call {
    open,
    close,
    read,
    write,
    truncate,
    sync,
    file_size,
    lock,
    unlock,
    check_reserved,
    file_control,
    sector_size,
    remove,
    access,
    full_path,
    shm_map,
    shm_lock,
    shm_barrier,
    shm_unmap,
    fetch,
    unfetch,
};
inline constexpr int call_count = 21;
std::string_view name_of(Call call);

/// One call, about to happen or done.
struct Operation {
    Call call;
    std::string_view path;
    std::int64_t offset = 0;  ///< of read and write; the new size of truncate
    std::span<const std::uint8_t> data = {};
    int flags = 0;              ///< as SQLite gave them
    bool creates = false;       ///< open: there was no such file
    bool syncs_folder = false;  ///< sync, remove: "unix" would sync the folder with it
};

/// What watches, refuses or stops the calls. Called without locks of the shim held, on the
/// thread that calls SQLite.
class Interceptor {
  public:
    virtual ~Interceptor() = default;
    /// SQLITE_OK lets the call happen; anything else is its result, and it does not.
    virtual int before(const Operation& operation) = 0;
    /// After a call that happened and succeeded.
    virtual void after(const Operation&) {}
};

/// While a call of the shim runs on this thread: what it allocates is the test's own, and an
/// exception must not pass through SQLite.
class InShim {
  public:
    InShim() { ++depth; }
    ~InShim() { --depth; }
    InShim(const InShim&) = delete;
    InShim& operator=(const InShim&) = delete;
    static bool here() { return depth > 0; }

  private:
    static inline thread_local int depth = 0;
};

struct ShimTraits {
    bool claims_power_safe_overwrite = false;  ///< whatever psow= says: a defect on purpose
    int sector_size = 0;                       ///< 0: what "unix" says
    bool maps_files = false;                   ///< offers xFetch, xUnfetch (mmap)
    bool real_memory = false;  ///< the -shm of "unix", shared with who does not use this VFS
};

/// A VFS over "unix" for one process: files are real files, a sync is only told to the
/// interceptor, and shared memory is this process's own heap, gone when the last connection
/// goes. Registered under its name while the object lives.
class ShimVfs {
  public:
    ShimVfs(std::string name, Interceptor& interceptor, ShimTraits traits = {});
    ~ShimVfs();
    ShimVfs(const ShimVfs&) = delete;
    ShimVfs& operator=(const ShimVfs&) = delete;

    const char* name() const { return name_.c_str(); }

  private:
    struct File;
    struct SharedMemory;
    friend struct ShimCalls;

    std::shared_ptr<SharedMemory> shared_memory(const std::string& path);

    std::string name_;
    Interceptor& interceptor_;
    ShimTraits traits_;
    sqlite3_vfs* base_;
    sqlite3_vfs vfs_{};
    std::mutex mutex_;
    std::map<std::string, std::weak_ptr<SharedMemory>> shared_memories_;
};

}  // namespace agentsight::test
