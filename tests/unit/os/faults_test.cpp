#include <doctest/doctest.h>

#include <exception>
#include <functional>
#include <string>
#include <system_error>
#include <vector>

#include "helpers.hpp"
#include "interposer.hpp"
#include "os/bell.hpp"
#include "os/file.hpp"
#include "os/lock_file.hpp"
#include "support/temporary_folder.hpp"

using namespace agentsight;
using namespace agentsight::test;
using namespace std::chrono_literals;
using Range = os::LockFile::Range;
using Mode = os::LockFile::Mode;

namespace {

struct Operation {
    const char* name;
    std::function<void(const std::filesystem::path&)> run;
};

const std::vector<Operation>& operations() {
    static const std::vector<Operation> all{
        {"prepare_folder", [](const auto& folder) { os::prepare_folder(folder / "a" / "b"); }},
        {"prepare an empty folder", [](const auto& folder) { os::prepare_folder(folder); }},
        {"create_private_file", [](const auto& folder) { os::create_private_file(folder / "f"); }},
        {"allocate_file", [](const auto& folder) { os::allocate_file(folder / "f", 8'192); }},
        {"read_small_file", [](const auto& folder) { os::read_small_file(folder / "f", 10); }},
        {"lock",
         [](const auto& folder) {
             os::LockFile file{folder / "lock"};
             file.lock(Range::commit, Mode::exclusive, 0ms);
             file.write_note("note");
             os::LockFile other{folder / "lock"};
             other.lock(Range::commit, Mode::exclusive, 1ms);
             other.held_by_other(Range::commit);
             file.unlock(Range::commit);
         }},
        {"lock on a deleted file",
         [](const auto& folder) {
             os::LockFile file{folder / "lock"};
             os::remove_file(folder / "lock");
             file.lock(Range::commit, Mode::exclusive, 1ms);
         }},
        {"bell",
         [](const auto& folder) {
             os::Bell bell{folder / "bell"};
             bell.descriptor();
             bell.ring();
             os::remove_file(folder / "bell");
             bell.silence();
             bell.ring();
         }},
        {"sign",
         [](const auto& folder) {
             os::DrainerSign sign{folder / "alive"};
             sign.raise();
             os::DrainerSign follower{folder / "alive"};
             follower.watch();
             sign.lower();
         }},
    };
    return all;
}

/// False: the operation makes fewer calls than `at`.
bool run_with_fault(const Operation& operation, int at, int error, bool for_ever) {
    const TemporaryFolder folder;
    const std::size_t before = open_descriptors();
    bool struck = false;
    {
        const Fault fault{at, error, for_ever};
        try {
            operation.run(folder.path());
        } catch (const std::system_error& thrown) {
            CHECK(thrown.code().value() != 0);
        }
        struck = fault.struck();
    }
    CHECK(open_descriptors() == before);
    CHECK_NOTHROW(operation.run(folder.path()));  // what failed has left nothing in the way
    return struck;
}

}  // namespace

TEST_CASE("the n-th system call fails: an error or success, nothing leaked, and a retry works") {
    for (const Operation& operation : operations()) {
        for (const int error : {EIO, EACCES, ENOENT}) {
            for (const bool for_ever : {false, true}) {
                int at = 0;
                CAPTURE(operation.name);
                CAPTURE(error);
                CAPTURE(for_ever);
                while (run_with_fault(operation, at, error, for_ever)) {
                    ++at;
                    REQUIRE(at < 200);
                }
                CHECK(at > 0);
            }
        }
    }
}

TEST_CASE("an interrupted system call is repeated") {
    for (const Operation& operation : operations()) {
        CAPTURE(operation.name);
        for (int at = 0; at < 200; ++at) {
            CAPTURE(at);
            const TemporaryFolder folder;
            const Fault fault{at, EINTR};
            try {
                operation.run(folder.path());
            } catch (const std::system_error& thrown) {
                // stat, mkdir and their like are not interrupted in truth.
                CHECK(thrown.code() == std::errc::interrupted);
            }
            if (!fault.struck()) {
                break;
            }
        }
    }
}
