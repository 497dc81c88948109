#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>

#include "support.hpp"
#include "support/child_process.hpp"

using namespace agentsight;
using namespace agentsight::test;

namespace {

/// The disk's owner takes what is left of it, to the last byte.
class Glutton {
  public:
    explicit Glutton(std::filesystem::path file) : file_(std::move(file)) {
        const int opened = ::open(file_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        const std::array<char, 4096> block{};
        for (const std::size_t piece : {block.size(), std::size_t{1}}) {
            while (::write(opened, block.data(), piece) > 0) {
            }
        }
        ::close(opened);
    }
    ~Glutton() { std::filesystem::remove(file_); }
    Glutton(const Glutton&) = delete;
    Glutton& operator=(const Glutton&) = delete;

  private:
    std::filesystem::path file_;
};

void write_to(const char* file, const std::string& text) {
    const int opened = ::open(file, O_WRONLY | O_CLOEXEC);
    const ssize_t n = ::write(opened, text.data(), text.size());
    static_cast<void>(n);
    ::close(opened);
}

/// Mounts of this process's own. Who is not root is root of a user namespace, where the
/// system has them, with the same ids as outside.
bool unshare_mounts() {
    if (::unshare(CLONE_NEWNS) == 0) {
        return true;
    }
    const auto same = [](unsigned id) {
        return std::to_string(id) + " " + std::to_string(id) + " 1";
    };
    const std::string user = same(::geteuid());
    const std::string group = same(::getegid());
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
        return false;
    }
    write_to("/proc/self/setgroups", "deny");
    write_to("/proc/self/uid_map", user);
    write_to("/proc/self/gid_map", group);
    return true;
}

bool mount_small_disk(const std::filesystem::path& folder) {
    return unshare_mounts() && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           ::mount("none", folder.c_str(), "tmpfs", 0, "size=3m,mode=700") == 0;
}

bool can_mount() {
    auto child = ChildProcess::run([](ParentLink&) { return mount_small_disk("/tmp") ? 0 : 1; });
    return child.wait() == Ending{.code = 0};
}

/// What went wrong, in words; empty: nothing. In a process of its own, whose disk is small.
std::string drain_on_a_full_disk(const TemporaryFolder& folder) {
    sandbox::Server server{sandbox::ServerOptions{}};
    Options options = options_for(folder, server.url());
    ConversationManager manager{options};
    manager.pause();
    std::map<std::string, int> accepted;
    std::error_code ec;
    const auto submit = [&](const std::string& comment) {
        ec.clear();
        manager.submit_feedback("c" + comment.substr(0, 12), "positive", comment, ec);
        accepted[comment] += ec ? 0 : 1;
    };
    for (int i = 0; i < 400; ++i) {
        submit("before " + std::to_string(i));
        if (ec) {
            return "submit with space: " + ec.message();
        }
    }
    {
        const Glutton glutton{folder / "other"};
        manager.resume();
        // The first may still find room in the log that is kept.
        for (int i = 0; i < 200; ++i) {
            submit("during " + std::to_string(i) + std::string(3'000, 'x'));
        }
        if (ec != errc::disk_full) {
            return "submit on a full disk: " + ec.message();
        }
        if (!manager.flush(60s)) {
            return "the drain did not come to its end on the full disk";
        }
        const Status status = manager.stats();
        if (status.waiting + status.claimed + status.unknown != 0) {
            return "not everything was delivered on the full disk";
        }
    }
    // The ballast comes back within a second or so; a submit that comes too early is refused.
    const auto deadline = std::chrono::steady_clock::now() + patience;
    do {
        submit("after");
    } while (ec == errc::disk_full && std::chrono::steady_clock::now() < deadline);
    if (ec) {
        return "submit with space again: " + ec.message();
    }
    if (!manager.flush(60s)) {
        return "the drain with space again";
    }
    std::erase_if(accepted, [](const auto& one) { return one.second == 0; });
    return count_by_comment(server.rows()) == accepted ? "" : "other rows than were accepted";
}

}  // namespace

TEST_CASE("S8 S9: on a full disk submits are refused, and what was accepted arrives once" *
          doctest::skip(!can_mount())) {
    const TemporaryFolder folder;
    auto child = ChildProcess::run([&](ParentLink&) {
        const std::string problem = mount_small_disk(folder.path())
                                        ? drain_on_a_full_disk(folder)
                                        : std::string{"cannot mount a small disk"};
        std::fprintf(stderr, "%s%s", problem.c_str(), problem.empty() ? "" : "\n");
        return problem.empty() ? 0 : 1;
    });
    CHECK(child.wait() == Ending{.code = 0});
}
