#include <array>
#include <limits>
#include <memory>
#include <utility>

#include "support/next_schema.hpp"
#include "sweep.hpp"

namespace agentsight::test {

namespace {

using To = outbox::Settlement::To;

/// A submit, remembered from its preparation to its telling.
struct Submits {
    std::vector<outbox::Submission> submissions;
    std::vector<outbox::SubmitResult> results;
};

Scenario submitting(const char* name, std::size_t count, bool with_ids, std::size_t size) {
    auto state = std::make_shared<Submits>();
    Scenario made;
    made.name = name;
    made.prepare = [=](Bench& bench) {
        state->submissions.clear();
        for (std::size_t i = 0; i < count; ++i) {
            state->submissions.push_back(bench.submission(with_ids, size));
            bench.truth.may_appear(state->submissions.back());
        }
    };
    made.call = [=](Bench& bench) {
        state->results.clear();
        if (count == 1) {
            state->results.push_back(bench.store->submit(state->submissions.front()));
        } else {
            state->results = bench.store->submit_many(state->submissions);
        }
        for (const auto& result : state->results) {
            if (result.error) {
                return false;
            }
        }
        return true;
    };
    made.tell = [=](Bench& bench) {
        for (std::size_t i = 0; i < count; ++i) {
            bench.truth.appeared(state->results[i].id, state->submissions[i]);
        }
    };
    made.tell_parts = [=](Bench& bench) {
        for (std::size_t i = 0; i < state->results.size(); ++i) {
            if (!state->results[i].error) {
                bench.truth.settled(state->submissions[i]);
                bench.truth.appeared(state->results[i].id, state->submissions[i]);
                bench.truth.acknowledged(state->results[i].id);
            }
        }
    };
    return made;
}

/// A call about one record, from one place to another.
Scenario moving(const char* name, Place from, Place to,
                std::function<void(outbox::Store&, const std::string&)> call) {
    Scenario made;
    made.name = name;
    made.prepare = [=](Bench& bench) { bench.truth.may_become(bench.any(from), to); };
    made.call = [=](Bench& bench) {
        call(*bench.store, bench.any(from).text());
        return true;
    };
    made.tell = [=](Bench& bench) { bench.truth.became(bench.any(from), to); };
    return made;
}

Scenario reading(const char* name, std::function<void(Bench&)> call) {
    Scenario made;
    made.name = name;
    made.call = [=](Bench& bench) {
        call(bench);
        return true;
    };
    return made;
}

Scenario opening(const char* name, bool after_kill, bool fresh) {
    Scenario made;
    made.name = name;
    made.opens = false;
    made.after_kill = after_kill;
    made.fresh = fresh;
    made.call = [](Bench& bench) {
        bench.open();
        return true;
    };
    return made;
}

Scenario migrating(const char* name, bool after_kill) {
    Scenario made = opening(name, after_kill, false);
    made.prepare = [](Bench& bench) { bench.options.schema = next_schema(); };
    return made;
}

Scenario submitting_again() {
    Scenario made;
    made.name = "submit the same id again";
    made.call = [](Bench& bench) {
        const core::Uuid id = bench.any(Place::waiting);
        outbox::Submission again = bench.truth.records().at(id).submission;
        again.id = id;
        return !bench.store->submit(again).error;
    };
    return made;
}

Scenario beginning_to_drain() {
    Scenario made;
    made.name = "become the drainer";
    made.prepare = [](Bench& bench) {
        for (const core::Uuid& id : bench.truth.ids_in(Place::claimed)) {
            bench.truth.may_become(id, Place::unknown);
        }
    };
    made.call = [](Bench& bench) {
        if (!bench.store->try_become_drainer()) {
            return false;
        }
        bench.store->begin_draining();
        return true;
    };
    made.tell = [](Bench& bench) {
        for (const core::Uuid& id : bench.truth.ids_in(Place::claimed)) {
            bench.truth.became(id, Place::unknown);
        }
    };
    return made;
}

Scenario draining() {
    using Claimed = std::vector<outbox::ClaimedRecord>;
    static constexpr std::array fates{
        std::pair{To::delivered, Place::delivered}, std::pair{To::waiting, Place::waiting},
        std::pair{To::unknown, Place::unknown}, std::pair{To::dead, Place::dead},
        std::pair{To::delivered, Place::delivered}};
    auto settled = std::make_shared<Claimed>();
    auto reply = std::make_shared<Claimed>();
    auto request = std::make_shared<outbox::DrainRequest>();
    Scenario made;
    made.name = "drain";
    made.drains = true;
    made.prepare = [=](Bench& bench) {
        *settled = bench.store->drain(bench.request(fates.size())).claimed;
        for (const auto& record : *settled) {
            bench.truth.became(record.id, Place::claimed);
        }
        bench.truth.acknowledged();
        *request = bench.request(3);
        bench.truth.may_claim(3);
        for (std::size_t i = 0; i < settled->size(); ++i) {
            const auto& [to, place] = fates[i];
            request->settlements.push_back(bench.settlement((*settled)[i].key, to));
            bench.truth.may_become((*settled)[i].id, place);
        }
        outbox::DrainState state;
        state.holds.push_back({.reason = HoldReason::link_down, .since = 1});
        request->save = state;
    };
    made.call = [=](Bench& bench) {
        *reply = bench.store->drain(*request).claimed;
        return true;
    };
    made.tell = [=](Bench& bench) {
        for (std::size_t i = 0; i < settled->size(); ++i) {
            bench.truth.became((*settled)[i].id, fates[i].second);
        }
        for (const auto& record : *reply) {
            bench.truth.became(record.id, Place::claimed);
        }
    };
    return made;
}

Scenario simple(const char* name, std::function<void(outbox::Store&)> call) {
    return reading(name, [=](Bench& bench) { call(*bench.store); });
}

std::vector<Scenario> make_scenarios() {
    const core::ConversationKey conversation{"=g99"};
    std::vector<Scenario> all{
        opening("open a new outbox", false, true),
        opening("open after a clean end", false, false),
        opening("open after a kill", true, false),
        migrating("migrate", false),
        migrating("migrate after a kill", true),
        submitting("submit", 1, false, 40),
        submitting("submit with an id", 1, true, 40),
        submitting("submit several pages", 1, true, 12'000),
        submitting("submit many", 6, false, 300),
        submitting("submit many with ids", 6, true, 300),
        submitting_again(),
        beginning_to_drain(),
        draining(),
        moving("requeue a dead letter", Place::dead, Place::waiting,
               [](outbox::Store& store, const std::string& id) { store.requeue(id, false); }),
        moving("requeue an unknown record", Place::unknown, Place::waiting,
               [](outbox::Store& store, const std::string& id) { store.requeue(id, true); }),
        moving("discard", Place::waiting, Place::discarded,
               [](outbox::Store& store, const std::string& id) { store.discard(id, false); }),
        moving("resolve as delivered", Place::left, Place::delivered,
               [](outbox::Store& store, const std::string& id) {
                   store.resolve_delivered(id, "12345");
               }),
        moving("resolve to send again", Place::unknown, Place::waiting,
               [](outbox::Store& store, const std::string& id) { store.resolve_resend(id); }),
        simple("hold", [](outbox::Store& store) { store.hold(); }),
        simple("release", [](outbox::Store& store) { store.release(); }),
        simple("tidy", [](outbox::Store& store) { store.tidy(); }),
        purging(),
        simple("compact", [](outbox::Store& store) { store.compact(); }),
        simple("salvage a sound one", [](outbox::Store& store) { store.salvage(false); }),
        salvaging(),
        simple("close", [](outbox::Store& store) { store.close(); }),
        simple("status", [](outbox::Store& store) { store.status(); }),
        simple("list", [](outbox::Store& store) { store.list({}, 100); }),
        simple("count", [](outbox::Store& store) { store.count({}); }),
        simple("verify", [](outbox::Store& store) { store.verify(); }),
        simple("due unknowns", [](outbox::Store& store) { store.due_unknowns(10, true); }),
        reading("get", [](Bench& bench) { bench.store->get(bench.any(Place::delivered).text()); }),
        reading("state of",
                [](Bench& bench) { bench.store->state_of(bench.any(Place::dead).text()); }),
        simple("unknowns of", [=](outbox::Store& store) { store.unknowns_of(conversation); }),
        simple("owned",
               [](outbox::Store& store) {
                   const std::array<std::string, 2> ids{"1", "2"};
                   store.owned(Bench::api, ids);
               }),
        simple("known row",
               [=](outbox::Store& store) { store.known_row(conversation, Bench::api, 0); }),
        putting_off(),
    };
    for (Scenario& scenario : facade_scenarios()) {
        all.push_back(std::move(scenario));
    }
    return all;
}

}  // namespace

Scenario purging() {
    Scenario made;
    made.name = "purge";
    made.prepare = [](Bench& bench) { bench.truth.may_lose_history(); };
    made.call = [](Bench& bench) {
        bench.store->purge(std::numeric_limits<core::UtcMs>::max());
        return true;
    };
    return made;
}

Scenario salvaging() {
    const auto in_doubt = [](Bench& bench) {
        std::vector<core::Uuid> ids = bench.truth.ids_in(Place::waiting);
        const std::vector<core::Uuid> claimed = bench.truth.ids_in(Place::claimed);
        ids.insert(ids.end(), claimed.begin(), claimed.end());
        return ids;
    };
    Scenario made;
    made.name = "salvage";
    made.prepare = [=](Bench& bench) {
        for (const core::Uuid& id : in_doubt(bench)) {
            bench.truth.may_become(id, Place::unknown);
        }
    };
    made.call = [](Bench& bench) {
        bench.store->salvage(true);
        return true;
    };
    made.tell = [=](Bench& bench) {
        for (const core::Uuid& id : in_doubt(bench)) {
            bench.truth.became(id, Place::unknown);
        }
    };
    return made;
}

const std::vector<Scenario>& scenarios() {
    static const std::vector<Scenario> all = make_scenarios();
    return all;
}

}  // namespace agentsight::test
