#include "os/lock_file.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <optional>
#include <system_error>
#include <vector>

#include "helpers.hpp"
#include "os/process.hpp"
#include "support/child_process.hpp"
#include "support/temporary_folder.hpp"
#include "support/test_random.hpp"

using namespace agentsight;
using namespace agentsight::test;
using namespace std::chrono_literals;
using Range = os::LockFile::Range;
using Mode = os::LockFile::Mode;

namespace {

constexpr std::array ranges{Range::commit, Range::drain, Range::presence, Range::migrate};

/// What an attempt to use a path as a lock file is refused with.
std::optional<std::errc> refusal(const std::filesystem::path& path) {
    try {
        const os::LockFile file{path};
        return std::nullopt;
    } catch (const std::system_error& error) {
        return static_cast<std::errc>(error.code().value());
    }
}

}  // namespace

TEST_CASE("an exclusive lock keeps others out, a shared one only exclusive ones") {
    const TemporaryFolder folder;
    os::LockFile one{folder / "lock"};
    os::LockFile two{folder / "lock"};

    REQUIRE(one.lock(Range::commit, Mode::exclusive, 0ms));
    CHECK_FALSE(two.lock(Range::commit, Mode::exclusive, 0ms));
    CHECK_FALSE(two.lock(Range::commit, Mode::shared, 0ms));
    CHECK(two.held_by_other(Range::commit));
    CHECK_FALSE(one.held_by_other(Range::commit));
    one.unlock(Range::commit);

    REQUIRE(one.lock(Range::presence, Mode::shared, 0ms));
    CHECK(two.lock(Range::presence, Mode::shared, 0ms));
    CHECK_FALSE(one.lock(Range::presence, Mode::exclusive, 0ms));
    CHECK_FALSE(two.held_by_other(Range::presence));
}

TEST_CASE("a random history of locks agrees with a model, for every range on its own") {
    const std::uint64_t seed = test_seed();
    CAPTURE(seed);
    TestRandom random{seed};
    const TemporaryFolder folder;
    std::vector<os::LockFile> files;
    for (int i = 0; i < 4; ++i) {
        files.emplace_back(folder / "lock");
    }
    std::array<std::array<std::optional<Mode>, 4>, 4> model{};  // [range][file]

    for (int step = 0; step < 5'000; ++step) {
        const std::size_t range = random.below(4);
        const std::size_t file = random.below(4);
        if (random.one_in(3)) {
            files[file].unlock(ranges[range]);
            model[range][file].reset();
            continue;
        }
        const Mode mode = random.one_in(2) ? Mode::shared : Mode::exclusive;
        bool is_free = true;
        bool exclusively_held = false;
        for (std::size_t other = 0; other < 4; ++other) {
            if (other != file && model[range][other]) {
                is_free = is_free && mode == Mode::shared && *model[range][other] == mode;
                exclusively_held = exclusively_held || *model[range][other] == Mode::exclusive;
            }
        }
        REQUIRE(files[file].held_by_other(ranges[range]) == exclusively_held);
        REQUIRE(files[file].lock(ranges[range], mode, 0ms) == is_free);
        if (is_free) {
            model[range][file] = mode;
        }
    }
}

TEST_CASE("a killed process leaves no lock behind, a stopped one keeps it") {
    const TemporaryFolder folder;
    os::LockFile ours{folder / "lock"};
    auto child = ChildProcess::run([&](ParentLink& parent) {
        os::LockFile file{folder / "lock"};
        const bool locked = file.lock(Range::drain, Mode::exclusive, 0ms);
        parent.tell(locked ? 'l' : 'x');
        parent.await();
        return 0;
    });
    REQUIRE(child.await() == 'l');

    child.stop();
    CHECK_FALSE(ours.lock(Range::drain, Mode::exclusive, 1ms));
    CHECK(os::is_stopped(child.pid()) == true);
    child.kill();
    CHECK(ours.lock(Range::drain, Mode::exclusive, 0ms));
}

TEST_CASE("P11: a child that an owner forked does not keep the owner's lock alive") {
    const TemporaryFolder folder;
    auto owner = ChildProcess::run([&](ParentLink& parent) {
        os::LockFile file{folder / "lock"};
        if (!file.lock(Range::drain, Mode::exclusive, 0ms)) {
            return 1;
        }
        auto heir = ChildProcess::run([&](ParentLink& owner_link) {
            owner_link.tell();
            parent.await();  // lives on after its parent, until the test ends
            return 0;
        });
        heir.await();
        parent.tell();
        parent.await();
        return 0;
    });
    REQUIRE(owner.await() == '.');
    os::LockFile ours{folder / "lock"};
    CHECK_FALSE(ours.lock(Range::drain, Mode::exclusive, 0ms));
    owner.kill();
    CHECK(ours.lock(Range::drain, Mode::exclusive, 0ms));
}

TEST_CASE("a program that the owner started does not keep the owner's lock alive") {
    const TemporaryFolder folder;
    std::optional<os::LockFile> ours{folder / "lock"};
    REQUIRE(ours->lock(Range::drain, Mode::exclusive, 0ms));
    const auto program = ChildProcess::execute("/bin/cat", {});
    ours.reset();
    os::LockFile again{folder / "lock"};
    // Not at once: the child may still stand in fork(2), which gives the lock up there.
    CHECK(again.lock(Range::drain, Mode::exclusive, soon));
}

TEST_CASE("in a forked child a lock file refuses, and leaves the parent's locks alone") {
    const TemporaryFolder folder;
    os::LockFile ours{folder / "lock"};
    REQUIRE(ours.lock(Range::commit, Mode::exclusive, 0ms));
    const std::uint64_t generation = os::fork_generation();
    auto child = ChildProcess::run([&](ParentLink&) {
        const os::LockFile moved = std::move(ours);
        ours.unlock(Range::commit);
        if (os::fork_generation() != generation + 1) {
            return 1;
        }
        try {
            ours.lock(Range::drain, Mode::exclusive, 0ms);
            return 2;
        } catch (const std::system_error&) {
            return 0;
        }
    });
    CHECK(child.wait() == Ending{.code = 0});
    CHECK(os::fork_generation() == generation);
    os::LockFile other{folder / "lock"};
    CHECK(other.held_by_other(Range::commit));
}

TEST_CASE("a lock file that a cleaner deleted is noticed by the next lock, and made again") {
    const TemporaryFolder folder;
    os::LockFile one{folder / "lock"};
    REQUIRE(one.lock(Range::drain, Mode::exclusive, 0ms));
    CHECK(one.replaced() == 0);

    REQUIRE(os::remove_file(folder / "lock"));
    os::LockFile two{folder / "lock"};
    CHECK(one.lock(Range::commit, Mode::exclusive, 0ms));
    CHECK(one.replaced() == 1);
    CHECK_FALSE(two.lock(Range::commit, Mode::exclusive, 0ms));
    CHECK(two.lock(Range::drain, Mode::exclusive, 0ms));  // the old one is void
    CHECK(one.held_by_other(Range::drain));
}

TEST_CASE("two that hold a deleted lock file open keep each other out until its lock is free") {
    const TemporaryFolder folder;
    os::LockFile one{folder / "lock"};
    os::LockFile two{folder / "lock"};
    REQUIRE(one.lock(Range::commit, Mode::exclusive, 0ms));
    REQUIRE(os::remove_file(folder / "lock"));
    // On a new file the second would get it, in the middle of the first one's commit.
    CHECK_FALSE(two.lock(Range::commit, Mode::exclusive, 0ms));
    CHECK_FALSE(two.lock(Range::commit, Mode::exclusive, 2ms));
    CHECK(two.replaced() == 0);
    one.unlock(Range::commit);
    CHECK(two.lock(Range::commit, Mode::exclusive, 0ms));
    CHECK(two.replaced() == 1);
}

TEST_CASE("a lock file replaced by another is noticed") {
    const TemporaryFolder folder;
    os::LockFile one{folder / "lock"};
    { const os::LockFile other{folder / "new"}; }
    os::rename_file(folder / "new", folder / "lock");
    REQUIRE(one.lock(Range::commit, Mode::exclusive, 0ms));
    CHECK(one.replaced() == 1);
    os::LockFile two{folder / "lock"};
    CHECK_FALSE(two.lock(Range::commit, Mode::exclusive, 0ms));
}

TEST_CASE("two processes that take turns while a cleaner deletes never hold the lock together") {
    const std::uint64_t seed = test_seed();
    CAPTURE(seed);
    TestRandom random{seed};
    const TemporaryFolder folder;
    os::LockFile one{folder / "lock"};
    os::LockFile two{folder / "lock"};
    for (int round = 0; round < 500; ++round) {
        if (random.one_in(3)) {
            os::remove_file(folder / "lock");
        }
        os::LockFile& first = random.one_in(2) ? one : two;
        os::LockFile& second = &first == &one ? two : one;
        REQUIRE(first.lock(Range::commit, Mode::exclusive, 0ms));
        REQUIRE_FALSE(second.lock(Range::commit, Mode::exclusive, 0ms));
        first.unlock(Range::commit);
    }
}

TEST_CASE("S24: a lock file is private whatever the umask") {
    for (const mode_t mask : {0000U, 0022U, 0777U}) {
        const TemporaryFolder folder;
        const Umask umask{mask};
        const os::LockFile file{folder / "lock"};
        CHECK(mode_of(folder / "lock") == 0600);
    }
}

TEST_CASE("S26: root's lock file belongs to the folder's owner" * doctest::skip(::geteuid() != 0)) {
    const TemporaryFolder folder;
    REQUIRE(::chown(folder.path().c_str(), nobody, nobody) == 0);
    const os::LockFile file{folder / "lock"};
    CHECK(owner_of(folder / "lock") == nobody);
}

TEST_CASE("what is no lock file is refused and not touched") {
    const TemporaryFolder folder;
    write_file(folder / "database", "SQLite format 3");
    std::filesystem::create_symlink(folder / "database", folder / "symbolic");
    std::filesystem::create_hard_link(folder / "database", folder / "hard");
    std::filesystem::create_directory(folder / "folder");
    REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);

    CHECK(refusal(folder / "symbolic") == std::errc::too_many_symbolic_link_levels);
    CHECK(refusal(folder / "hard") == std::errc::too_many_links);
    CHECK(refusal(folder / "folder") == std::errc::invalid_argument);
    CHECK(refusal(folder / "fifo") == std::errc::invalid_argument);
    CHECK(refusal(folder / "missing" / "lock") == std::errc::no_such_file_or_directory);
    CHECK(read_file(folder / "database") == "SQLite format 3");
}

TEST_CASE("S22: where nothing can be written the error says why") {
    SUBCASE("a folder without permission") {
        const TemporaryFolder folder;
        std::filesystem::permissions(folder.path(), std::filesystem::perms{0555});
        auto child = ChildProcess::run([&](ParentLink&) {
            return become_ordinary() && refusal(folder / "lock") == std::errc::permission_denied
                       ? 0
                       : 1;
        });
        CHECK(child.wait() == Ending{.code = 0});
    }
    SUBCASE("a read-only medium") {
        const TemporaryFolder folder;
        auto child = ChildProcess::run([&](ParentLink&) {
            if (::unshare(CLONE_NEWNS) != 0 ||
                ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
                ::mount("none", folder.path().c_str(), "tmpfs", MS_RDONLY, nullptr) != 0) {
                return 77;
            }
            return refusal(folder / "lock") == std::errc::read_only_file_system ? 0 : 1;
        });
        const Ending ending = child.wait();
        if (ending.code == 77) {
            MESSAGE("skipped: no permission to mount");
        } else {
            CHECK(ending == Ending{.code = 0});
        }
    }
}

TEST_CASE("a wait for a lock ends at its deadline, also under a storm of signals") {
    const TemporaryFolder folder;
    os::LockFile one{folder / "lock"};
    os::LockFile two{folder / "lock"};
    REQUIRE(one.lock(Range::commit, Mode::exclusive, 0ms));

    struct sigaction action {};
    struct sigaction before {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, &before);
    const itimerval storm{.it_interval = {0, 1'000}, .it_value = {0, 1'000}};
    ::setitimer(ITIMER_REAL, &storm, nullptr);
    const auto start = std::chrono::steady_clock::now();
    const bool locked = two.lock(Range::commit, Mode::exclusive, 30ms);
    const auto waited = std::chrono::steady_clock::now() - start;
    one.unlock(Range::commit);
    const bool locked_later = two.lock(Range::commit, Mode::exclusive, 1s);
    const itimerval calm{};
    ::setitimer(ITIMER_REAL, &calm, nullptr);
    ::sigaction(SIGALRM, &before, nullptr);

    CHECK_FALSE(locked);
    CHECK(waited >= 30ms);
    CHECK(waited < 5s);
    CHECK(locked_later);
}

TEST_CASE("a process that takes the lock again and again lets others in") {
    const TemporaryFolder folder;
    auto greedy = ChildProcess::run([&](ParentLink& parent) {
        os::LockFile file{folder / "lock"};
        for (bool told = false;; told = true) {
            if (!file.lock(Range::commit, Mode::exclusive, 10s)) {
                return 1;
            }
            if (!told) {
                parent.tell();
            }
            const auto until = std::chrono::steady_clock::now() + 1ms;
            while (std::chrono::steady_clock::now() < until) {  // a commit
            }
            file.unlock(Range::commit);
        }
    });
    REQUIRE(greedy.await() == '.');
    os::LockFile ours{folder / "lock"};
    for (int turn = 0; turn < 50; ++turn) {
        REQUIRE(ours.lock(Range::commit, Mode::exclusive, 500ms));
        ours.unlock(Range::commit);
    }
}

TEST_CASE("a stopped process that waits for a lock stops nobody else") {
    const TemporaryFolder folder;
    os::LockFile ours{folder / "lock"};
    REQUIRE(ours.lock(Range::commit, Mode::exclusive, 0ms));
    auto waiter = ChildProcess::run([&](ParentLink& parent) {
        os::LockFile file{folder / "lock"};
        parent.tell();
        return file.lock(Range::commit, Mode::exclusive, 60s) ? 0 : 1;
    });
    REQUIRE(waiter.await() == '.');
    waiter.stop();
    ours.unlock(Range::commit);
    for (int turn = 0; turn < 20; ++turn) {
        REQUIRE(ours.lock(Range::commit, Mode::exclusive, 1s));
        ours.unlock(Range::commit);
    }
    waiter.resume();
    CHECK(waiter.wait() == Ending{.code = 0});
}

TEST_CASE("who says that it waits is seen by others until it unsays it or dies") {
    const TemporaryFolder folder;
    os::LockFile ours{folder / "lock"};
    REQUIRE(ours.lock(Range::drain, Mode::exclusive, 0ms));
    CHECK_FALSE(ours.others_wait(Range::drain));
    {
        os::LockFile follower{folder / "lock"};
        follower.say_waiting(Range::drain, true);
        CHECK(ours.others_wait(Range::drain));
        CHECK_FALSE(ours.others_wait(Range::commit));
        CHECK_FALSE(follower.others_wait(Range::drain));
        CHECK_FALSE(ours.held_by_other(Range::drain));
        follower.say_waiting(Range::drain, false);
        CHECK_FALSE(ours.others_wait(Range::drain));
        follower.say_waiting(Range::drain, true);
    }
    CHECK_FALSE(ours.others_wait(Range::drain));

    os::LockFile late{folder / "lock"};
    REQUIRE(os::remove_file(folder / "lock"));
    late.say_waiting(Range::drain, true);  // on a new file
    CHECK(ours.others_wait(Range::drain));
    CHECK(late.replaced() == 1);
}

TEST_CASE("a note beside the locks is read by others, whole or cut, and after a replacement") {
    const TemporaryFolder folder;
    os::LockFile one{folder / "lock"};
    const os::LockFile two{folder / "lock"};
    CHECK(two.read_note().empty());
    one.write_note("4711 a long one");
    CHECK(two.read_note() == "4711 a long one");
    one.write_note("42");
    CHECK(two.read_note() == "42");
    one.write_note(std::string(1'000, 'x'));
    CHECK(two.read_note() == std::string(255, 'x'));

    REQUIRE(os::remove_file(folder / "lock"));
    REQUIRE(one.lock(Range::drain, Mode::exclusive, 0ms));
    one.write_note("new");
    CHECK(two.read_note() == "new");
}

TEST_CASE("a lock file that was moved leaves nothing open, and one by default has no lock") {
    const TemporaryFolder folder;
    const std::size_t before = open_descriptors();
    {
        os::LockFile one{folder / "lock"};
        os::LockFile two{std::move(one)};
        one = std::move(two);
        CHECK(one.lock(Range::commit, Mode::exclusive, 0ms));
    }
    CHECK(open_descriptors() == before);
    os::LockFile none;
    CHECK_THROWS_AS(none.lock(Range::commit, Mode::exclusive, 0ms), std::system_error);
}
