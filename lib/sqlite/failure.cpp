#include "sqlite/failure.hpp"

#include <sqlite3.h>

#include <cerrno>
#include <utility>

namespace agentsight::sqlite {

namespace {

// A quota or a size limit comes as an I/O error; for the caller it is a full disk.
bool is_no_space(int system_errno) {
    return system_errno == ENOSPC || system_errno == EDQUOT || system_errno == EFBIG;
}

}  // namespace

Failure::Failure(int extended_code, int system_errno, std::string message)
    : extended_code_(extended_code), system_errno_(system_errno), message_(std::move(message)) {}

Failure Failure::full(std::string message) {
    return {SQLITE_FULL, 0, std::move(message)};
}
Failure Failure::io(std::string message) {
    return {SQLITE_IOERR, 0, std::move(message)};
}
Failure Failure::other(std::string message) {
    return {SQLITE_ERROR, 0, std::move(message)};
}

void throw_damaged(const char* message) {
    throw Failure(SQLITE_CORRUPT, 0, message);
}

Trouble Failure::trouble() const noexcept {
    switch (extended_code_ & 0xff) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_PROTOCOL:
            return Trouble::busy;
        case SQLITE_FULL:
            return Trouble::full;
        case SQLITE_NOMEM:
            return Trouble::no_memory;
        case SQLITE_READONLY:
        case SQLITE_PERM:
        case SQLITE_AUTH:
            return Trouble::read_only;
        case SQLITE_CANTOPEN:
            return Trouble::cannot_open;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
        case SQLITE_TOOBIG:  // nothing that long is ever written: a length that was garbled
            return Trouble::damaged;
        case SQLITE_IOERR:
            if (extended_code_ == SQLITE_IOERR_NOMEM) {
                return Trouble::no_memory;
            }
            // The header says WAL, the index's checksums do not: the file, not the device.
            if (extended_code_ == SQLITE_IOERR_CORRUPTFS || extended_code_ == SQLITE_IOERR_DATA) {
                return Trouble::damaged;
            }
            return is_no_space(system_errno_) ? Trouble::full : Trouble::io;
        case SQLITE_CONSTRAINT:
            return Trouble::constraint;
        case SQLITE_INTERRUPT:
            return Trouble::interrupted;
        default:
            return Trouble::other;
    }
}

}  // namespace agentsight::sqlite
