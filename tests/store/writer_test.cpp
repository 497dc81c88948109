#include "outbox/writer.hpp"

#include <doctest/doctest.h>

#include <array>
#include <filesystem>
#include <functional>
#include <utility>

#include "outbox/ledger.hpp"
#include "raw.hpp"
#include "support.hpp"

using namespace agentsight;
using namespace agentsight::test;
using outbox::Job;

namespace {

/// Touches the outbox, or fails as a disk does.
class Touch final : public Job {
  public:
    explicit Touch(bool fails, std::chrono::seconds time = std::chrono::seconds{30})
        : Job(Kind::other), fails_(fails) {
        deadline = std::chrono::steady_clock::now() + time;
    }
    void apply(outbox::Tables& tables) override {
        ++runs;
        if (fails_) {
            throw sqlite::Failure::io("the disk");
        }
        if (const auto once = std::exchange(during, nullptr)) {
            once();
        }
        tables.write_anyway();
    }
    void committed() noexcept override { is_committed = true; }

    bool is_committed = false;
    int runs = 0;
    std::function<void()> during;  ///< the first run

  private:
    const bool fails_;
};

/// The only writer of a box's outbox.
struct Writing {
    explicit Writing(Outboxed& box)
        : files(box.options.path), writer(box.options, files, box.clock, box.random, axis, [] {}) {
        writer.open(outbox::Writer::Company::possible);
    }
    ~Writing() { writer.close(true); }
    Writing(const Writing&) = delete;
    Writing& operator=(const Writing&) = delete;

    template <class... Jobs>
    std::vector<Job*> commit(Jobs&... jobs) {
        const std::array<Job*, sizeof...(jobs)> all{&jobs...};
        auto later = writer.commit(all, [this] { ++told; });
        writer.after_telling();
        return later;
    }

    outbox::Files files;
    outbox::Axis axis;
    outbox::Writer writer;
    int told = 0;
};

}  // namespace

TEST_CASE("S15: another's transaction is waited for as long as the job that has least time left") {
    Outboxed box;
    box.submit();
    box.store.reset();
    Writing outbox{box};
    RawDatabase raw{box.options.path};
    raw.run("BEGIN IMMEDIATE");
    Touch patient{false, std::chrono::hours{1}};
    Touch late{false, std::chrono::seconds{-1}};
    Touch also_late{false, std::chrono::seconds{-1}};
    CHECK(outbox.commit(patient, late, also_late) == std::vector<Job*>{&patient});
    for (Touch* job : {&late, &also_late}) {
        CHECK(code_of([&] { std::rethrow_exception(job->error); }) == errc::busy);
        CHECK_FALSE(job->is_committed);
    }
    raw.run("ROLLBACK");
    CHECK(outbox.commit(patient).empty());
    CHECK_FALSE(patient.error);
    CHECK(patient.is_committed);
}

TEST_CASE("S4: a lock file removed during a commit is missed before anybody is told") {
    Outboxed box;
    box.submit();
    box.store.reset();
    Writing outbox{box};
    Touch first{false};
    Touch second{false};
    first.during = [&] { std::filesystem::remove(outbox.files.lock); };
    const std::array<Job*, 2> jobs{&first, &second};
    CHECK(outbox.writer.commit(jobs, nullptr).empty());
    CHECK(first.runs == 2);
    for (Touch* job : {&first, &second}) {
        CHECK_FALSE(job->error);
        CHECK(job->is_committed);
    }
    // Under the lock that others find.
    os::LockFile other{outbox.files.lock};
    const auto is_free = [&] {
        return other.lock(os::LockFile::Range::commit, os::LockFile::Mode::exclusive,
                          std::chrono::milliseconds{0});
    };
    CHECK_FALSE(is_free());
    outbox.writer.after_telling();
    CHECK(is_free());
    other.unlock(os::LockFile::Range::commit);
}

TEST_CASE("S4: where another process has the new lock file, nobody is told of a commit") {
    Outboxed box;
    box.submit();
    box.store.reset();
    Writing outbox{box};
    Touch job{false, std::chrono::seconds{0}};
    os::LockFile other;
    job.during = [&] {
        std::filesystem::remove(outbox.files.lock);
        other = os::LockFile{outbox.files.lock};
        other.lock(os::LockFile::Range::commit, os::LockFile::Mode::exclusive,
                   std::chrono::milliseconds{0});
    };
    CHECK(outbox.commit(job).empty());
    REQUIRE(job.error);
    CHECK(code_of([&] { std::rethrow_exception(job.error); }) == errc::io_error);
    CHECK_FALSE(job.is_committed);
    other.unlock(os::LockFile::Range::commit);
    CHECK(outbox.commit(job).empty());
    CHECK(job.is_committed);
}

TEST_CASE("S9: what comes behind a job that the disk failed is told so, and not taken for stored") {
    Outboxed box;
    box.submit();
    box.store.reset();
    Writing outbox{box};
    Touch first{false};
    Touch second{true};
    Touch third{false};
    CHECK(outbox.commit(first, second, third).empty());
    CHECK_FALSE(first.error);
    CHECK(first.is_committed);
    CHECK(second.error);
    CHECK_FALSE(second.is_committed);
    CHECK(third.error);
    CHECK_FALSE(third.is_committed);
    // The disk is well again.
    Touch later{false};
    CHECK(outbox.commit(later).empty());
    CHECK(later.is_committed);
}
