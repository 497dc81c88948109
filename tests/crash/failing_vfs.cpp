#include "failing_vfs.hpp"

#include <atomic>
#include <stdexcept>

namespace agentsight::test {

std::span<const int> failures_of(Call call) {
    static constexpr std::array open{SQLITE_CANTOPEN, SQLITE_IOERR, SQLITE_IOERR_NOMEM};
    static constexpr std::array read{SQLITE_IOERR_READ, SQLITE_IOERR_NOMEM};
    static constexpr std::array write{SQLITE_FULL, SQLITE_IOERR_WRITE};
    static constexpr std::array truncate{SQLITE_IOERR_TRUNCATE};
    static constexpr std::array sync{SQLITE_IOERR_FSYNC, SQLITE_IOERR_DIR_FSYNC};
    static constexpr std::array file_size{SQLITE_IOERR_FSTAT};
    static constexpr std::array lock{SQLITE_IOERR_LOCK, SQLITE_BUSY};
    static constexpr std::array unlock{SQLITE_IOERR_UNLOCK};
    static constexpr std::array reserved{SQLITE_IOERR_CHECKRESERVEDLOCK};
    static constexpr std::array remove{SQLITE_IOERR_DELETE};
    static constexpr std::array access{SQLITE_IOERR_ACCESS, SQLITE_IOERR_NOMEM};
    static constexpr std::array full_path{SQLITE_CANTOPEN};
    static constexpr std::array shm_map{SQLITE_IOERR_SHMMAP, SQLITE_IOERR_NOMEM};
    static constexpr std::array shm_lock{SQLITE_IOERR_SHMLOCK, SQLITE_BUSY};
    switch (call) {
        case Call::open:
            return open;
        case Call::read:
            return read;
        case Call::write:
            return write;
        case Call::truncate:
            return truncate;
        case Call::sync:
            return sync;
        case Call::file_size:
            return file_size;
        case Call::lock:
            return lock;
        case Call::unlock:
            return unlock;
        case Call::check_reserved:
            return reserved;
        case Call::remove:
            return remove;
        case Call::access:
            return access;
        case Call::full_path:
            return full_path;
        case Call::shm_map:
            return shm_map;
        case Call::shm_lock:
            return shm_lock;
        default:
            return {};
    }
}

void FailingCalls::arm(Fault fault) {
    fault_ = fault;
    armed_ = true;
    failed_ = false;
    calls_ = 0;
}

int FailingCalls::operator()(const Operation& operation) {
    const bool unlocks =
        operation.call == Call::shm_lock && (operation.flags & SQLITE_SHM_UNLOCK) != 0;
    const std::span<const int> codes = failures_of(operation.call);
    if (!armed_ || unlocks || codes.empty()) {
        return SQLITE_OK;
    }
    ++calls_;
    if (fault_.nth == 0 || (fault_.for_ever ? calls_ < fault_.nth : calls_ != fault_.nth)) {
        return SQLITE_OK;
    }
    if (!failed_) {
        failed_call_ = operation.call;
    }
    failed_ = true;
    return codes[fault_.variant % codes.size()];
}

// --- memory ------------------------------------------------------------------------------

namespace {

sqlite3_mem_methods real_memory;
// Atomic: a worker of the library's allocates too.
Fault memory_fault;
std::atomic<bool> memory_armed{false};
std::atomic<bool> memory_failed{false};
std::atomic<std::uint64_t> memory_calls{0};

bool refuses() {
    if (!memory_armed) {
        return false;
    }
    const std::uint64_t call = ++memory_calls;
    const std::uint64_t nth = memory_fault.nth;
    const bool refused = nth != 0 && (memory_fault.for_ever ? call >= nth : call == nth);
    if (refused) {
        memory_failed = true;
    }
    return refused;
}

void* allocate(int size) {
    return refuses() ? nullptr : real_memory.xMalloc(size);
}
void* reallocate(void* old, int size) {
    return refuses() ? nullptr : real_memory.xRealloc(old, size);
}

}  // namespace

void FailingMemory::install() {
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory);
    static sqlite3_mem_methods methods = real_memory;
    methods.xMalloc = allocate;
    methods.xRealloc = reallocate;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) != SQLITE_OK) {
        throw std::logic_error("SQLite is in use already");
    }
}

void FailingMemory::arm(Fault fault) {
    memory_fault = fault;
    memory_armed = true;
    memory_failed = false;
    memory_calls = 0;
}

void FailingMemory::disarm() {
    memory_armed = false;
}
std::uint64_t FailingMemory::calls() {
    return memory_calls;
}
bool FailingMemory::has_failed() {
    return memory_failed;
}

}  // namespace agentsight::test
