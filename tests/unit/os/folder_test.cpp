#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <string>
#include <system_error>

#include "helpers.hpp"
#include "interposer.hpp"
#include "os/file.hpp"
#include "os/private_file.hpp"
#include "support/child_process.hpp"
#include "support/temporary_folder.hpp"

using namespace agentsight;
using namespace agentsight::test;
using os::PathProblem;

namespace {

/// As an ordinary user in a child process; -1 where that cannot be.
PathProblem prepared_by_ordinary_user(const std::filesystem::path& folder) {
    auto child = ChildProcess::run([&](ParentLink&) {
        return become_ordinary() ? 100 + static_cast<int>(os::prepare_folder(folder)) : 1;
    });
    return static_cast<PathProblem>(child.wait().code.value_or(0) - 100);
}

}  // namespace

TEST_CASE("missing folders are made one by one, private whatever the umask") {
    for (const mode_t mask : {0000U, 0022U, 0077U, 0777U}) {
        CAPTURE(mask);
        const TemporaryFolder folder;
        const Umask umask{mask};
        REQUIRE(os::prepare_folder(folder / "a" / "b" / "c") == PathProblem::none);
        for (const char* made : {"a", "a/b", "a/b/c"}) {
            CHECK(mode_of(folder / made) == 0700);
        }
        CHECK(os::prepare_folder(folder / "a" / "b" / "c") == PathProblem::none);
        CHECK(os::check_folder(folder / "a" / "b" / "c") == PathProblem::none);
    }
}

TEST_CASE("S3: each new folder's name is on disk before the next is made") {
    const TemporaryFolder folder;
    const CallRecord record;
    REQUIRE(os::prepare_folder(folder / "a" / "b") == PathProblem::none);
    const std::string base = folder.path().string();
    CHECK(record.calls() == std::vector<std::string>{"mkdir " + base + "/a", "fsync " + base,
                                                     "mkdir " + base + "/a/b",
                                                     "fsync " + base + "/a"});
}

TEST_CASE("S3: the names of an empty folder are synced, as its maker may have died before") {
    const TemporaryFolder folder;
    std::filesystem::create_directories(folder / "a" / "b");
    const auto synced = [](const CallRecord& record, const std::filesystem::path& path) {
        return std::ranges::count(record.calls(), "fsync " + path.string()) > 0;
    };
    {
        const CallRecord record;
        REQUIRE(os::prepare_folder(folder / "a" / "b") == PathProblem::none);
        CHECK(synced(record, folder / "a"));
        CHECK(synced(record, folder.path()));
    }
    write_file(folder / "a" / "b" / "outbox", "");
    const CallRecord record;
    REQUIRE(os::prepare_folder(folder / "a" / "b") == PathProblem::none);
    CHECK(record.calls().empty());
}

TEST_CASE("relative paths, an empty one, and odd spellings are folders too") {
    const TemporaryFolder folder;
    auto child = ChildProcess::run([&](ParentLink&) {
        std::filesystem::current_path(folder.path());
        const std::filesystem::path file = "feedback.db";
        const bool right = os::prepare_folder(file.parent_path()) == PathProblem::none &&
                           os::prepare_folder(".") == PathProblem::none &&
                           os::prepare_folder("x/y/") == PathProblem::none &&
                           os::prepare_folder("./x//z/../w") == PathProblem::none &&
                           os::create_private_file(file) && os::identity("x/y") &&
                           os::identity("x/w") && !os::identity("x/z");
        return right ? 0 : 1;
    });
    CHECK(child.wait() == Ending{.code = 0});
}

TEST_CASE("S25: a folder that others may write is refused, and so is a shared one like /tmp") {
    const TemporaryFolder folder;
    for (const mode_t mode : {0770U, 0702U, 0777U, 01777U, 01770U}) {
        CAPTURE(mode);
        REQUIRE(::chmod(folder.path().c_str(), mode) == 0);
        CHECK(os::prepare_folder(folder.path()) == PathProblem::writable_by_others);
        CHECK(os::check_folder(folder.path()) == PathProblem::writable_by_others);
    }
    CHECK(os::prepare_folder(folder / "own") == PathProblem::none);  // as a parent it will do
    for (const mode_t mode : {0700U, 0755U, 0750U, 0711U}) {
        REQUIRE(::chmod(folder.path().c_str(), mode) == 0);
        CHECK(os::prepare_folder(folder.path()) == PathProblem::none);
    }
}

TEST_CASE("S25: another user's folder is refused, by a symbolic link too; root may use any" *
          doctest::skip(::geteuid() != 0)) {
    const TemporaryFolder folder;
    REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
    std::filesystem::create_directory(folder / "theirs");
    REQUIRE(::chown((folder / "theirs").c_str(), 4711, 4711) == 0);
    std::filesystem::create_symlink(folder / "theirs", folder / "link");
    CHECK(prepared_by_ordinary_user(folder / "theirs") == PathProblem::foreign_owner);
    CHECK(prepared_by_ordinary_user(folder / "link") == PathProblem::foreign_owner);
    CHECK(os::prepare_folder(folder / "theirs") == PathProblem::none);

    REQUIRE(::chown((folder / "theirs").c_str(), nobody, nobody) == 0);
    CHECK(prepared_by_ordinary_user(folder / "link") == PathProblem::none);
}

TEST_CASE("S26: folders that root makes belong to the owner of the folder they are in" *
          doctest::skip(::geteuid() != 0)) {
    const TemporaryFolder folder;
    REQUIRE(::chown(folder.path().c_str(), nobody, nobody) == 0);
    REQUIRE(os::prepare_folder(folder / "a" / "b") == PathProblem::none);
    CHECK(owner_of(folder / "a") == nobody);
    CHECK(owner_of(folder / "a" / "b") == nobody);
}

TEST_CASE("what cannot be an outbox's folder is told apart") {
    const TemporaryFolder folder;
    write_file(folder / "file", "");
    std::filesystem::create_symlink("loop", folder / "loop");
    std::filesystem::create_symlink("nowhere", folder / "dangling");
    CHECK(os::prepare_folder(folder / "file") == PathProblem::not_a_folder);
    CHECK(os::prepare_folder(folder / "file" / "below") == PathProblem::not_a_folder);
    CHECK(os::prepare_folder(folder / "loop" / "below") == PathProblem::symbolic_link);
    CHECK(os::prepare_folder(folder / "dangling") == PathProblem::not_a_folder);
    CHECK(os::check_folder(folder / "missing") == PathProblem::missing);
    CHECK_FALSE(os::identity(folder / "missing"));
}

TEST_CASE("S22: a folder that may not be written is not prepared, but may be looked at") {
    const TemporaryFolder folder;
    REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
    std::filesystem::create_directory(folder / "closed");
    if (::geteuid() == 0) {
        REQUIRE(::chown((folder / "closed").c_str(), nobody, nobody) == 0);
    }
    REQUIRE(::chmod((folder / "closed").c_str(), 0555) == 0);
    CHECK(prepared_by_ordinary_user(folder / "closed") == PathProblem::not_permitted);
    CHECK(prepared_by_ordinary_user(folder / "closed" / "below") == PathProblem::not_permitted);
    CHECK(os::check_folder(folder / "closed") == PathProblem::none);

    auto child = ChildProcess::run([&](ParentLink&) {
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("none", (folder / "closed").c_str(), "tmpfs", MS_RDONLY, "mode=700") != 0) {
            return 77;
        }
        return os::prepare_folder(folder / "closed") == PathProblem::read_only &&
                       os::prepare_folder(folder / "closed" / "new") == PathProblem::read_only &&
                       os::check_folder(folder / "closed") == PathProblem::none
                   ? 0
                   : 1;
    });
    const Ending ending = child.wait();
    if (ending.code == 77) {
        MESSAGE("the read-only medium was skipped: no permission to mount");
    } else {
        CHECK(ending == Ending{.code = 0});
    }
}

TEST_CASE("a parent that may be written and not read is no obstacle") {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder / "drop");
    if (::geteuid() == 0) {
        REQUIRE(::chown((folder / "drop").c_str(), nobody, nobody) == 0);
        REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
    }
    REQUIRE(::chmod((folder / "drop").c_str(), 0300) == 0);
    CHECK(prepared_by_ordinary_user(folder / "drop" / "outbox") == PathProblem::none);
}

TEST_CASE("S21: file systems over a network are refused last, local ones are not") {
    const TemporaryFolder folder;
    CHECK_FALSE(os::is_network_file_system(folder.path()));
    for (const std::uint64_t type : {0x6969ULL, 0x517BULL, 0xFE534D42ULL, 0xFF534D42ULL,
                                     0x01021997ULL, 0x65735546ULL, 0x00C36400ULL}) {
        const FakeFileSystem fake{type};
        CAPTURE(type);
        CHECK(os::is_network_file_system(folder.path()));
        CHECK(os::prepare_folder(folder.path()) == PathProblem::network_file_system);
        CHECK(os::check_folder(folder.path()) == PathProblem::network_file_system);
    }
    // ext, btrfs, xfs, f2fs, tmpfs, overlay, zfs, ramfs, ubifs, jffs2, vfat, ecryptfs
    for (const std::uint64_t type :
         {0xEF53ULL, 0x9123683EULL, 0x58465342ULL, 0xF2F52010ULL, 0x01021994ULL, 0x794C7630ULL,
          0x2FC12FC1ULL, 0x858458F6ULL, 0x24051905ULL, 0x72B6ULL, 0x4D44ULL, 0xF15FULL}) {
        CAPTURE(type);
        CHECK_FALSE(os::is_network_type(type));
    }
    REQUIRE(::chmod(folder.path().c_str(), 0777) == 0);
    const FakeFileSystem fake{0x6969};  // an opt-in must not hide what is worse
    CHECK(os::prepare_folder(folder.path()) == PathProblem::writable_by_others);
    CHECK_THROWS_AS(os::is_network_file_system(folder / "missing"), std::system_error);
}
