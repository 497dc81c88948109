#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "crash_vfs.hpp"
#include "failing_vfs.hpp"
#include "outbox/store.hpp"
#include "support/test_clock.hpp"
#include "support/test_random.hpp"
#include "truth.hpp"

namespace agentsight::test {

/// An outbox with records in every state, and the truth about it: where the fault sweep
/// begins each time.
struct Ground {
    DiskImage image;
    Truth truth;
};

/// One store on one disk, with the truth about it.
class Bench {
  public:
    static constexpr const char* api = "https://api.example";

    Bench(const std::filesystem::path& folder, const Ground& ground, std::uint64_t seed);

    void open();
    void close() { store.reset(); }
    bool is_open() const { return store != nullptr; }

    outbox::Submission submission(bool with_id = false, std::size_t size = 40);
    outbox::DrainRequest request(std::size_t claim) const;
    outbox::Settlement settlement(std::int64_t key, outbox::Settlement::To to);
    /// The first record in this place.
    core::Uuid any(Place place) const;

    CrashDisk disk;
    FailingCalls calls;
    TestClock clock;
    TestRandom random;
    outbox::StoreOptions options;
    Truth truth;
    std::unique_ptr<outbox::Store> store;
    std::vector<outbox::ClaimedRecord> held;
};

/// Made by the store itself, without faults. `closed`: its process ended in order, else it
/// was killed and left its log.
Ground make_ground(const std::filesystem::path& folder, bool closed);

}  // namespace agentsight::test
