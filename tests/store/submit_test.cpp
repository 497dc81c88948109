#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <set>
#include <thread>

#include "os/lock_file.hpp"
#include "raw.hpp"
#include "support.hpp"
#include "support/child_process.hpp"
#include "support/times.hpp"

using namespace agentsight;
using namespace agentsight::test;

namespace {

constexpr const char* caller_id = "5f1c8a10-0000-4000-8000-0000000000aa";

std::string uuid(int number) {
    char text[37];
    std::snprintf(text, sizeof text, "5f1c8a10-0000-4000-8000-%012d", number);
    return text;
}

}  // namespace

TEST_CASE("the library's ids grow with the order of submits, also when the clock goes back") {
    Outboxed box;
    std::string last;
    for (int i = 0; i < 200; ++i) {
        if (i % 3 == 0) {
            box.clock.jump_utc(i % 2 == 0 ? -100'000 : 50'000);
        }
        const std::string id = box.submit();
        CHECK(id > last);
        last = id;
    }
    box.reopen();
    box.clock.set_utc(0);
    CHECK(box.submit() > last);
}

TEST_CASE("records since a time are found without a look at all, whatever the clocks did") {
    Outboxed box;
    std::vector<Record> all;
    for (int i = 0; i < 400; ++i) {
        outbox::Submission made = submission("c" + std::to_string(i));
        if (i % 50 == 49) {
            box.clock.jump_utc(i % 100 == 49 ? -3'600'000 : 4'000'000);
        }
        if (i % 37 == 36) {  // from elsewhere, whose clock was ahead, or whose time is long ago
            made.submitted = box.clock.now().utc_ms + (i % 2 == 0 ? 7'200'000 : -86'400'000);
        }
        all.push_back(box->get(box.submit(made)));
        box.clock.advance(10'000);
    }
    RawDatabase{box.options.path}.run("DELETE FROM record WHERE key BETWEEN 150 AND 170");
    all.erase(all.begin() + 149, all.begin() + 170);
    for (const Record& from : all) {
        const auto is_since = [&](const Record& r) { return r.submitted_at >= from.submitted_at; };
        const Filter filter{.since = from.submitted_at};
        const auto wanted =
            static_cast<std::size_t>(std::count_if(all.begin(), all.end(), is_since));
        CAPTURE(from.submitted_at);
        CHECK(box->count(filter) == wanted);
        const std::vector<Record> found = box->list(filter, all.size());
        REQUIRE(found.size() == wanted);
        CHECK(std::all_of(found.begin(), found.end(), is_since));
        const Filter newest{.since = from.submitted_at, .newest_first = true};
        CHECK(box->list(newest, 1).front().id == found.back().id);
    }
    CHECK(box->count({.since = std::numeric_limits<std::int64_t>::max()}) == 0);
}

TEST_CASE("every record is found by its id, over gaps and among callers' ids") {
    Outboxed box;
    std::vector<std::pair<std::string, std::string>> all;
    for (int i = 0; i < 300; ++i) {
        outbox::Submission made = submission("c" + std::to_string(i), std::to_string(i));
        if (i % 7 == 0) {
            made = with_id(made, uuid(i));
        }
        all.emplace_back(box.submit(made), std::to_string(i));
    }
    // Gaps at the beginning, in the middle, at the end.
    RawDatabase raw{box.options.path};
    raw.run("DELETE FROM caller_id WHERE key <= 20 OR key BETWEEN 100 AND 199 OR key > 290");
    raw.run("DELETE FROM record WHERE key <= 20 OR key BETWEEN 100 AND 199");
    const auto gone = [](std::size_t key) { return key <= 20 || (key >= 100 && key <= 199); };
    for (std::size_t i = 0; i < all.size(); ++i) {
        CAPTURE(i);
        if (gone(i + 1) || (i + 1 > 290 && i % 7 == 0)) {
            CHECK(code_of([&] { box->get(all[i].first); }) == errc::not_found);
        } else {
            CHECK(box->get(all[i].first).comment == all[i].second);
        }
    }
    CHECK(code_of([&] { box->get(caller_id); }) == errc::not_found);
    CHECK(code_of([&] { box->get("not-an-id"); }) == errc::not_found);
}

TEST_CASE("S43: the same id and content twice is one record") {
    Outboxed box;
    const outbox::Submission made = with_id(submission("c1", "once"), caller_id);
    const outbox::SubmitResult first = box->submit(made);
    CHECK(first.stored);
    CHECK(first.id.text() == caller_id);
    const outbox::SubmitResult second = box->submit(made);
    CHECK_FALSE(second.error);
    CHECK_FALSE(second.stored);
    CHECK(second.id == first.id);
    CHECK(box->status().accepted == 1);
    CHECK(box->get(caller_id).comment == "once");
}

TEST_CASE("the same id with any other content is a conflict, also after the text is gone") {
    Outboxed box;
    outbox::Submission made = with_id(submission("c1", "once"), caller_id);
    made.feedback.metadata = R"({"rating":5})";
    box.submit(made);
    for (int round = 0; round < 2; ++round) {
        CHECK_FALSE(box->submit(made).stored);
        for (int change = 0; change < 4; ++change) {
            outbox::Submission other = made;
            switch (change) {
                case 0:
                    other.feedback.comment += ".";
                    break;
                case 1:
                    other.feedback.metadata.clear();
                    break;
                case 2:
                    other.feedback.sentiment = Sentiment::negative;
                    break;
                default:
                    other.feedback.conversation.value = "#1";
            }
            const outbox::SubmitResult result = box->submit(other);
            CHECK(result.error == errc::id_conflict);
            CHECK(result.message.find("once") == std::string::npos);
        }
        if (round == 0) {
            box->discard(caller_id, false);
        }
    }
    CHECK(box->status().accepted == 1);
}

TEST_CASE("a library's id given back by a caller names the same record") {
    Outboxed box;
    const std::string id = box.submit("c1", "x");
    box.submit("c2", "y");
    CHECK_FALSE(box->submit(with_id(submission("c1", "x"), id)).stored);
    CHECK(box->submit(with_id(submission("c1", "z"), id)).error == errc::id_conflict);
    CHECK(box->status().accepted == 2);
}

TEST_CASE("ids given twice within one batch are one record") {
    Outboxed box;
    const std::vector<outbox::Submission> twice{
        with_id(submission("c1", "a"), caller_id), submission("c2", "b"),
        with_id(submission("c1", "a"), caller_id), with_id(submission("c1", "c"), caller_id)};
    const auto results = box->submit_many(twice);
    REQUIRE(results.size() == 4);
    CHECK(results[0].stored);
    CHECK(results[1].stored);
    CHECK_FALSE(results[2].stored);
    CHECK_FALSE(results[2].error);
    CHECK(results[3].error == errc::id_conflict);
    CHECK(box->status().accepted == 2);
}

TEST_CASE("submit_many commits 64 at a time and answers in order") {
    Outboxed box;
    std::vector<outbox::Submission> many;
    for (int i = 0; i < 200; ++i) {
        many.push_back(submission("c1", std::to_string(i)));
    }
    const std::uint64_t before = box->commits();
    const auto results = box->submit_many(many);
    CHECK(box->commits() - before == 4);
    REQUIRE(results.size() == 200);
    for (int i = 0; i < 200; ++i) {
        CHECK(box->get(results[static_cast<std::size_t>(i)].id.text()).comment ==
              std::to_string(i));
    }
    CHECK(box->submit_many({}).empty());
}

TEST_CASE("S42: sixteen threads submit, and every record is there once") {
    Outboxed box;
    constexpr int threads = 16;
    const int each = times(200);
    std::vector<std::vector<std::string>> ids(threads);
    {
        std::vector<std::jthread> running;
        for (int t = 0; t < threads; ++t) {
            running.emplace_back([&, t] {
                for (int i = 0; i < each; ++i) {
                    ids[static_cast<std::size_t>(t)].push_back(
                        box.submit("c" + std::to_string(t), std::to_string(i)));
                }
            });
        }
    }
    std::set<std::string> unique;
    for (int t = 0; t < threads; ++t) {
        std::string last;
        for (int i = 0; i < each; ++i) {
            const std::string& id = ids[static_cast<std::size_t>(t)][static_cast<std::size_t>(i)];
            CHECK(id > last);
            last = id;
            unique.insert(id);
        }
    }
    CHECK(unique.size() == static_cast<std::size_t>(threads * each));
    CHECK(box->status().accepted == unique.size());
    CHECK(box->verify().empty());
    // Group commit: far fewer commits than records, each rung for once.
    CHECK(box->commits() < unique.size() / 2);
    CHECK(static_cast<std::uint64_t>(box.rings.load()) == box->commits());
    MESSAGE("records a commit: ", threads * each / static_cast<double>(box->commits()));
}

TEST_CASE("work is rung for once a commit, and before anybody is told") {
    Outboxed box;
    box.submit();
    CHECK(box.rings == 1);
    box.submit(with_id(submission(), caller_id));
    box->submit(with_id(submission(), caller_id));  // nothing new
    CHECK(box.rings == 2);
    box->hold();
    CHECK(box.rings == 2);
    box->release();
    CHECK(box.rings == 3);
    box.become_drainer();
    const auto claimed = box.claim(1);
    CHECK(box.rings == 3);
    box.settle_to(claimed.at(0).key, outbox::Settlement::To::dead);
    CHECK(box.rings == 3);
    box->requeue(claimed[0].id.text(), false);
    CHECK(box.rings == 4);
}

TEST_CASE("F13: a full outbox refuses, and takes again once there is room") {
    outbox::StoreOptions options;
    options.max_records = 3;
    Outboxed box{options};
    for (int i = 0; i < 3; ++i) {
        box.submit("c" + std::to_string(i));
    }
    const outbox::SubmitResult refused = box->submit(submission());
    CHECK(refused.error == errc::outbox_full);
    CHECK_FALSE(refused.stored);
    CHECK(box->status().accepted == 3);
    box.become_drainer();
    const auto claimed = box.claim(1);
    box.deliver(claimed.at(0).key);
    box.submit("c9");
    CHECK(box->submit(submission()).error == errc::outbox_full);
}

TEST_CASE("S41: one record's refusal never fails another of its batch") {
    outbox::StoreOptions options;
    options.max_records = 2;
    Outboxed box{options};
    const std::vector<outbox::Submission> three{submission("a"), submission("b"), submission("c")};
    const auto results = box->submit_many(three);
    CHECK(results[0].stored);
    CHECK(results[1].stored);
    CHECK(results[2].error == errc::outbox_full);
    CHECK(box->status().accepted == 2);
}

TEST_CASE("dropping the oldest makes room, is counted and told") {
    outbox::StoreOptions options;
    options.max_records = 3;
    options.when_full = WhenFull::drop_oldest;
    Outboxed box{options};
    const std::string oldest = box.submit("c1", "oldest");
    box.submit("c1", "second");
    box.submit("c1", "third");
    box.become_drainer();
    const auto claimed = box.claim(1);
    REQUIRE(claimed.size() == 1);
    box.submit("c2", "fourth");  // the claimed one stays: the second goes
    CHECK(box->status().dropped == 1);
    CHECK(box->get(oldest).state == RecordState::claimed);
    const auto all = box->list({}, 10);
    REQUIRE(all.size() == 3);
    CHECK(all[1].comment == "third");
    REQUIRE(box.events.size() == 1);
    CHECK(std::get<event::Dropped>(box.events[0]).count == 1);
    CHECK(box->verify().empty());
}

TEST_CASE("at max_bytes what is settled goes first, then the oldest that wait, and it is counted") {
    outbox::StoreOptions options;
    options.max_bytes = 1 << 20;
    options.when_full = WhenFull::drop_oldest;
    Outboxed box{options};
    box.become_drainer();
    const std::string delivered = box.submit("c0", std::string(2'000, 'x'));
    box.deliver(box.claim(1).at(0).key);
    const std::string claimed = box.submit("c1", std::string(2'000, 'x'));
    REQUIRE(box.claim(1).size() == 1);
    std::string oldest;
    std::string newest;
    constexpr std::uint64_t waiting = 2'000;
    for (std::uint64_t i = 0; i < waiting; ++i) {
        CAPTURE(i);
        // Small ones, of which many stand in a page, and some over many pages.
        newest =
            box.submit("c" + std::to_string(i % 7), std::string(i % 50 == 0 ? 9'000 : 700, 'x'));
        oldest = i == 0 ? newest : oldest;
    }
    const Status status = box->status();
    CHECK(status.accepted == waiting + 2);
    CHECK(status.dropped > waiting / 2);
    CHECK(status.dropped < waiting);
    CHECK(status.delivered == 1);
    CHECK(code_of([&] { box->get(delivered); }) == errc::not_found);
    CHECK(code_of([&] { box->get(oldest); }) == errc::not_found);
    CHECK(box->get(claimed).state == RecordState::claimed);
    CHECK(box->get(newest).state == RecordState::waiting);
    CHECK(std::filesystem::file_size(box.options.path) <= options.max_bytes);
    // No more went than had to: the file is nearly as full as it may be.
    CHECK(status.waiting * 700 > options.max_bytes / 3);
    CHECK(box->verify().empty());
}

TEST_CASE("max_bytes is a full outbox, not a full disk, and settling goes on") {
    outbox::StoreOptions options;
    options.max_bytes = 1 << 20;
    Outboxed box{options};
    std::error_code error;
    int stored = 0;
    while (!error) {
        REQUIRE(stored < 10'000);
        error =
            box->submit(submission("c" + std::to_string(stored), std::string(2'000, 'x'))).error;
        stored += error ? 0 : 1;
    }
    CHECK(error == errc::outbox_full);
    CHECK(stored > 200);
    CHECK(box->status().accepted == static_cast<std::uint64_t>(stored));
    box.become_drainer();
    for (int i = 0; i < stored; ++i) {
        const auto claimed = box.claim(1);
        REQUIRE(claimed.size() == 1);
        box.deliver(claimed[0].key);
    }
    CHECK(box->status().delivered == static_cast<std::uint64_t>(stored));
    CHECK(box->verify().empty());
}

TEST_CASE("what settling may use beyond max_bytes is not the submits'") {
    outbox::StoreOptions options;
    options.max_bytes = 1 << 20;
    Outboxed box{options};
    const auto fill = [&] {
        for (int n = 0; n < 10'000; ++n) {
            if (box->submit(submission("c" + std::to_string(n), std::string(200, 'x'))).error) {
                return;
            }
        }
        FAIL("never full");
    };
    fill();
    const std::uint64_t accepted = box->status().accepted;
    box.become_drainer();
    for (int round = 0; round < 15; ++round) {
        CAPTURE(round);
        for (const outbox::ClaimedRecord& record : box.claim(10)) {
            outbox::Settlement settlement;
            settlement.key = record.key;
            settlement.to = outbox::Settlement::To::waiting;
            settlement.due = box->now();
            settlement.counts_attempt = true;
            settlement.note = outbox::AttemptNote{};
            settlement.note->detail = std::string(1'000, 'w');
            box.settle(std::move(settlement));
        }
        fill();
    }
    // Some fit into pages that were not full.
    CHECK(box->status().accepted < accepted + 100);
    CHECK(box->verify().empty());
}

TEST_CASE("S15: a lock held elsewhere ends in busy within its time") {
    outbox::StoreOptions options;
    options.busy_timeout = std::chrono::milliseconds{80};
    Outboxed box{options};
    RawDatabase raw{box.options.path};
    raw.run("BEGIN IMMEDIATE");
    const auto start = std::chrono::steady_clock::now();
    CHECK(box->submit(submission()).error == errc::busy);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds{2});
    CHECK(box->status().accepted == 0);
    raw.run("ROLLBACK");
    CHECK_FALSE(box->submit(submission()).error);
}

TEST_CASE("S15: each of several submitters waits for its own time, not for that of those before") {
    using namespace std::chrono_literals;
    outbox::StoreOptions options;
    options.busy_timeout = 200ms;
    Outboxed box{options};
    RawDatabase raw{box.options.path};
    raw.run("BEGIN IMMEDIATE");
    std::vector<std::jthread> threads;
    for (int i = 0; i < 6; ++i) {
        threads.emplace_back([&] {
            const std::vector<outbox::Submission> batch(64, submission());  // a commit by itself
            const auto start = std::chrono::steady_clock::now();
            CHECK(box->submit_many(batch).back().error == errc::busy);
            CHECK(std::chrono::steady_clock::now() - start < 800ms);  // not six times as long
        });
    }
    threads.clear();
    raw.run("ROLLBACK");
    CHECK_FALSE(box->submit(submission()).error);
}

TEST_CASE("P10: the commit lock of a stopped process ends in busy, never in a hang") {
    outbox::StoreOptions options;
    options.busy_timeout = std::chrono::milliseconds{80};
    Outboxed box{options};
    auto child = ChildProcess::run([&](ParentLink& parent) {
        os::LockFile lock{box.options.path.string() + "-lock"};
        lock.lock(os::LockFile::Range::commit, os::LockFile::Mode::exclusive,
                  std::chrono::milliseconds{1'000});
        parent.tell();
        parent.await();
        return 0;
    });
    REQUIRE(child.await() == '.');
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] { CHECK(box->submit(submission()).error == errc::busy); });
    }
    threads.clear();
    CHECK(box->status().accepted == 0);  // reading waits for nobody
    child.kill();
    CHECK_FALSE(box->submit(submission()).error);
}

TEST_CASE("two processes submit to one outbox, and nothing is lost or doubled") {
    Outboxed box;
    constexpr int each = 150;
    const auto submit_some = [&](const std::string& who) {
        Outboxed other{[&] {
            outbox::StoreOptions same;
            same.path = box.options.path;
            return same;
        }()};
        other.random = TestRandom{who == "a" ? 11U : 12U};
        for (int i = 0; i < each; ++i) {
            other.submit(who, std::to_string(i));
        }
        return 0;
    };
    auto a = ChildProcess::run([&](ParentLink&) { return submit_some("a"); });
    auto b = ChildProcess::run([&](ParentLink&) { return submit_some("b"); });
    for (int i = 0; i < each; ++i) {
        box.submit("c", std::to_string(i));
    }
    CHECK(a.wait() == Ending{0, 0});
    CHECK(b.wait() == Ending{0, 0});
    CHECK(box->status().accepted == 3 * each);
    for (const char* who : {"a", "b", "c"}) {
        Filter filter;
        filter.conversation_id = who;
        const auto records = box->list(filter, 1'000);
        REQUIRE(records.size() == each);
        for (int i = 0; i < each; ++i) {
            CHECK(records[static_cast<std::size_t>(i)].comment == std::to_string(i));
        }
    }
    CHECK(box->verify().empty());
}

TEST_CASE("S7: what was acknowledged before SIGKILL is there afterwards") {
    Outboxed box;
    std::size_t acknowledged_in_all = 0;
    std::set<std::string> all;
    for (int round = 0; round < 15; ++round) {
        auto child = ChildProcess::run([&](ParentLink& parent) {
            Outboxed other{[&] {
                outbox::StoreOptions same;
                same.path = box.options.path;
                return same;
            }()};
            other.random = TestRandom{static_cast<std::uint64_t>(round) + 100};
            std::atomic<int> number{0};
            std::mutex telling;
            std::vector<std::jthread> threads;
            for (int t = 0; t < 3; ++t) {
                threads.emplace_back([&] {
                    for (;;) {
                        const std::string id = other.submit("c" + std::to_string(number++));
                        const std::lock_guard lock{telling};
                        for (const char character : id) {
                            parent.tell(character);
                        }
                    }
                });
            }
            return 0;
        });
        std::string told;
        const std::size_t enough = 36 * (1 + box.random.below(60));
        while (told.size() < enough) {
            const char character = child.await();
            REQUIRE(character != '\0');
            told += character;
        }
        child.send(SIGKILL);
        told += child.output();
        child.kill();
        for (std::size_t at = 0; at + 36 <= told.size(); at += 36) {
            const std::string id = told.substr(at, 36);
            CAPTURE(id);
            CHECK(box->get(id).state == RecordState::waiting);
            CHECK(all.insert(id).second);
            ++acknowledged_in_all;
        }
    }
    CHECK(box->status().accepted >= acknowledged_in_all);
    CHECK(box->verify().empty());
}
