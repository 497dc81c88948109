// The public Outbox class on space, privacy and damage; what they do is the store's own test.
#include <doctest/doctest.h>

#include <fstream>

#include "agentsight/outbox.hpp"
#include "support/temporary_folder.hpp"

using namespace agentsight;
using namespace agentsight::test;
namespace fs = std::filesystem;

namespace {

Feedback feedback(const char* comment) {
    Feedback made{"c1", Sentiment::positive};
    made.comment = comment;
    return made;
}

std::string content(const fs::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

}  // namespace

TEST_CASE("an outbox is verified, purged, compacted and salvaged through the public class") {
    TemporaryFolder folder;
    const fs::path path = folder / "feedback.db";
    std::string kept;
    {
        Outbox outbox{path, OutboxMode::create};
        const std::string id = outbox.submit(feedback("comment-secret")).id;
        kept = outbox.submit(feedback("comment-kept")).id;
        CHECK(outbox.verify().empty());
        outbox.discard(id);
        CHECK(outbox.purge(INT64_MAX) == 1);
        CHECK(content(path).find("comment-secret") == std::string::npos);
        CHECK(outbox.compact().bytes_after <= fs::file_size(path));
        CHECK(Outbox::salvage(path).moved_to.empty());
    }
    std::ofstream{path, std::ios::binary | std::ios::in}.seekp(0) << std::string(100, 'x');
    const Salvage done = Outbox::salvage(path);
    CHECK(done.rescued == 1);
    CHECK(content(done.moved_to).starts_with("xxx"));
    CHECK(Outbox{path}.get(kept).comment == "comment-kept");
    CHECK(Outbox{path}.verify().empty());
}
