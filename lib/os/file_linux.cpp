#include "os/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "os/descriptor.hpp"
#include "os/private_file.hpp"

namespace agentsight::os {

void fail(int error, const char* doing, const std::filesystem::path& path) {
    throw std::system_error(error, std::generic_category(),
                            std::string{doing} + " " + path.string());
}

void make_private(int descriptor, const std::filesystem::path& path, unsigned mode) {
    // The umask may have taken bits away; it cannot have added any.
    if (::fchmod(descriptor, mode) != 0) {
        fail(errno, "cannot set the permissions of", path);
    }
    if (::geteuid() != 0) {
        return;
    }
    const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
    struct stat folder {};
    if (::stat(parent.c_str(), &folder) != 0) {
        fail(errno, "cannot look at", parent);
    }
    // A file system without owners (a stick, a share) refuses; it needs none.
    if (folder.st_uid != 0 && ::fchown(descriptor, folder.st_uid, folder.st_gid) != 0 &&
        errno != EPERM && errno != EINVAL && errno != ENOTSUP) {
        fail(errno, "cannot give to its folder's owner", path);
    }
}

namespace {

struct Look {
    FileIdentity identity;
    bool is_regular = false;
    std::uint64_t size = 0;
};

/// Does not ask for the file's times: on kernels with multigrain timestamps (Linux 6.13) whoever
/// does makes the next write stamp it anew, and the next fdatasync write its inode as well.
/// Measured, a stat(2) of the WAL a commit took 50 us of 140.
std::optional<Look> look_at(const std::filesystem::path& path) noexcept {
    struct statx found {};
    if (::statx(AT_FDCWD, path.c_str(), 0, STATX_TYPE | STATX_INO | STATX_SIZE, &found) == 0) {
        return Look{
            {.device = makedev(found.stx_dev_major, found.stx_dev_minor), .inode = found.stx_ino},
            S_ISREG(found.stx_mode),
            found.stx_size};
    }
    struct stat older {};
    const bool unknown_call = errno == ENOSYS || errno == EPERM;  // an older kernel, or sandbox
    if (!unknown_call || ::stat(path.c_str(), &older) != 0) {
        return std::nullopt;
    }
    return Look{{.device = older.st_dev, .inode = older.st_ino},
                S_ISREG(older.st_mode),
                static_cast<std::uint64_t>(older.st_size)};
}

}  // namespace

std::optional<FileIdentity> identity(const std::filesystem::path& path) noexcept {
    const auto found = look_at(path);
    return found ? std::optional{found->identity} : std::nullopt;
}

PathProblem check_file(const std::filesystem::path& file) {
    struct stat found {};
    if (::lstat(file.c_str(), &found) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) {
            return PathProblem::missing;
        }
        if (errno == EACCES) {
            return PathProblem::not_permitted;
        }
        fail(errno, "cannot look at", file);
    }
    if (S_ISLNK(found.st_mode)) {
        return PathProblem::symbolic_link;
    }
    if (!S_ISREG(found.st_mode)) {
        return PathProblem::not_a_file;
    }
    const uid_t us = ::geteuid();
    if (us != 0 && found.st_uid != us) {
        return PathProblem::foreign_owner;
    }
    return found.st_nlink == 1 ? PathProblem::none : PathProblem::hard_link;
}

bool create_private_file(const std::filesystem::path& file) {
    const Descriptor made =
        Descriptor::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY, 0600);
    if (!made.valid()) {
        if (errno == EEXIST) {
            return false;
        }
        fail(errno, "cannot create", file);
    }
    make_private(made.value(), file, 0600);
    sync_folder(file.has_parent_path() ? file.parent_path() : ".");
    return true;
}

bool write_small_file(const std::filesystem::path& file, std::string_view text) {
    const Descriptor made =
        Descriptor::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY, 0600);
    if (!made.valid()) {
        if (errno == EEXIST) {
            return false;
        }
        fail(errno, "cannot create", file);
    }
    make_private(made.value(), file, 0600);
    while (!text.empty()) {
        const ssize_t n = ::write(made.value(), text.data(), text.size());
        if (n < 0 && errno != EINTR) {
            fail(errno, "cannot write", file);
        }
        text.remove_prefix(n > 0 ? static_cast<std::size_t>(n) : 0);
    }
    if (::fsync(made.value()) != 0) {
        fail(errno, "cannot sync", file);
    }
    sync_folder(file.has_parent_path() ? file.parent_path() : ".");
    return true;
}

std::string first_bytes(const std::filesystem::path& file, std::size_t count) {
    const Descriptor source = Descriptor::open(file.c_str(), O_RDONLY | O_NOCTTY);
    std::string bytes(source.valid() ? count : 0, '\0');
    std::size_t got = 0;
    while (got < bytes.size()) {
        const ssize_t n = ::read(source.value(), bytes.data() + got, bytes.size() - got);
        if (n == 0 || (n < 0 && errno != EINTR)) {
            break;
        }
        got += n > 0 ? static_cast<std::size_t>(n) : 0;
    }
    bytes.resize(got);
    return bytes;
}

std::optional<std::string> read_small_file(const std::filesystem::path& file,
                                           std::size_t max_bytes) {
    const Descriptor source = Descriptor::open(file.c_str(), O_RDONLY | O_NOCTTY);
    if (!source.valid()) {
        if (errno == ENOENT) {
            return std::nullopt;
        }
        fail(errno, "cannot open", file);
    }
    std::string text;
    std::array<char, 4096> buffer;
    while (text.size() <= max_bytes) {
        const ssize_t n = ::read(source.value(), buffer.data(), buffer.size());
        if (n == 0) {
            return text;
        }
        if (n > 0) {
            text.append(buffer.data(), static_cast<std::size_t>(n));
        } else if (errno != EINTR) {
            fail(errno, "cannot read", file);
        }
    }
    fail(EFBIG, "too large to be what it should be:", file);
}

void sync_file(const std::filesystem::path& file) {
    const Descriptor opened = Descriptor::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_NOCTTY);
    if (!opened.valid()) {
        fail(errno, "cannot open", file);
    }
    if (::fsync(opened.value()) != 0) {
        fail(errno, "cannot sync", file);
    }
    sync_folder(file.has_parent_path() ? file.parent_path() : ".");
}

void sync_folder(const std::filesystem::path& folder) {
    const Descriptor opened =
        Descriptor::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY);
    if (!opened.valid()) {
        fail(errno, "cannot open", folder);
    }
    int result = 0;
    do {
        result = ::fsync(opened.value());
    } while (result != 0 && errno == EINTR);
    // Some file systems have no such thing as a folder's sync, and say so.
    if (result != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS) {
        fail(errno, "cannot sync the folder", folder);
    }
}

void rename_file(const std::filesystem::path& from, const std::filesystem::path& to) {
    if (::rename(from.c_str(), to.c_str()) != 0) {
        fail(errno, "cannot rename", from.string() + " to " + to.string());
    }
}

bool remove_file(const std::filesystem::path& file) noexcept {
    return ::unlink(file.c_str()) == 0;
}

std::uint64_t file_size(const std::filesystem::path& file) noexcept {
    const auto found = look_at(file);
    return found && found->is_regular ? found->size : 0;
}

namespace {

/// For file systems without fallocate(2): writes what no compression makes small.
bool fill(int descriptor, std::uint64_t bytes) noexcept {
    std::array<std::uint64_t, 512> block;
    std::uint64_t state = 1;
    for (std::uint64_t done = 0; done < bytes;) {
        for (auto& word : block) {
            state = state * 6364136223846793005ULL + 1442695040888963407ULL;
            word = state;
        }
        const std::size_t want = std::min<std::uint64_t>(sizeof block, bytes - done);
        const ssize_t n = ::pwrite(descriptor, block.data(), want, static_cast<off_t>(done));
        if (n > 0) {
            done += static_cast<std::uint64_t>(n);
        } else if (n == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

bool reserve(int descriptor, std::uint64_t bytes) noexcept {
    int result = 0;
    do {
        result = ::fallocate(descriptor, 0, 0, static_cast<off_t>(bytes));
    } while (result != 0 && errno == EINTR);
    if (result != 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        return fill(descriptor, bytes);
    }
    return result == 0;
}

}  // namespace

bool allocate_file(const std::filesystem::path& file, std::uint64_t bytes) noexcept {
    try {
        create_private_file(file);
        if (check_file(file) != PathProblem::none) {
            return false;
        }
        const Descriptor opened = Descriptor::open(file.c_str(), O_RDWR | O_NOFOLLOW | O_NOCTTY);
        if (opened.valid() && reserve(opened.value(), bytes)) {
            return true;
        }
    } catch (const std::exception&) {
        return false;
    }
    remove_file(file);  // half a ballast only makes the disk fuller
    return false;
}

}  // namespace agentsight::os
