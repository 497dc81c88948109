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

/// A folder on a disk that can lose power at any operation. SQLite reaches it by the VFS
/// `vfs()`; the files themselves are real and show what the page cache would, while here a
/// durable image, the unsynced operations of each file, and the durable and the unsynced
/// state of the folder are kept. Any thread.
class CrashDisk final : public Interceptor {
  public:
    /// The folder is made where it is missing, and holds `files`, all durable.
    CrashDisk(std::filesystem::path folder, const Files& files = {}, DiskTraits traits = {});
    ~CrashDisk() override;

    const char* vfs() const { return vfs_->name(); }
    const std::filesystem::path& folder() const { return folder_; }

    /// Called at every operation that changes something, with its number from 1: it has
    /// begun and is not synced. Power may go here: see survivors().
    std::function<void(std::uint64_t)> at_change;

    /// From now on every call fails: the process is as good as dead.
    void cut() { dead_ = true; }
    std::uint64_t changes() const { return changes_; }

    /// What a stop at this moment would leave. Any number of times.
    Files survivors(Damage damage, TestRandom& random) const;
    /// Whether the damage could hit a database itself (not its log): a checkpoint is under way,
    /// or a lying disk has not yet written its pages.
    bool database_at_risk() const;

    // What the library does to the folder without SQLite.
    void created(const std::filesystem::path& path);
    void renamed(const std::filesystem::path& from, const std::filesystem::path& to);
    void removed(const std::filesystem::path& path);
    void folder_synced();

    int before(const Operation& operation) override;
    void after(const Operation& operation) override;

  private:
    struct Node {
        Bytes durable;
        std::vector<Write> unsynced;
        bool is_database = false;
    };
    using NodePointer = std::shared_ptr<Node>;
    struct NameChange {
        std::uint64_t number = 0;
        std::string name;
        NodePointer node;  ///< null: the name goes
        std::string from;  ///< of a rename: goes in the same step
    };
    using Names = std::map<std::string, NodePointer>;

    std::string local(std::string_view path) const;
    NodePointer find(std::string_view path) const;
    void adopt(const Operation& operation);
    void record_write(const Operation& operation);
    void change_name(NameChange change);
    void sync_file(Node& node);
    void sync_names();
    void settle_cache();
    void changed();
    void settle_cache(Node& node, std::uint64_t horizon) const;
    static void apply_name(Names& names, const NameChange& change);

    std::filesystem::path folder_;
    DiskTraits traits_;
    mutable std::recursive_mutex mutex_;
    Names durable_names_;
    Names names_;
    std::vector<NameChange> unsynced_names_;
    std::uint64_t changes_ = 0;
    bool dead_ = false;
    std::unique_ptr<ShimVfs> vfs_;
};

/// Makes `folder` hold these files and nothing else. Nobody has them open.
void install(const std::filesystem::path& folder, const Files& files);

}  // namespace agentsight::test
