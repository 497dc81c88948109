#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "damage.hpp"
#include "shim_vfs.hpp"
#include "support/test_random.hpp"

namespace agentsight::test {

/// What a disk is, apart from the damage at the end.
struct DiskTraits {
    ShimTraits shim;
    bool sync_is_no_op = false;
    /// A lying disk still writes by itself: operations older than this many are on it.
    std::size_t cache_operations = 64;
};

/// One file: what is on the disk, and what only the page cache knows.
struct Node {
    Bytes durable;
    std::vector<Write> unsynced;
    bool is_database = false;

    Bytes current() const;
};
using Names = std::map<std::string, std::shared_ptr<Node>>;

struct NameChange {
    std::uint64_t number = 0;
    std::string name;
    std::shared_ptr<Node> node;  ///< null: the name goes
    std::string from;            ///< of a rename: goes in the same step
};

/// A folder at one moment: the durable names, and the changes that are not.
struct DiskImage {
    Names durable;
    std::vector<NameChange> unsynced;
    std::uint64_t changes = 0;

    static DiskImage of(const Files& files);
    Names current() const;
    DiskImage clone() const;
};

/// A folder on a disk that can lose power at any operation. SQLite reaches it by the VFS
/// `vfs()`; the files themselves are real and show what the page cache would, while here a
/// durable image, the unsynced operations of each file, and the durable and the unsynced
/// state of the folder are kept. Any thread.
class CrashDisk final : public Interceptor {
  public:
    /// The folder is made where it is missing, and shows what `image` does and nothing else.
    explicit CrashDisk(std::filesystem::path folder, const DiskImage& image = {},
                       DiskTraits traits = {});
    ~CrashDisk() override;

    const char* vfs() const { return vfs_->name(); }
    const std::filesystem::path& folder() const { return folder_; }

    /// Called at every operation that changes something, with its number: it has begun and
    /// is not synced. Power may go here: see stopped_by().
    std::function<void(std::uint64_t)> at_change;
    /// Called before every call: what is not SQLITE_OK fails it. A failed sync forgets, as
    /// Linux does: what was written stays visible and is never written to the disk.
    std::function<int(const Operation&)> fault;

    /// From now on every call fails: the process is as good as dead.
    void cut();
    bool is_dead() const;
    std::uint64_t changes() const;

    /// What a stop at this moment would leave. Any number of times.
    DiskImage stopped_by(Damage damage, TestRandom& random) const;
    /// Whether the damage could hit a database itself (not its log): a checkpoint is under way,
    /// or a lying disk has not yet written its pages.
    bool database_at_risk() const;

    // What the library does to the folder without SQLite: see os_hooks.hpp.
    void created(const std::filesystem::path& path);
    void wrote(const std::filesystem::path& path, std::string_view text);
    void synced(const std::filesystem::path& path);
    void renamed(const std::filesystem::path& from, const std::filesystem::path& to);
    void removed(const std::filesystem::path& path);
    void folder_synced();

    int before(const Operation& operation) override;
    void after(const Operation& operation) override;

  private:
    std::string local(std::string_view path) const;
    std::shared_ptr<Node> find(std::string_view path) const;
    int refusal(const Operation& operation);
    void opened(const Operation& operation);
    void record_write(const Operation& operation);
    void change_name(NameChange change);
    void adopt_strangers();
    void sync_names();
    void settle_cache();
    void changed();

    std::filesystem::path folder_;
    DiskTraits traits_;
    mutable std::recursive_mutex mutex_;
    DiskImage image_;
    Names names_;
    bool dead_ = false;
    std::unique_ptr<ShimVfs> vfs_;
};

}  // namespace agentsight::test
