#include <doctest/doctest.h>

#include "campaign.hpp"
#include "command_line.hpp"
#include "support/temporary_folder.hpp"

namespace agentsight::test {

namespace {

CampaignResult run(CampaignOptions options) {
    prefer_memory();
    const TemporaryFolder folder;
    return run_campaign(options, folder.path());
}

CampaignOptions with_defect(Defect defect, Damage damage, std::uint64_t cuts) {
    CampaignOptions options;
    options.defect = defect;
    options.models = {damage};
    options.cuts = cuts;
    return options;
}

}  // namespace

TEST_CASE("S1 S2 S7 S35: power cuts and kills lose nothing acknowledged and corrupt nothing") {
    for (int i = 0; i < damage_count; ++i) {
        CampaignOptions options;
        options.models = {static_cast<Damage>(i)};
        options.seed = test_seed();
        options.cuts = 250;
        options.steps = 25;
        const CampaignResult result = run(options);
        CAPTURE(name_of(options.models.front()));
        CAPTURE(options.seed);
        CHECK(result.total().cuts >= 250);
        for (const std::string& failure : result.failures) {
            FAIL_CHECK(failure);
        }
    }
}

// A seed that found it.
TEST_CASE("S7: a journal that came back beside an empty log takes no outbox out of WAL mode") {
    CampaignOptions options;
    options.models = {Damage::torn_4k};
    options.seed = 7833748231012438771;
    options.cuts = 66;
    CHECK(run(options).failures.empty());
}

TEST_CASE("the campaign catches what it is made to catch") {
    CHECK_FALSE(
        run(with_defect(Defect::normal_sync, Damage::lose_unsynced, 2000)).failures.empty());
    CHECK_FALSE(
        run(with_defect(Defect::believed_power_safe, Damage::torn_4k, 4000)).failures.empty());
    CHECK_FALSE(run(with_defect(Defect::early_acknowledgement, Damage::lose_unsynced, 2000))
                    .failures.empty());
    CHECK_FALSE(
        run(with_defect(Defect::ignored_sync, Damage::lose_unsynced, 2000)).failures.empty());
}

}  // namespace agentsight::test
