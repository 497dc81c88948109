#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <system_error>
#include <vector>

#include "os/descriptor.hpp"
#include "os/file.hpp"
#include "os/private_file.hpp"

namespace agentsight::os {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_depth = 256;

fs::path absolute_folder(const fs::path& folder) {
    fs::path whole = fs::absolute(folder.empty() ? fs::path{"."} : folder).lexically_normal();
    return whole.has_filename() ? whole : whole.parent_path();  // without a final slash
}

PathProblem problem_of(int error, const fs::path& path) {
    switch (error) {
        case ENOENT:
            return PathProblem::missing;
        case ENOTDIR:
            return PathProblem::not_a_folder;
        case EACCES:
        case EPERM:
            return PathProblem::not_permitted;
        case EROFS:
            return PathProblem::read_only;
        case ELOOP:
            return PathProblem::symbolic_link;
        default:
            fail(error, "cannot use the folder", path);
    }
}

/// Who may change what is in it. A folder of root's that only root writes is as safe as one
/// of ours. Root's own tool works on any user's folder.
PathProblem check_owner(const struct stat& folder) {
    const uid_t us = ::geteuid();
    if (us != 0 && folder.st_uid != us && folder.st_uid != 0) {
        return PathProblem::foreign_owner;
    }
    // The sticky bit keeps others from renaming our files, not from planting theirs first.
    const bool shared = (folder.st_mode & (S_IWGRP | S_IWOTH)) != 0;
    return shared ? PathProblem::writable_by_others : PathProblem::none;
}

PathProblem check_existing(const fs::path& folder) {
    struct stat found {};
    if (::stat(folder.c_str(), &found) != 0) {
        return problem_of(errno, folder);
    }
    if (!S_ISDIR(found.st_mode)) {
        return PathProblem::not_a_folder;
    }
    return check_owner(found);
}

PathProblem check_writable(const fs::path& folder) {
    return is_writable(folder) ? PathProblem::none : problem_of(errno, folder);
}

/// The new name is on disk once its parent is. A parent that we may write and not read
/// cannot be opened: then the whole file system is synced, by way of the new folder.
void sync_name_of(const fs::path& folder) {
    try {
        sync_folder(folder.parent_path());
    } catch (const std::system_error& error) {
        const Descriptor opened = Descriptor::open(folder.c_str(), O_RDONLY | O_DIRECTORY);
        if (error.code() != std::errc::permission_denied || !opened.valid() ||
            ::syncfs(opened.value()) != 0) {
            throw;
        }
    }
}

/// None where it is a folder now, whoever made it.
PathProblem make_folder(const fs::path& folder) {
    if (::mkdir(folder.c_str(), 0700) != 0) {
        if (errno != EEXIST) {
            return problem_of(errno, folder);
        }
        struct stat found {};
        const bool is_folder = ::stat(folder.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
        return is_folder ? PathProblem::none : PathProblem::not_a_folder;
    }
    const Descriptor made = Descriptor::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (made.valid()) {
        make_private(made.value(), folder, 0700);
    } else if (::chmod(folder.c_str(), 0700) != 0) {  // a umask that hides it from us
        return problem_of(errno, folder);
    }
    sync_name_of(folder);
    return PathProblem::none;
}

/// Whether nothing is in it: then whoever made it may have died before the sync.
bool holds_nothing(const fs::path& folder) {
    // Not std::filesystem's iterator: out of memory in it ends the process.
    DIR* const entries = ::opendir(folder.c_str());
    if (entries == nullptr) {
        return false;
    }
    bool nothing = true;
    while (const dirent* entry = ::readdir(entries)) {
        const std::string_view name{entry->d_name};
        if (name != "." && name != "..") {
            nothing = false;
            break;
        }
    }
    ::closedir(entries);
    return nothing;
}

/// Syncs the names of `folder` and of those of its parents that could be as new.
void sync_names_upwards(fs::path folder) {
    for (std::size_t depth = 0; depth < max_depth && folder != folder.root_path(); ++depth) {
        const fs::path parent = folder.parent_path();
        if (check_writable(parent) != PathProblem::none) {
            return;  // made by somebody else
        }
        sync_name_of(folder);
        folder = parent;
    }
}

PathProblem make_missing(const fs::path& folder) {
    std::vector<fs::path> missing;
    fs::path at = folder;
    struct stat found {};
    while (::stat(at.c_str(), &found) != 0) {
        if (errno != ENOENT) {
            return problem_of(errno, at);
        }
        missing.push_back(at);
        if (at == at.root_path() || missing.size() > max_depth) {
            return PathProblem::missing;
        }
        at = at.parent_path();
    }
    if (!S_ISDIR(found.st_mode)) {
        return PathProblem::not_a_folder;
    }
    for (auto folder_to_make = missing.rbegin(); folder_to_make != missing.rend();
         ++folder_to_make) {
        const PathProblem problem = make_folder(*folder_to_make);
        if (problem != PathProblem::none) {
            return problem;
        }
    }
    return PathProblem::none;
}

PathProblem check_network(const fs::path& folder) {
    return is_network_file_system(folder) ? PathProblem::network_file_system : PathProblem::none;
}

}  // namespace

PathProblem prepare_folder(const fs::path& given) {
    const fs::path folder = absolute_folder(given);
    PathProblem problem = check_existing(folder);
    if (problem == PathProblem::missing) {
        problem = make_missing(folder);
        if (problem == PathProblem::none) {
            problem = check_existing(folder);
        }
    } else if (problem == PathProblem::none && holds_nothing(folder)) {
        sync_names_upwards(folder);
    }
    if (problem == PathProblem::none) {
        problem = check_writable(folder);
    }
    return problem == PathProblem::none ? check_network(folder) : problem;
}

bool is_writable(const fs::path& folder) noexcept {
    return ::faccessat(AT_FDCWD, folder.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) == 0;
}

PathProblem check_folder(const fs::path& given) {
    const fs::path folder = absolute_folder(given);
    const PathProblem problem = check_existing(folder);
    return problem == PathProblem::none ? check_network(folder) : problem;
}

bool is_network_type(std::uint64_t type) noexcept {
    // From linux/magic.h and the file systems' own sources; not all are in every header.
    static constexpr std::array<std::uint64_t, 20> network{
        0x6969,      // NFS
        0x517B,      // SMB
        0xFE534D42,  // SMB2
        0xFF534D42,  // CIFS
        0x01021997,  // 9P
        0x65735546,  // FUSE: sshfs, glusterfs, s3fs, virtiofs
        0x5346414F,  // AFS
        0x6B414653,  // kAFS
        0x6B616653,  // AFS, as newer kernels have it
        0x73757245,  // CODA
        0x564C,      // NCP
        0x00C36400,  // CEPH
        0x0BD00BD0,  // LUSTRE
        0x47504653,  // GPFS
        0x19830326,  // FhGFS, BeeGFS
        0x7C7C6673,  // PRL_FS: Parallels' shared folders
        0x786F4256,  // VBOXSF: VirtualBox's shared folders
        0xBACBACBC,  // VMHGFS: VMware's shared folders
        0x01161970,  // GFS2
        0x7461636F,  // OCFS2
    };
    for (const std::uint64_t one : network) {
        if (one == type) {
            return true;
        }
    }
    return false;
}

bool is_network_file_system(const fs::path& folder) {
    struct statfs found {};
    int result = 0;
    do {
        result = ::statfs(folder.empty() ? "." : folder.c_str(), &found);
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
        fail(errno, "cannot ask for the file system of", folder);
    }
    // f_type is signed on some machines: 0xFF534D42 must not become negative.
    return is_network_type(static_cast<std::uint32_t>(found.f_type));
}

}  // namespace agentsight::os
