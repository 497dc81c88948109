#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

/// Folders and files, as the outbox needs them. Failures throw std::system_error unless
/// said otherwise; messages name the path and what to do.
namespace agentsight::os {

/// What makes a file the same file, whatever its name.
struct FileIdentity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    bool operator==(const FileIdentity&) const = default;
};

/// By path, without opening it (an open and close would drop SQLite's POSIX locks); none
/// where there is nothing.
std::optional<FileIdentity> identity(const std::filesystem::path& path) noexcept;

enum class PathProblem {
    none,
    missing,
    not_a_folder,
    not_a_file,
    foreign_owner,
    writable_by_others,
    symbolic_link,
    hard_link,
    network_file_system,
    not_permitted,
    read_only
};

/// Makes `folder` and every missing parent, mode 0700, one by one, each parent fsynced; a
/// folder that exists is checked: ours (or root's where it is not writable by others),
/// not writable by others (a sticky shared folder such as /tmp is refused too unless it is
/// only a parent). Returns the problem found, nothing half done undone.
PathProblem prepare_folder(const std::filesystem::path& folder);

/// Checks an outbox folder without making it.
PathProblem check_folder(const std::filesystem::path& folder);

/// Whether this process may make files in it.
bool is_writable(const std::filesystem::path& folder) noexcept;

/// A regular file, one link, not a symbolic link, ours; `missing` where there is none.
PathProblem check_file(const std::filesystem::path& file);

/// O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600, whatever the umask; owned by the folder's owner
/// when run by root; the folder fsynced. False where it exists.
bool create_private_file(const std::filesystem::path& file);

/// NFS, SMB/CIFS, 9p, FUSE and the like by statfs(2).
bool is_network_file_system(const std::filesystem::path& folder);

/// Whole file as text, at most `max_bytes` (more: throws); none where it does not exist.
std::optional<std::string> read_small_file(const std::filesystem::path& file,
                                           std::size_t max_bytes);

/// As many bytes of its beginning as can be read, at most `count`.
std::string first_bytes(const std::filesystem::path& file, std::size_t count);

/// A new private file with this text, it and its folder synced; false where it exists. A
/// crash may leave it without its text, or with a part.
bool write_small_file(const std::filesystem::path& file, std::string_view text);

/// What any process wrote to it, and its name, is durable on return.
void sync_file(const std::filesystem::path& file);
void sync_folder(const std::filesystem::path& folder);
void rename_file(const std::filesystem::path& from, const std::filesystem::path& to);
bool remove_file(const std::filesystem::path& file) noexcept;
std::uint64_t file_size(const std::filesystem::path& file) noexcept;  ///< 0 where there is none

/// Preallocates `bytes` of real space (a ballast); false on a full disk.
bool allocate_file(const std::filesystem::path& file, std::uint64_t bytes) noexcept;

/// $XDG_DATA_HOME, else $HOME/.local/share, else the password database's home.
std::filesystem::path user_data_folder();
/// The running executable's name, without folder; "application" where unknown.
std::string executable_name();
/// An environment variable; none where unset or empty.
std::optional<std::string> environment(const char* name);

}  // namespace agentsight::os
