#include "outbox/writer.hpp"

#include <doctest/doctest.h>

#include <array>

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
        if (fails_) {
            throw sqlite::Failure::io("the disk");
        }
        tables.write_anyway();
    }
    void committed() noexcept override { is_committed = true; }

    bool is_committed = false;

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
