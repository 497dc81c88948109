#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "agentsight/error.hpp"
#include "outbox/store.hpp"
#include "plain.hpp"
#include "shim_vfs.hpp"
#include "support/temporary_folder.hpp"
#include "support/test_clock.hpp"
#include "support/test_random.hpp"

// SQLite before 3.51.3 can corrupt a WAL database by itself: a checkpoint that has read the
// log's header, and not yet its frames, sets "all M frames are in the database"; a commit in
// between has begun the log anew, and its next frames up to M then never get there. Between
// the two SQLite calls xUnfetch: there the other connection's step runs.

namespace agentsight::test {

namespace {

/// Runs another connection's step at the first call of one kind.
class Yields final : public Interceptor {
  public:
    void at(Call call, std::function<void()> step) {
        call_ = call;
        step_ = std::move(step);
    }
    int before(const Operation& operation) override {
        if (step_ && operation.call == call_) {
            std::exchange(step_, nullptr)();
        }
        return SQLITE_OK;
    }

  private:
    Call call_ = Call::unfetch;
    std::function<void()> step_;
};

/// A writer and a checkpointer, with or without the library's rule: every commit and every
/// checkpoint under one lock.
class Race {
  public:
    explicit Race(bool one_lock) : one_lock_{one_lock} {
        writer_.use_profile();
        writer_.must("CREATE TABLE row(key INTEGER PRIMARY KEY, text)");
        checkpointer_.use_profile();
        // Its copy of the log's header is old from here on: that is what makes it ask again.
        checkpointer_.one("SELECT count(*) FROM row");
        commit_rows(20);
        writer_.checkpoint();
    }

    /// The checkpoint, with a commit in the window.
    void checkpoint_and_commit(int mode) {
        locked_ = true;
        bool waits = false;
        yields_.at(Call::unfetch, [&] {
            if (one_lock_ && locked_) {
                waits = true;  // the writer is not let in before the checkpoint ends
            } else {
                commit_rows(1);
            }
            met_ = true;
        });
        checkpointer_.checkpoint(mode);
        locked_ = false;
        if (waits) {
            commit_rows(1);
        }
    }

    /// The same where a transaction is open, so that TRUNCATE quietly becomes PASSIVE. With the
    /// rule this cannot be: the transaction and the checkpoint want the same lock.
    void checkpoint_in_transaction() {
        if (one_lock_) {
            commit_rows(1);
            checkpointer_.checkpoint(SQLITE_CHECKPOINT_TRUNCATE);
            met_ = true;
            return;
        }
        writer_.must("BEGIN IMMEDIATE");
        insert();
        yields_.at(Call::unfetch, [&] {
            writer_.must("COMMIT");
            met_ = true;
        });
        checkpointer_.checkpoint(SQLITE_CHECKPOINT_TRUNCATE);
    }

    bool met() const { return met_; }

    /// Goes on committing; whether every committed row stays to be seen and the file is sound.
    bool stays_sound() {
        try {
            for (int i = 0; i < 60; ++i) {
                // The writer's own cache would hide it.
                Plain looker{folder_ / "plain.db", vfs_.name()};
                if (looker.one("SELECT count(*) FROM row") != std::to_string(rows_) ||
                    looker.integrity() != "ok") {
                    return false;
                }
                commit_rows(1);
                writer_.checkpoint();  // believes that most of it is there already
            }
        } catch (const std::runtime_error&) {
            return false;
        }
        return true;
    }

  private:
    void insert() {
        writer_.must("INSERT INTO row VALUES(" + std::to_string(++rows_) + ", '" +
                     std::string(900, 'x') + "')");
    }
    void commit_rows(int count) {
        for (int i = 0; i < count; ++i) {
            insert();
        }
    }

    bool one_lock_;
    bool locked_ = false;
    bool met_ = false;
    int rows_ = 0;
    TemporaryFolder folder_;
    Yields yields_;
    ShimVfs vfs_{"wal-reset", yields_, {.maps_files = true}};
    Plain writer_{folder_ / "plain.db", vfs_.name()};
    Plain checkpointer_{folder_ / "plain.db", vfs_.name()};
};

bool is_affected_version() {
    const int version = sqlite3_libversion_number();
    return version < 3051003 && version != 3050007 && version != 3044006;
}

}  // namespace

TEST_CASE("S4: without the one lock a commit inside a checkpoint corrupts, before SQLite 3.51.3") {
    Race without{false};
    without.checkpoint_and_commit(SQLITE_CHECKPOINT_PASSIVE);
    REQUIRE(without.met());
    CHECK(without.stays_sound() != is_affected_version());
}

TEST_CASE("S4: with the one lock the same schedule stays sound") {
    Race with{true};
    with.checkpoint_and_commit(SQLITE_CHECKPOINT_PASSIVE);
    REQUIRE(with.met());
    CHECK(with.stays_sound());
}

TEST_CASE("S5: TRUNCATE is no cure: with the writer busy it becomes PASSIVE") {
    Race without{false};
    without.checkpoint_in_transaction();
    REQUIRE(without.met());
    CHECK(without.stays_sound() != is_affected_version());
}

TEST_CASE("S5: with the one lock TRUNCATE stays sound") {
    Race with{true};
    with.checkpoint_in_transaction();
    CHECK(with.stays_sound());
}

TEST_CASE("S4 S5: the store lets no other store commit at any call of its checkpoints") {
    TemporaryFolder folder;
    TestClock clock;
    TestRandom random{3};
    outbox::StoreOptions options;
    options.path = folder / "feedback.db";
    options.busy_timeout = std::chrono::milliseconds{0};
    outbox::Submission submission;
    submission.feedback.conversation.value = "=c1";

    outbox::Store other{options, clock, random};  // on SQLite's own VFS and the same lock file
    class Tries final : public Interceptor {
      public:
        std::function<bool()> commits;
        bool in_checkpoint = false;
        int tried = 0;
        int let_in = 0;
        int before(const Operation& operation) override {
            const bool yields = operation.call == Call::unfetch || operation.call == Call::sync ||
                                operation.call == Call::shm_lock || operation.call == Call::write;
            if (in_checkpoint && yields) {
                in_checkpoint = false;
                ++tried;
                let_in += commits() ? 1 : 0;
                in_checkpoint = true;
            }
            return SQLITE_OK;
        }
    } tries;
    tries.commits = [&] { return !other.submit(submission).error; };
    const ShimVfs vfs{"one-lock", tries, {.maps_files = true, .real_memory = true}};
    options.vfs = vfs.name();
    outbox::Store store{options, clock, random};
    CHECK(tries.commits());
    store.submit(submission);
    tries.in_checkpoint = true;
    store.tidy();
    tries.in_checkpoint = false;
    CHECK(tries.tried > 3);
    // The call before the lock is taken, or after it is given back, may let one in.
    CHECK(tries.let_in <= 1);
    CHECK(store.verify().empty());
    CHECK(store.status().accepted == 2 + static_cast<unsigned>(tries.let_in));
}

}  // namespace agentsight::test
