#include "os/bell.hpp"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

#include "helpers.hpp"
#include "interposer.hpp"
#include "os/file.hpp"
#include "support/child_process.hpp"
#include "support/temporary_folder.hpp"

using namespace agentsight;
using namespace agentsight::test;
using namespace std::chrono_literals;

TEST_CASE("a ring is heard in another process, and once silenced no more") {
    const TemporaryFolder folder;
    os::Bell bell{folder / "bell"};
    const int descriptor = bell.descriptor();
    REQUIRE(descriptor >= 0);
    CHECK(bell.works());
    CHECK_FALSE(readable(descriptor));

    auto child = ChildProcess::run([&](ParentLink&) {
        os::Bell other{folder / "bell"};
        other.ring();
        return 0;
    });
    CHECK(readable(descriptor, soon));
    CHECK(child.wait() == Ending{.code = 0});
    bell.silence();
    CHECK_FALSE(readable(descriptor));
    CHECK(bell.descriptor() == descriptor);
}

TEST_CASE("an urgent ring is told from the others, once, also on a bell that was replaced") {
    const TemporaryFolder folder;
    os::Bell bell{folder / "bell"};
    os::Bell other{folder / "bell"};
    REQUIRE(bell.descriptor() >= 0);
    other.ring();
    CHECK_FALSE(bell.silence());
    other.ring();
    other.ring_urgently();
    other.ring();
    CHECK(readable(bell.descriptor()));
    CHECK(bell.silence());
    CHECK_FALSE(bell.silence());
    std::filesystem::remove(folder / "bell");
    other.ring_urgently();
    CHECK(bell.silence());
}

TEST_CASE("a ring of a process that died at once is heard") {
    const TemporaryFolder folder;
    os::Bell bell{folder / "bell"};
    const int descriptor = bell.descriptor();
    auto child = ChildProcess::run([&](ParentLink& parent) {
        os::Bell other{folder / "bell"};
        other.ring();
        parent.tell();
        parent.await();
        return 0;
    });
    REQUIRE(child.await() == '.');
    child.kill();
    CHECK(readable(descriptor));
}

TEST_CASE("a bell rung more often than a FIFO holds neither blocks nor stays loud") {
    const TemporaryFolder folder;
    os::Bell bell{folder / "bell"};
    os::Bell other{folder / "bell"};
    for (int i = 0; i < 100'000; ++i) {
        other.ring();
    }
    CHECK(readable(bell.descriptor()));
    bell.silence();
    CHECK_FALSE(readable(bell.descriptor()));
}

TEST_CASE("a bell without listeners takes rings without a signal") {
    const TemporaryFolder folder;
    auto child = ChildProcess::run([&](ParentLink&) {
        ::signal(SIGPIPE, SIG_DFL);
        os::Bell alone{folder / "bell"};
        alone.ring();
        return 0;
    });
    CHECK(child.wait() == Ending{.code = 0});
}

TEST_CASE("a file that is no FIFO is refused as a bell and not touched") {
    const TemporaryFolder folder;
    write_file(folder / "database", "SQLite format 3");
    std::filesystem::create_symlink(folder / "database", folder / "link");
    for (const char* name : {"database", "link"}) {
        os::Bell bell{folder / name};
        bell.ring();
        CHECK(bell.descriptor() == -1);
        CHECK_FALSE(bell.works());
        os::DrainerSign sign{folder / name};
        sign.raise();
        CHECK_FALSE(sign.raised());
        CHECK(sign.watch() == -1);
    }
    CHECK(read_file(folder / "database") == "SQLite format 3");
    os::Bell none;
    none.ring();
    none.silence();
    CHECK(none.descriptor() == -1);
}

TEST_CASE("a bell that a cleaner deleted wakes who waits, and works again") {
    const TemporaryFolder folder;
    os::Bell bell{folder / "bell"};
    const int descriptor = bell.descriptor();
    os::Bell other{folder / "bell"};

    for (int round = 0; round < 3; ++round) {
        REQUIRE(os::remove_file(folder / "bell"));
        CHECK(readable(descriptor, soon));
        SUBCASE("who waits looks first") {
            bell.silence();
            CHECK_FALSE(readable(descriptor));
            other.ring();
        }
        SUBCASE("who rings looks first") {
            other.ring();
            bell.silence();
            other.ring();
        }
        CHECK(readable(descriptor, soon));
        bell.silence();
        CHECK_FALSE(readable(descriptor));
        CHECK(bell.works());
    }
}

TEST_CASE("a bell moved away, or replaced by another, is noticed") {
    const TemporaryFolder folder;
    os::Bell bell{folder / "bell"};
    const int descriptor = bell.descriptor();
    os::rename_file(folder / "bell", folder / "away");
    CHECK(readable(descriptor, soon));
    bell.silence();
    { const os::Bell replacement{folder / "new"}; }
    os::rename_file(folder / "new", folder / "bell");
    CHECK(readable(descriptor, soon));
    bell.silence();
    os::Bell{folder / "bell"}.ring();
    CHECK(readable(descriptor, soon));
}

TEST_CASE("a bell that cannot watch for its removal says so, and a ring on the old file is heard") {
    const TemporaryFolder folder;
    os::Bell bell{folder / "bell"};
    os::Bell other{folder / "bell"};
    int descriptor = -1;
    {
        const Fault no_inotify{0, EMFILE};
        descriptor = bell.descriptor();
        CHECK(no_inotify.struck());
    }
    REQUIRE(descriptor >= 0);
    CHECK_FALSE(bell.works());
    REQUIRE(os::remove_file(folder / "bell"));
    CHECK_FALSE(readable(descriptor));
    other.ring();
    CHECK(readable(descriptor));
    bell.silence();
    os::Bell{folder / "bell"}.ring();
    CHECK(readable(descriptor));
}

TEST_CASE("a bell whose folder is gone says that it does not work") {
    TemporaryFolder folder;
    std::filesystem::create_directory(folder / "outbox");
    os::Bell bell{folder / "outbox" / "bell"};
    REQUIRE(bell.descriptor() >= 0);
    std::filesystem::remove_all(folder / "outbox");
    bell.ring();
    bell.silence();
    CHECK_FALSE(bell.works());
}

TEST_CASE("many threads ring one bell while one silences it and a cleaner deletes it") {
    const TemporaryFolder folder;
    os::Bell bell{folder / "bell"};
    const int descriptor = bell.descriptor();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int n = 0; n < 500; ++n) {
                bell.ring();
            }
        });
    }
    for (int n = 0; n < 200; ++n) {
        os::remove_file(folder / "bell");
        bell.silence();
    }
    for (auto& thread : threads) {
        thread.join();
    }
    bell.silence();
    CHECK_FALSE(readable(descriptor));
    bell.ring();
    CHECK(readable(descriptor));
}

TEST_CASE("S24: a bell is private whatever the umask, S26: and belongs to the folder's owner") {
    for (const mode_t mask : {0000U, 0022U, 0077U}) {
        const TemporaryFolder folder;
        const bool root = ::geteuid() == 0;
        REQUIRE((!root || ::chown(folder.path().c_str(), nobody, nobody) == 0));
        const Umask umask{mask};
        const os::Bell bell{folder / "bell"};
        CHECK(mode_of(folder / "bell") == 0600);
        CHECK(owner_of(folder / "bell") == (root ? nobody : ::geteuid()));
    }
}

TEST_CASE("in a forked child bell and sign do nothing, and the parent's go on") {
    const TemporaryFolder folder;
    os::Bell bell{folder / "bell"};
    os::DrainerSign sign{folder / "alive"};
    os::DrainerSign follower{folder / "alive"};
    sign.raise();
    const int descriptor = bell.descriptor();
    const int watched = follower.watch();
    auto child = ChildProcess::run([&](ParentLink&) {
        bell.ring();
        bell.silence();
        const bool silent = bell.descriptor() == -1 && !sign.raised() && !bell.works();
        sign.lower();
        return silent ? 0 : 1;
    });
    CHECK(child.wait() == Ending{.code = 0});
    CHECK_FALSE(readable(descriptor));
    CHECK_FALSE(readable(watched));
    bell.ring();
    CHECK(readable(descriptor));
}

namespace {

/// A process that raises the sign, says so, and waits.
ChildProcess run_drainer(const std::filesystem::path& path) {
    return ChildProcess::run([path](ParentLink& parent) {
        os::DrainerSign sign{path};
        sign.raise();
        parent.tell(sign.raised() ? 'r' : 'x');
        while (parent.await() == 'l') {
            sign.lower();
            parent.tell();
        }
        return 0;
    });
}

}  // namespace

TEST_CASE("followers learn at once that the drainer was killed, and not that it was stopped") {
    const TemporaryFolder folder;
    auto drainer = run_drainer(folder / "alive");
    REQUIRE(drainer.await() == 'r');
    std::vector<os::DrainerSign> followers(3);
    for (auto& follower : followers) {
        follower = os::DrainerSign{folder / "alive"};
        REQUIRE(follower.watch() >= 0);
        CHECK(follower.drainer_seen());
    }
    drainer.stop();
    for (auto& follower : followers) {
        CHECK_FALSE(readable(follower.watch(), 5ms));
    }
    drainer.kill();
    for (auto& follower : followers) {
        CHECK(readable(follower.watch(), soon));
        CHECK_FALSE(follower.drainer_seen());
    }
}

TEST_CASE("a follower that watched before there was a drainer learns of its end too") {
    const TemporaryFolder folder;
    os::DrainerSign follower{folder / "alive"};
    const int descriptor = follower.watch();
    REQUIRE(descriptor >= 0);
    CHECK_FALSE(readable(descriptor));
    CHECK_FALSE(follower.drainer_seen());
    auto drainer = run_drainer(folder / "alive");
    REQUIRE(drainer.await() == 'r');
    CHECK_FALSE(readable(descriptor));
    CHECK(follower.drainer_seen());
    drainer.kill();
    CHECK(readable(descriptor, soon));
}

TEST_CASE("a drainer that lowers its sign wakes followers, who watch its successor anew") {
    const TemporaryFolder folder;
    auto first = run_drainer(folder / "alive");
    REQUIRE(first.await() == 'r');
    os::DrainerSign follower{folder / "alive"};
    REQUIRE_FALSE(readable(follower.watch()));
    first.say('l');
    REQUIRE(first.await() == '.');
    CHECK(readable(follower.watch(), soon));

    follower.unwatch();
    auto second = run_drainer(folder / "alive");
    REQUIRE(second.await() == 'r');
    CHECK_FALSE(readable(follower.watch()));
    CHECK(follower.drainer_seen());
    second.kill();
    CHECK(readable(follower.watch(), soon));
}

TEST_CASE("P11: a child of the drainer does not hide the drainer's death") {
    const TemporaryFolder folder;
    auto drainer = ChildProcess::run([&](ParentLink& parent) {
        os::DrainerSign sign{folder / "alive"};
        sign.raise();
        auto heir = ChildProcess::run([&](ParentLink& drainer_link) {
            drainer_link.tell();
            parent.await();
            return 0;
        });
        heir.await();
        parent.tell();
        parent.await();
        return 0;
    });
    REQUIRE(drainer.await() == '.');
    os::DrainerSign follower{folder / "alive"};
    const int descriptor = follower.watch();
    CHECK(follower.drainer_seen());
    drainer.kill();
    CHECK(readable(descriptor, soon));
}

TEST_CASE("a drainer whose sign was deleted raises it again for new followers") {
    const TemporaryFolder folder;
    os::DrainerSign drainer{folder / "alive"};
    drainer.raise();
    REQUIRE(os::remove_file(folder / "alive"));
    os::DrainerSign follower{folder / "alive"};
    REQUIRE(follower.watch() >= 0);
    CHECK_FALSE(follower.drainer_seen());
    drainer.raise();
    CHECK(follower.drainer_seen());
    drainer.lower();
    CHECK(readable(follower.watch(), soon));
}
