#include "os/file.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <system_error>

#include "helpers.hpp"
#include "interposer.hpp"
#include "support/child_process.hpp"
#include "support/temporary_folder.hpp"

using namespace agentsight;
using namespace agentsight::test;
using os::PathProblem;

namespace {

/// For as long as it lives, an environment variable has another value, or none.
class Variable {
  public:
    Variable(const char* name, const char* value) : name_{name} {
        if (const char* before = std::getenv(name); before != nullptr) {
            before_ = before;
        }
        set(value);
    }
    ~Variable() { set(before_ ? before_->c_str() : nullptr); }
    Variable(const Variable&) = delete;
    Variable& operator=(const Variable&) = delete;

  private:
    void set(const char* value) {
        if (value == nullptr) {
            ::unsetenv(name_);
        } else {
            ::setenv(name_, value, 1);
        }
    }
    const char* name_;
    std::optional<std::string> before_;
};

}  // namespace

TEST_CASE("S24: a private file is private whatever the umask, made once, its name synced") {
    for (const mode_t mask : {0000U, 0022U, 0777U}) {
        const TemporaryFolder folder;
        const Umask umask{mask};
        const CallRecord record;
        CHECK(os::create_private_file(folder / "file"));
        CHECK(record.calls() == std::vector<std::string>{"fsync " + folder.path().string()});
        CHECK(mode_of(folder / "file") == 0600);
        CHECK_FALSE(os::create_private_file(folder / "file"));
        CHECK(os::check_file(folder / "file") == PathProblem::none);
    }
}

TEST_CASE("S29: what another process wrote is made durable, and then its name") {
    const TemporaryFolder folder;
    write_file(folder / "file", "text");
    const CallRecord record;
    os::sync_file(folder / "file");
    CHECK(record.calls() == std::vector<std::string>{"fsync " + (folder / "file").string(),
                                                     "fsync " + folder.path().string()});
    CHECK_THROWS_AS(os::sync_file(folder / "missing"), std::system_error);
    const Fault fault{0, EIO, true};
    CHECK_THROWS_AS(os::sync_file(folder / "file"), std::system_error);
}

TEST_CASE("S26: root's file belongs to its folder's owner" * doctest::skip(::geteuid() != 0)) {
    const TemporaryFolder folder;
    REQUIRE(::chown(folder.path().c_str(), nobody, nobody) == 0);
    REQUIRE(os::create_private_file(folder / "file"));
    CHECK(owner_of(folder / "file") == nobody);
    REQUIRE(os::allocate_file(folder / "ballast", 4096));
    CHECK(owner_of(folder / "ballast") == nobody);
}

TEST_CASE("a private file is not made through a planted link") {
    const TemporaryFolder folder;
    std::filesystem::create_symlink(folder / "elsewhere", folder / "link");
    CHECK_FALSE(os::create_private_file(folder / "link"));
    CHECK_FALSE(os::identity(folder / "elsewhere"));
    CHECK_THROWS_AS(os::create_private_file(folder / "missing" / "file"), std::system_error);
}

TEST_CASE("S23: a file is checked without being opened") {
    const TemporaryFolder folder;
    REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
    write_file(folder / "file", "");
    std::filesystem::create_symlink("file", folder / "symbolic");
    std::filesystem::create_directory(folder / "folder");
    CHECK(os::check_file(folder / "file") == PathProblem::none);
    CHECK(os::check_file(folder / "symbolic") == PathProblem::symbolic_link);
    CHECK(os::check_file(folder / "folder") == PathProblem::not_a_file);
    CHECK(os::check_file(folder / "missing") == PathProblem::missing);
    CHECK(os::check_file(folder / "file" / "below") == PathProblem::missing);
    std::filesystem::create_hard_link(folder / "file", folder / "hard");
    CHECK(os::check_file(folder / "file") == PathProblem::hard_link);
    if (::geteuid() == 0) {
        auto child = ChildProcess::run([&](ParentLink&) {
            return become_ordinary() &&
                           os::check_file(folder / "file") == PathProblem::foreign_owner
                       ? 0
                       : 1;
        });
        CHECK(child.wait() == Ending{.code = 0});
    }
}

TEST_CASE("a file's identity is its own, through a link and not through a copy") {
    const TemporaryFolder folder;
    write_file(folder / "one", "text");
    write_file(folder / "two", "text");
    std::filesystem::create_symlink("one", folder / "link");
    CHECK(os::identity(folder / "one") == os::identity(folder / "link"));
    CHECK(os::identity(folder / "one") != os::identity(folder / "two"));
    const auto before = os::identity(folder / "one");
    os::rename_file(folder / "one", folder / "three");
    CHECK(os::identity(folder / "three") == before);
    CHECK_FALSE(os::identity(folder / "one"));
    CHECK_THROWS_AS(os::rename_file(folder / "one", folder / "four"), std::system_error);
}

TEST_CASE("looking at a file does not ask for its times, or its next sync would write its inode") {
    const TemporaryFolder folder;
    write_file(folder / "one", "text");
    const int before = times_asked_for();
    CHECK(os::identity(folder / "one"));
    CHECK(os::file_size(folder / "one") == 4);
    CHECK(times_asked_for() == before);
}

TEST_CASE("a small file is read whole, to its last allowed byte, and no further") {
    const TemporaryFolder folder;
    const std::string text(10'000, 'x');
    write_file(folder / "file", text);
    write_file(folder / "empty", "");
    CHECK(os::read_small_file(folder / "file", 10'000) == text);
    CHECK_THROWS_AS(os::read_small_file(folder / "file", 9'999), std::system_error);
    CHECK(os::read_small_file(folder / "empty", 0) == "");
    CHECK_FALSE(os::read_small_file(folder / "missing", 1));
    CHECK_THROWS_AS(os::read_small_file(folder.path(), 1), std::system_error);
    CHECK(os::file_size(folder / "file") == 10'000);
    CHECK(os::file_size(folder / "missing") == 0);
    CHECK(os::file_size(folder.path()) == 0);
    CHECK(os::remove_file(folder / "file"));
    CHECK_FALSE(os::remove_file(folder / "file"));
}

TEST_CASE("a ballast takes real space, with or without help of the file system") {
    for (const bool helped : {true, false}) {
        CAPTURE(helped);
        const TemporaryFolder folder;
        REQUIRE(os::create_private_file(folder / "ballast"));
        std::optional<Fault> fault;
        if (!helped) {
            fault.emplace(3, EOPNOTSUPP);  // after open, lstat and open: fallocate
        }
        REQUIRE(os::allocate_file(folder / "ballast", 96 * 1024));
        CHECK((helped || fault->struck()));
        fault.reset();
        struct stat found {};
        REQUIRE(::stat((folder / "ballast").c_str(), &found) == 0);
        CHECK(found.st_size == 96 * 1024);
        CHECK(found.st_blocks * 512 >= 96 * 1024);
        CHECK(mode_of(folder / "ballast") == 0600);
        CHECK(os::allocate_file(folder / "ballast", 96 * 1024));
    }
}

TEST_CASE("a ballast for which there is no space leaves nothing behind") {
    const TemporaryFolder folder;
    {
        REQUIRE(os::create_private_file(folder / "ballast"));
        const Fault fault{3, ENOSPC};
        CHECK_FALSE(os::allocate_file(folder / "ballast", 96 * 1024));
        CHECK(fault.struck());
    }
    CHECK_FALSE(os::identity(folder / "ballast"));
    CHECK_FALSE(os::allocate_file(folder / "missing" / "ballast", 1));
    std::filesystem::create_symlink(folder / "other", folder / "link");
    CHECK_FALSE(os::allocate_file(folder / "link", 1));
    CHECK_FALSE(os::identity(folder / "other"));
}

TEST_CASE("a failed sync of a folder is an error, one that is not to be had is none") {
    const TemporaryFolder folder;
    for (const int error : {EIO, ENOSPC, EDQUOT}) {
        const Fault fault{1, error};  // after open
        CHECK_THROWS_AS(os::sync_folder(folder.path()), std::system_error);
    }
    for (const int error : {EINVAL, ENOTSUP, EINTR}) {
        const Fault fault{1, error};
        CHECK_NOTHROW(os::sync_folder(folder.path()));
        CHECK(fault.struck());
    }
    CHECK_THROWS_AS(os::sync_folder(folder / "missing"), std::system_error);
}

TEST_CASE("an error names the path") {
    const TemporaryFolder folder;
    try {
        os::sync_folder(folder / "missing");
        FAIL("it should have thrown");
    } catch (const std::system_error& error) {
        CHECK(std::string{error.what()}.find((folder / "missing").string()) != std::string::npos);
        CHECK(error.code() == std::errc::no_such_file_or_directory);
    }
}

TEST_CASE("the user's data folder follows the XDG rules") {
    const Variable data{"XDG_DATA_HOME", "/data"};
    const Variable home{"HOME", "/home/somebody"};
    CHECK(os::user_data_folder() == "/data");
    {
        const Variable relative{"XDG_DATA_HOME", "data"};
        CHECK(os::user_data_folder() == "/home/somebody/.local/share");
    }
    const Variable empty{"XDG_DATA_HOME", ""};
    CHECK(os::user_data_folder() == "/home/somebody/.local/share");
    const Variable no_home{"HOME", nullptr};
    CHECK(os::user_data_folder().is_absolute());
    CHECK(os::user_data_folder().filename() == "share");
}

TEST_CASE("an environment variable that is empty is unset") {
    const Variable variable{"AGENTSIGHT_TEST_VARIABLE", "value"};
    CHECK(os::environment("AGENTSIGHT_TEST_VARIABLE") == "value");
    const Variable empty{"AGENTSIGHT_TEST_VARIABLE", ""};
    CHECK(os::environment("AGENTSIGHT_TEST_VARIABLE") == std::nullopt);
    const Variable none{"AGENTSIGHT_TEST_VARIABLE", nullptr};
    CHECK(os::environment("AGENTSIGHT_TEST_VARIABLE") == std::nullopt);
}

TEST_CASE("the executable's name is without its folder, and survives an update while it runs") {
    CHECK(os::executable_name() == "test-os");
    const TemporaryFolder folder;
    std::filesystem::copy_file("/proc/self/exe", folder / "kiosk");
    auto child = ChildProcess::execute("/bin/sh", {"-c",
                                                   "exec \"$0\" --no-skip --test-case='prints its "
                                                   "own name' --reporters=console",
                                                   (folder / "kiosk").string()});
    CHECK(child.output().find("name:kiosk;") != std::string::npos);
}

TEST_CASE("prints its own name" * doctest::skip()) {
    std::error_code ignored;
    std::filesystem::remove(std::filesystem::read_symlink("/proc/self/exe", ignored), ignored);
    MESSAGE("name:" << os::executable_name() << ";");
}
