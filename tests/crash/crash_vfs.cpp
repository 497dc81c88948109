#include "crash_vfs.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

namespace agentsight::test {

namespace {

std::string unique_name() {
    static std::atomic<std::uint64_t> next{0};
    return "crash-" + std::to_string(++next);
}

void write_file(const std::filesystem::path& path, const Bytes& bytes) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) {
        throw std::system_error(errno, std::generic_category(), "cannot write " + path.string());
    }
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t n = ::write(file, bytes.data() + done, bytes.size() - done);
        if (n <= 0) {
            ::close(file);
            throw std::system_error(errno, std::generic_category(),
                                    "cannot write " + path.string());
        }
        done += static_cast<std::size_t>(n);
    }
    ::close(file);
}

Bytes read_file(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

}  // namespace

void install(const std::filesystem::path& folder, const Files& files) {
    std::error_code ignored;
    if (!std::filesystem::create_directory(folder)) {
        for (const auto& entry : std::filesystem::directory_iterator{folder}) {
            std::filesystem::remove_all(entry.path(), ignored);
        }
    }
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
    for (const auto& [name, bytes] : files) {
        write_file(folder / name, bytes);
    }
}

CrashDisk::CrashDisk(std::filesystem::path folder, const Files& files, DiskTraits traits)
    : folder_{std::move(folder)}, traits_{traits} {
    install(folder_, files);
    for (const auto& [name, bytes] : files) {
        durable_names_[name] = std::make_shared<Node>(Node{bytes, {}, false});
    }
    names_ = durable_names_;
    vfs_ = std::make_unique<ShimVfs>(unique_name(), *this, traits.shim);
}

CrashDisk::~CrashDisk() = default;

std::string CrashDisk::local(std::string_view path) const {
    const std::string& folder = folder_.native();
    if (path.size() <= folder.size() + 1 || path.substr(0, folder.size()) != folder) {
        return {};
    }
    return std::string{path.substr(folder.size() + 1)};
}

CrashDisk::NodePointer CrashDisk::find(std::string_view path) const {
    const auto found = names_.find(local(path));
    return found == names_.end() ? nullptr : found->second;
}

int CrashDisk::before(const Operation& operation) {
    const std::lock_guard guard{mutex_};
    if (dead_) {
        switch (operation.call) {
            case Call::close:
            case Call::shm_unmap:
                return SQLITE_OK;
            case Call::open:
                return SQLITE_CANTOPEN;
            default:
                return SQLITE_IOERR;
        }
    }
    switch (operation.call) {
        case Call::open:
            if (!operation.path.empty() && !find(operation.path)) {
                adopt(operation);
            }
            if (const NodePointer node = find(operation.path)) {
                node->is_database = (operation.flags & SQLITE_OPEN_MAIN_DB) != 0;
            }
            break;
        case Call::write:
        case Call::truncate:
            record_write(operation);
            break;
        case Call::remove:
            if (find(operation.path)) {
                change_name({.name = local(operation.path), .node = nullptr, .from = {}});
            }
            break;
        case Call::sync:
            changed();
            break;
        default:
            break;
    }
    return dead_ ? SQLITE_IOERR : SQLITE_OK;
}

void CrashDisk::after(const Operation& operation) {
    const std::lock_guard guard{mutex_};
    if (traits_.sync_is_no_op) {
        return;
    }
    if (operation.call == Call::sync) {
        if (const NodePointer node = find(operation.path)) {
            sync_file(*node);
        }
    }
    if (operation.syncs_folder) {
        sync_names();
    }
}

void CrashDisk::adopt(const Operation& operation) {
    const std::string name = local(operation.path);
    if (name.empty()) {
        return;  // a temporary file elsewhere
    }
    NodePointer node = std::make_shared<Node>();
    if (operation.creates) {
        change_name({.name = name, .node = node, .from = {}});
    } else if (std::filesystem::exists(operation.path)) {
        // Made without SQLite, before this disk was told: durable, as its maker promises.
        node->durable = read_file(operation.path);
        names_[name] = node;
        durable_names_[name] = node;
    }
}

void CrashDisk::record_write(const Operation& operation) {
    const NodePointer node = find(operation.path);
    if (!node) {
        return;  // a temporary file, or one already unlinked: gone after any stop
    }
    Write write;
    write.number = changes_ + 1;
    write.offset = operation.offset;
    write.bytes.assign(operation.data.begin(), operation.data.end());
    write.is_truncation = operation.call == Call::truncate;
    node->unsynced.push_back(std::move(write));
    changed();
}

void CrashDisk::change_name(NameChange change) {
    change.number = changes_ + 1;
    apply_name(names_, change);
    unsynced_names_.push_back(std::move(change));
    changed();
}

void CrashDisk::changed() {
    ++changes_;
    if (at_change) {
        at_change(changes_);
    }
    if (traits_.sync_is_no_op) {
        settle_cache();
    }
}

void CrashDisk::sync_file(Node& node) {
    for (const Write& write : node.unsynced) {
        put(node.durable, write);
    }
    node.unsynced.clear();
}

void CrashDisk::sync_names() {
    durable_names_ = names_;
    unsynced_names_.clear();
}

void CrashDisk::settle_cache() {
    if (changes_ <= traits_.cache_operations) {
        return;
    }
    const std::uint64_t horizon = changes_ - traits_.cache_operations;
    for (const Names* names : {&names_, &durable_names_}) {
        for (const auto& [name, node] : *names) {
            settle_cache(*node, horizon);
        }
    }
    auto change = unsynced_names_.begin();
    for (; change != unsynced_names_.end() && change->number <= horizon; ++change) {
        apply_name(durable_names_, *change);
    }
    unsynced_names_.erase(unsynced_names_.begin(), change);
}

void CrashDisk::settle_cache(Node& node, std::uint64_t horizon) const {
    auto write = node.unsynced.begin();
    for (; write != node.unsynced.end() && write->number <= horizon; ++write) {
        put(node.durable, *write);
    }
    node.unsynced.erase(node.unsynced.begin(), write);
}

void CrashDisk::apply_name(Names& names, const NameChange& change) {
    if (!change.from.empty()) {
        names.erase(change.from);
    }
    if (change.node) {
        names[change.name] = change.node;
    } else {
        names.erase(change.name);
    }
}

void CrashDisk::created(const std::filesystem::path& path) {
    const std::lock_guard guard{mutex_};
    if (!find(path.native())) {
        change_name({.name = local(path.native()), .node = std::make_shared<Node>(), .from = {}});
    }
}

void CrashDisk::renamed(const std::filesystem::path& from, const std::filesystem::path& to) {
    const std::lock_guard guard{mutex_};
    if (const NodePointer node = find(from.native())) {
        change_name({.name = local(to.native()), .node = node, .from = local(from.native())});
    }
}

void CrashDisk::removed(const std::filesystem::path& path) {
    const std::lock_guard guard{mutex_};
    if (find(path.native())) {
        change_name({.name = local(path.native()), .node = nullptr, .from = {}});
    }
}

void CrashDisk::folder_synced() {
    const std::lock_guard guard{mutex_};
    changed();
    if (!traits_.sync_is_no_op) {
        sync_names();
    }
}

bool CrashDisk::database_at_risk() const {
    const std::lock_guard guard{mutex_};
    return std::any_of(names_.begin(), names_.end(), [](const auto& entry) {
        return entry.second->is_database && !entry.second->unsynced.empty();
    });
}

Files CrashDisk::survivors(Damage damage, TestRandom& random) const {
    const std::lock_guard guard{mutex_};
    const std::uint64_t lost = random.below(traits_.cache_operations + 1);
    const Stop stop{
        .damage = damage, .last = changes_, .lost_from = changes_ > lost ? changes_ - lost + 1 : 1};
    Names names = durable_names_;
    for (const NameChange& change : unsynced_names_) {
        if (name_survives(change.number, stop, random)) {
            apply_name(names, change);
        }
    }
    Files files;
    for (const auto& [name, node] : names) {
        files[name] = surviving_bytes(node->durable, node->unsynced, stop, random);
    }
    return files;
}

}  // namespace agentsight::test
