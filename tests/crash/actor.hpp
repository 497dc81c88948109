#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "outbox/store.hpp"
#include "support/test_clock.hpp"
#include "support/test_random.hpp"
#include "truth.hpp"

namespace agentsight::test {

/// What a campaign found: a sentence.
class Finding : public std::runtime_error {
  public:
    enum class Kind {
        lost,    ///< something acknowledged is not there, or not as it was
        corrupt  ///< the file contradicts itself
    };
    Finding(Kind kind, const std::string& what) : std::runtime_error{what}, kind_{kind} {}
    Kind kind() const { return kind_; }

  private:
    Kind kind_;
};

/// Uses one store as an application, its drainer and a person would, at random, and keeps
/// the truth about what was acknowledged. Throws Finding where the store contradicts it.
class Actor {
  public:
    Actor(outbox::StoreOptions options, Truth truth, TestClock& clock, std::uint64_t seed);
    ~Actor();

    const Truth& truth() const { return truth_; }

    /// A defect on purpose: believes a submit acknowledged before it returns.
    bool acknowledges_early = false;

    /// One step of the workload. Opens the store where it is not.
    void step();
    /// What a new process does after a stop: opens, looks, submits again what was under way
    /// and drains. Throws Finding. `durable`: a power cut, so that all seen is on the disk.
    void recover(bool durable);
    /// As the end of a process that was not killed.
    void close();
    /// The store against the truth, and, thoroughly, against itself: verify().
    void check(Truth::Seen seen, bool thoroughly = true);

  private:
    void open();
    void submit();
    void submit_many();
    void submit_again();
    void submit_other_content();
    void become_drainer();
    void drain();
    void look_at_unknowns();
    void act_as_person();
    void requeue(const core::Uuid& id, bool force);
    void discard(const core::Uuid& id);
    void resolve(const core::Uuid& id);
    void hold_or_release();
    void release();
    void tidy();
    void submit_what_was_under_way(const std::vector<outbox::Submission>& under_way);

    /// A drain step, and what its settlements make of which record.
    struct Plan {
        outbox::DrainRequest request;
        std::vector<std::pair<core::Uuid, Place>> settled;
    };
    outbox::Submission new_submission();
    void submit(const outbox::Submission& submission);
    void took(const outbox::Submission& submission, const outbox::SubmitResult& result);
    outbox::DrainRequest request(std::size_t claim);
    outbox::Settlement settlement_of(const outbox::ClaimedRecord& record, bool was_unknown);
    void plan(Plan& plan, const outbox::ClaimedRecord& record, bool was_unknown);
    void drain(Plan plan);
    core::Uuid any_of(const std::vector<core::Uuid>& ids);
    /// The call returned: acknowledged, as far as it committed.
    void returned();
    void expect(bool holds, const std::string& what);

    outbox::StoreOptions options_;
    Truth truth_;
    TestClock& clock_;
    TestRandom random_;
    TestRandom store_random_;
    std::unique_ptr<outbox::Store> store_;
    std::vector<outbox::ClaimedRecord> held_;  ///< claimed by this process
    std::vector<std::string> alarms_;
    bool drains_ = false;
    bool held_back_ = false;
    std::uint64_t commits_before_ = 0;
    std::uint64_t next_server_id_ = 1;
};

}  // namespace agentsight::test
