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

#include "os_hooks.hpp"

namespace agentsight::test {

namespace {

constexpr std::int64_t page_bytes = 4096;  ///< of the page cache

std::string unique_name() {
    static std::atomic<std::uint64_t> next{0};
    return "crash-" + std::to_string(++next);
}

[[noreturn]] void fail(const std::filesystem::path& path) {
    throw std::system_error(errno, std::generic_category(), "cannot write " + path.string());
}

void write_file(const std::filesystem::path& path, const Bytes& bytes) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) {
        fail(path);
    }
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t n = ::write(file, bytes.data() + done, bytes.size() - done);
        if (n <= 0) {
            ::close(file);
            fail(path);
        }
        done += static_cast<std::size_t>(n);
    }
    ::close(file);
}

Bytes read_file(std::string_view path) {
    std::ifstream file{std::string{path}, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

/// Makes `folder` show these files and nothing else. Nobody has them open.
void install(const std::filesystem::path& folder, const Names& names) {
    std::error_code ignored;
    if (!std::filesystem::create_directory(folder)) {
        for (const auto& entry : std::filesystem::directory_iterator{folder}) {
            std::filesystem::remove_all(entry.path(), ignored);
        }
    }
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all);
    for (const auto& [name, node] : names) {
        write_file(folder / name, node->current());
    }
}

void put_name(Names& names, const NameChange& change) {
    if (!change.from.empty()) {
        names.erase(change.from);
    }
    if (change.node) {
        names[change.name] = change.node;
    } else {
        names.erase(change.name);
    }
}

std::int64_t last_page(const Write& write) {
    const auto size = static_cast<std::int64_t>(write.bytes.size());
    return (write.offset + std::max<std::int64_t>(size, 1) - 1) / page_bytes;
}

bool share_a_page(const Write& a, const Write& b) {
    return a.offset / page_bytes <= last_page(b) && b.offset / page_bytes <= last_page(a);
}

/// Writes what no failed sync has made the kernel forget.
void sync_file(Node& node) {
    for (const Write& write : node.unsynced) {
        if (!write.is_forgotten) {
            put(node.durable, write);
        }
    }
    std::erase_if(node.unsynced, [](const Write& write) { return !write.is_forgotten; });
}

/// What a failed sync left in the page cache goes with the file's end.
void forget_beyond(Node& node, std::int64_t size) {
    std::erase_if(node.unsynced,
                  [&](const Write& write) { return write.is_forgotten && write.offset >= size; });
    for (Write& write : node.unsynced) {
        const auto kept = static_cast<std::size_t>(size - std::min(size, write.offset));
        if (write.is_forgotten && write.bytes.size() > kept) {
            write.bytes.resize(kept);
        }
    }
}

void settle_file(Node& node, std::uint64_t horizon) {
    auto write = node.unsynced.begin();
    for (; write != node.unsynced.end() && write->number <= horizon; ++write) {
        put(node.durable, *write);
    }
    node.unsynced.erase(node.unsynced.begin(), write);
}

}  // namespace

// --- images ------------------------------------------------------------------------------

Bytes Node::current() const {
    Bytes image = durable;
    for (const Write& write : unsynced) {
        put(image, write);
    }
    return image;
}

DiskImage DiskImage::of(const Files& files) {
    DiskImage image;
    for (const auto& [name, bytes] : files) {
        image.durable[name] = std::make_shared<Node>(Node{bytes, {}});
    }
    return image;
}

Names DiskImage::current() const {
    Names names = durable;
    for (const NameChange& change : unsynced) {
        put_name(names, change);
    }
    return names;
}

DiskImage DiskImage::clone() const {
    std::map<const Node*, std::shared_ptr<Node>> copies;
    const auto copy_of = [&](const std::shared_ptr<Node>& node) -> std::shared_ptr<Node> {
        if (!node) {
            return nullptr;
        }
        std::shared_ptr<Node>& copy = copies[node.get()];
        if (!copy) {
            copy = std::make_shared<Node>(*node);
        }
        return copy;
    };
    DiskImage image = *this;
    for (auto& [name, node] : image.durable) {
        node = copy_of(node);
    }
    for (NameChange& change : image.unsynced) {
        change.node = copy_of(change.node);
    }
    return image;
}

// --- the disk ----------------------------------------------------------------------------

CrashDisk::CrashDisk(std::filesystem::path folder, const DiskImage& image, DiskTraits traits)
    : folder_{std::move(folder)}, traits_{traits}, image_{image.clone()}, names_{image_.current()} {
    install(folder_, names_);
    vfs_ = std::make_unique<ShimVfs>(unique_name(), *this, traits.shim);
    know_disk(*this);
}

CrashDisk::~CrashDisk() {
    forget_disk(*this);
}

void CrashDisk::cut() {
    const std::lock_guard guard{mutex_};
    dead_ = true;
}

bool CrashDisk::is_dead() const {
    const std::lock_guard guard{mutex_};
    return dead_;
}

std::uint64_t CrashDisk::changes() const {
    const std::lock_guard guard{mutex_};
    return image_.changes;
}

std::string CrashDisk::local(std::string_view path) const {
    const std::string& folder = folder_.native();
    if (path.size() <= folder.size() + 1 || path.substr(0, folder.size()) != folder) {
        return {};
    }
    return std::string{path.substr(folder.size() + 1)};
}

std::shared_ptr<Node> CrashDisk::find(std::string_view path) const {
    const auto found = names_.find(local(path));
    return found == names_.end() ? nullptr : found->second;
}

int CrashDisk::refusal(const Operation& operation) {
    if (dead_) {
        const bool harmless = operation.call == Call::close || operation.call == Call::shm_unmap;
        return harmless ? SQLITE_OK : SQLITE_IOERR;
    }
    const int code = fault ? fault(operation) : SQLITE_OK;
    if (code != SQLITE_OK && operation.call == Call::sync) {
        if (const auto node = find(operation.path)) {
            for (Write& write : node->unsynced) {
                write.is_forgotten = !write.is_truncation;
            }
        }
    }
    return code;
}

int CrashDisk::before(const Operation& operation) {
    const std::lock_guard guard{mutex_};
    if (const int code = refusal(operation); code != SQLITE_OK) {
        return code;
    }
    switch (operation.call) {
        case Call::open:
            opened(operation);
            break;
        case Call::write:
        case Call::truncate:
            record_write(operation);
            break;
        case Call::remove:
            removed(operation.path);
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
        if (const auto node = find(operation.path)) {
            sync_file(*node);
        }
    }
    if (operation.syncs_folder) {
        sync_names();
    }
}

void CrashDisk::opened(const Operation& operation) {
    const std::string name = local(operation.path);
    if (name.empty()) {
        return;  // a temporary file elsewhere
    }
    std::shared_ptr<Node> node = find(operation.path);
    if (!node && operation.creates) {
        node = std::make_shared<Node>();
        change_name({.name = name, .node = node, .from = {}});
    } else if (!node && std::filesystem::exists(operation.path)) {
        // Made without SQLite, and this disk was not told: durable, as its maker promises.
        node = std::make_shared<Node>(Node{read_file(operation.path), {}});
        names_[name] = node;
        image_.durable[name] = node;
    }
    if (node && (operation.flags & SQLITE_OPEN_MAIN_DB) != 0) {
        node->is_database = true;
    }
}

void CrashDisk::record_write(const Operation& operation) {
    const auto node = find(operation.path);
    if (!node) {
        return;  // a temporary file, or one already unlinked: gone after any stop
    }
    Write write;
    write.number = image_.changes + 1;
    write.offset = operation.offset;
    write.bytes.assign(operation.data.begin(), operation.data.end());
    write.is_truncation = operation.call == Call::truncate;
    if (write.is_truncation) {
        forget_beyond(*node, write.offset);
    }
    // Writing to a page makes all of it dirty again: the next sync remembers it.
    for (Write& earlier : node->unsynced) {
        earlier.is_forgotten = earlier.is_forgotten && !share_a_page(earlier, write);
    }
    node->unsynced.push_back(std::move(write));
    changed();
}

void CrashDisk::change_name(NameChange change) {
    change.number = image_.changes + 1;
    put_name(names_, change);
    image_.unsynced.push_back(std::move(change));
    changed();
}

void CrashDisk::changed() {
    ++image_.changes;
    if (at_change) {
        at_change(image_.changes);
    }
    if (traits_.sync_is_no_op) {
        settle_cache();
    }
}

/// Files made by nobody who tells this disk, such as the locks': known from the folder's next
/// sync on. What is in them does not matter.
void CrashDisk::adopt_strangers() {
    for (const auto& entry : std::filesystem::directory_iterator{folder_}) {
        const std::string name = entry.path().filename();
        if (!names_.contains(name) && entry.is_regular_file()) {
            names_[name] = std::make_shared<Node>();
        }
    }
}

void CrashDisk::sync_names() {
    adopt_strangers();
    image_.durable = names_;
    image_.unsynced.clear();
}

void CrashDisk::settle_cache() {
    if (image_.changes <= traits_.cache_operations) {
        return;
    }
    const std::uint64_t horizon = image_.changes - traits_.cache_operations;
    for (const Names* names : {&names_, &image_.durable}) {
        for (const auto& [name, node] : *names) {
            settle_file(*node, horizon);
        }
    }
    auto change = image_.unsynced.begin();
    for (; change != image_.unsynced.end() && change->number <= horizon; ++change) {
        put_name(image_.durable, *change);
    }
    image_.unsynced.erase(image_.unsynced.begin(), change);
}

void CrashDisk::created(const std::filesystem::path& path) {
    const InShim here;
    const std::lock_guard guard{mutex_};
    const std::string name = local(path.native());
    if (!name.empty() && !find(path.native())) {
        change_name({.name = name, .node = std::make_shared<Node>(), .from = {}});
    }
}

void CrashDisk::wrote(const std::filesystem::path& path, std::string_view text) {
    const InShim here;
    const std::lock_guard guard{mutex_};
    record_write({.call = Call::write,
                  .path = path.native(),
                  .data = {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}});
}

void CrashDisk::synced(const std::filesystem::path& path) {
    const InShim here;
    const std::lock_guard guard{mutex_};
    changed();
    if (const auto node = find(path.native()); node && !traits_.sync_is_no_op) {
        sync_file(*node);
    }
}

void CrashDisk::renamed(const std::filesystem::path& from, const std::filesystem::path& to) {
    const InShim here;
    const std::lock_guard guard{mutex_};
    if (const auto node = find(from.native())) {
        change_name({.name = local(to.native()), .node = node, .from = local(from.native())});
    }
}

void CrashDisk::removed(const std::filesystem::path& path) {
    const InShim here;
    const std::lock_guard guard{mutex_};
    if (find(path.native())) {
        change_name({.name = local(path.native()), .node = nullptr, .from = {}});
    }
}

void CrashDisk::folder_synced() {
    const InShim here;
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

// --- what a stop leaves ------------------------------------------------------------------

DiskImage CrashDisk::stopped_by(Damage damage, TestRandom& random) const {
    const std::lock_guard guard{mutex_};
    const std::uint64_t lost = random.below(traits_.cache_operations + 1);
    const Stop stop{.damage = damage,
                    .last = image_.changes,
                    .lost_from = image_.changes > lost ? image_.changes - lost + 1 : 1};
    DiskImage left = image_.clone();
    std::vector<NameChange> surviving;
    for (const NameChange& change : left.unsynced) {
        if (name_survives(change.number, stop, random)) {
            surviving.push_back(change);
        }
    }
    left.unsynced = std::move(surviving);
    if (damage == Damage::process_kill) {
        for (const auto& [name, node] : left.current()) {
            node->unsynced = after_kill(node->unsynced, stop, random);
        }
        return left;
    }
    // The page cache is gone: what there is, is durable.
    left.durable = left.current();
    left.unsynced.clear();
    for (const auto& [name, node] : left.durable) {
        node->durable = surviving_bytes(node->durable, node->unsynced, stop, random);
        node->unsynced.clear();
    }
    return left;
}

}  // namespace agentsight::test
