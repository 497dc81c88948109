#include <doctest/doctest.h>

#include <map>
#include <string>

#include "bench.hpp"
#include "command_line.hpp"
#include "support/next_schema.hpp"
#include "support/temporary_folder.hpp"

namespace agentsight::test {

namespace {

std::map<std::string, RecordState> states_in(outbox::Store& store) {
    std::map<std::string, RecordState> states;
    for (const Record& record : store.list({}, 1000)) {
        states[record.id] = record.state;
    }
    return states;
}

}  // namespace

TEST_CASE("S35: a migration cut off at any operation leaves the old schema or the new, and all") {
    prefer_memory();
    const TemporaryFolder folder;
    const std::uint64_t seed = test_seed();
    CAPTURE(seed);
    for (const bool closed : {true, false}) {
        CAPTURE(closed);
        const Ground ground = make_ground(folder / ("ground" + std::to_string(closed)), closed);
        std::map<std::string, RecordState> states;
        {
            Bench bench{folder / "undisturbed", ground, 1};
            bench.open();
            states = states_in(*bench.store);
            CHECK(states.size() > 20);
        }
        for (const Damage damage : {Damage::process_kill, Damage::lose_unsynced, Damage::sectors,
                                    Damage::garbage, Damage::torn_4k}) {
            CAPTURE(name_of(damage));
            TestRandom random{seed};
            Bench bench{folder / "live", ground, 1};
            bench.options.schema = next_schema();
            int old = 0;
            int migrated = 0;
            std::string wrong;
            const auto try_with = [&](const Ground& left, outbox::Schema schema) {
                Bench next{folder / "next", left, 2};
                next.options.schema = schema;
                bool salvaged = false;
                next.options.on_event = [&](const Event&) { salvaged = true; };
                next.open();
                const bool sound = next.store->verify().empty() && !salvaged;
                if (!sound || states_in(*next.store) != states) {
                    wrong = sound ? "records are not as they were" : "contradictions";
                }
                return next.store->status().schema;
            };
            bench.disk.at_change = [&](std::uint64_t operation) {
                const Ground left{bench.disk.stopped_by(damage, random), {}};
                try {
                    if (try_with(left, next_schema()) != newest(next_schema())) {
                        wrong = "not migrated by the next open";
                    }
                    try_with(left, outbox::our_schema());
                    ++old;
                } catch (const Error& error) {
                    if (error.code() != errc::newer_schema) {
                        wrong = error.what();
                    }
                    ++migrated;
                }
                if (!wrong.empty()) {
                    wrong += " at operation " + std::to_string(operation);
                    bench.disk.at_change = nullptr;
                }
            };
            bench.open();
            bench.close();
            bench.disk.at_change = nullptr;
            CAPTURE(wrong);
            CHECK(wrong.empty());
            CHECK(old > 5);
            CHECK(migrated > 0);
        }
    }
}

}  // namespace agentsight::test
