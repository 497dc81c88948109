#include "core/uuid.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <set>
#include <string>

#include "fuzz.hpp"
#include "support/test_random.hpp"

using namespace agentsight::core;
using namespace agentsight::test;

namespace {

constexpr UtcMs now_2024 = 1'705'315'200'000;

std::uint64_t time_of(const Uuid& id) {
    std::uint64_t time = 0;
    for (std::size_t i = 0; i < 6; ++i) {
        time = time << 8 | id.bytes[i];
    }
    return time;
}

bool is_v7(const Uuid& id) {
    return id.bytes[6] >> 4 == 7 && id.bytes[8] >> 6 == 2;
}

/// Draws nothing but one number.
class Constant final : public Random {
  public:
    explicit Constant(std::uint64_t value) : value_(value) {}
    std::uint64_t next() override { return value_; }

  private:
    std::uint64_t value_;
};

}  // namespace

TEST_CASE("a UUID is read in its canonical form only") {
    const auto id = Uuid::parse("0190163d-8694-739B-aea5-966c26f8ad91");
    REQUIRE(id);
    CHECK(id->text() == "0190163d-8694-739b-aea5-966c26f8ad91");
    CHECK(id->bytes.front() == 0x01);
    CHECK(id->bytes.back() == 0x91);
    CHECK(Uuid::parse("00000000-0000-0000-0000-000000000000") == Uuid{});
    CHECK(Uuid::parse("ffffffff-ffff-ffff-ffff-ffffffffffff"));
    for (const char* const bad :
         {"", "0190163d8694739baea5966c26f8ad91", "{0190163d-8694-739b-aea5-966c26f8ad91}",
          "urn:uuid:0190163d-8694-739b-aea5-966c26f8ad91", "0190163d-8694-739b-aea5-966c26f8ad9",
          "0190163d-8694-739b-aea5-966c26f8ad911", "0190163d-8694-739b-aea5-966c26f8ad9g",
          "0190163d-8694-739b-aea5_966c26f8ad91", "0190163-d8694-739b-aea5-966c26f8ad91",
          "0190163d-8694-739b-aea5-966c26f8ad9 ", "-190163d-8694-739b-aea5-966c26f8ad91",
          "0190163d-8694-739b-aea5-966c26f8\xc3\xa9"}) {
        CAPTURE(bad);
        CHECK_FALSE(Uuid::parse(bad));
    }
    CHECK_FALSE(Uuid::parse(std::string_view{"0190163d-8694-739b-aea5-966c26f8ad9\0", 36}));
}

TEST_CASE("UUIDs survive being written and read, and their texts sort as they do") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    Uuid before;
    for (int i = 0; i < 5'000; ++i) {
        Uuid id;
        for (auto& byte : id.bytes) {
            byte = static_cast<std::uint8_t>(random.next());
        }
        REQUIRE(Uuid::parse(id.text()) == id);
        REQUIRE((id < before) == (id.text() < before.text()));
        Uuid::parse(mutated(random, id.text()));
        before = id;
    }
}

TEST_CASE("an id is a UUIDv7 of its time") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    const Uuid id = next_uuid_v7({}, now_2024, random);
    CHECK(is_v7(id));
    CHECK(time_of(id) == static_cast<std::uint64_t>(now_2024));
}

TEST_CASE("ids grow, whatever the clock does") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    constexpr UtcMs year = 31'556'952'000;
    Uuid last;
    UtcMs now = now_2024;
    for (int i = 0; i < 200'000; ++i) {
        switch (random.below(12)) {
            case 0:
                now += 1;
                break;
            case 1:
                now += static_cast<UtcMs>(random.below(100'000));
                break;
            case 2:
                now -= static_cast<UtcMs>(random.below(100'000));
                break;
            case 3:
                now = random.one_in(1'000) ? now_2024 + 75 * year : now_2024;
                break;
            case 4:
                now = random.one_in(2) ? 0 : -static_cast<UtcMs>(random.below(year));
                break;
            case 5:
                now = random.one_in(20'000) ? static_cast<UtcMs>(random.next()) : now_2024;
                break;
            default:
                break;  // It stands still.
        }
        const Uuid id = next_uuid_v7(last, now, random);
        REQUIRE(last < id);
        REQUIRE(is_v7(id));
        last = id;
    }
}

TEST_CASE("an id follows the clock as soon as the clock is ahead again") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    const Uuid first = next_uuid_v7({}, now_2024, random);
    const Uuid back = next_uuid_v7(first, now_2024 - 60'000, random);
    CHECK(time_of(back) == time_of(first));
    CHECK(time_of(next_uuid_v7(back, now_2024 + 1, random)) == time_of(first) + 1);
}

TEST_CASE("a clock beyond what a UUIDv7 can say is clamped") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    constexpr std::uint64_t end = (std::uint64_t{1} << 48) - 1;
    constexpr auto max = std::numeric_limits<UtcMs>::max();
    Uuid last = next_uuid_v7({}, max, random);
    CHECK(time_of(last) == end);
    for (int i = 0; i < 10'000; ++i) {
        const Uuid id = next_uuid_v7(last, max - i, random);
        REQUIRE(last < id);
        REQUIRE(time_of(id) == end);
        last = id;
    }
    CHECK(time_of(next_uuid_v7({}, std::numeric_limits<UtcMs>::min(), random)) == 0);
}

TEST_CASE("ids grow without any chance at all") {
    Constant nothing{0};
    Uuid last;
    for (int i = 0; i < 10; ++i) {
        const Uuid id = next_uuid_v7(last, now_2024, nothing);
        REQUIRE(last < id);
        last = id;
    }
}

TEST_CASE("where the random bits are used up, the time carries on") {
    Constant most{std::numeric_limits<std::uint64_t>::max()};
    const Uuid full = next_uuid_v7({}, now_2024, most);
    CHECK(full.text().substr(14) == "7fff-bfff-ffffffffffff");
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    const Uuid next = next_uuid_v7(full, now_2024, random);
    CHECK(full < next);
    CHECK(time_of(next) == static_cast<std::uint64_t>(now_2024) + 1);
    CHECK(is_v7(next));

    const auto carry = Uuid::parse("018d0c4a-7c80-7001-bfff-ffffffffffff");
    const Uuid carried = next_uuid_v7(*carry, 0, random);
    CHECK(carried.text().substr(0, 23) == "018d0c4a-7c80-7002-8000");
}

TEST_CASE("two new outboxes whose clocks say 1970 do not make the same ids") {
    TestRandom random{test_seed()};
    CAPTURE(random.seed());
    std::set<Uuid> ids;
    for (int i = 0; i < 10'000; ++i) {
        ids.insert(next_uuid_v7({}, random.one_in(2) ? 0 : -5, random));
    }
    CHECK(ids.size() == 10'000);
    std::set<std::string> high_random_bits;
    for (const Uuid& id : ids) {
        high_random_bits.insert(id.text().substr(15, 3));
    }
    CHECK(high_random_bits.size() > 2'000);  // Of 4096.
}

TEST_CASE("the very last id is not passed, and nothing breaks") {
    TestRandom random{1};
    const auto last = Uuid::parse("ffffffff-ffff-7fff-bfff-ffffffffffff");
    CHECK(next_uuid_v7(*last, now_2024, random) == *last);
    const auto foreign = Uuid::parse("ffffffff-ffff-ffff-ffff-ffffffffffff");
    CHECK(is_v7(next_uuid_v7(*foreign, now_2024, random)));
    // Of another version: still greater.
    const auto other = Uuid::parse("018d0c4a-7c80-ffff-ffff-ffffffffffff");
    CHECK(*other < next_uuid_v7(*other, 0, random));
}
