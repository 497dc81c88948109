#include "outbox/writer.hpp"

#include <doctest/doctest.h>

#include <array>

#include "outbox/ledger.hpp"
#include "support.hpp"

using namespace agentsight;
using namespace agentsight::test;
using outbox::Job;

namespace {

/// Touches the outbox, or fails as a disk does.
class Touch final : public Job {
  public:
    explicit Touch(bool fails) : Job(Kind::other), fails_(fails) {
        deadline = std::chrono::steady_clock::now() + std::chrono::seconds{30};
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

}  // namespace

TEST_CASE("S9: what comes behind a job that the disk failed is told so, and not taken for stored") {
    Outboxed box;
    box.submit();
    box.store.reset();
    const outbox::Files files{box.options.path};
    outbox::Axis axis;
    outbox::Writer writer{box.options, files, box.clock, box.random, axis, [] {}};
    writer.open(outbox::Writer::Company::possible);
    Touch first{false};
    Touch second{true};
    Touch third{false};
    std::array<Job*, 3> jobs{&first, &second, &third};
    int told = 0;
    CHECK(writer.commit(jobs, [&] { ++told; }).empty());
    writer.after_telling();
    CHECK_FALSE(first.error);
    CHECK(first.is_committed);
    CHECK(second.error);
    CHECK_FALSE(second.is_committed);
    CHECK(third.error);
    CHECK_FALSE(third.is_committed);
    // The disk is well again.
    Touch later{false};
    std::array<Job*, 1> alone{&later};
    CHECK(writer.commit(alone, nullptr).empty());
    writer.after_telling();
    CHECK(later.is_committed);
    writer.close(true);
}
