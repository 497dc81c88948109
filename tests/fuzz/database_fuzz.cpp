#include <cstdint>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <string>

#include "agentsight/error.hpp"
#include "crash/command_line.hpp"
#include "need.hpp"
#include "outbox/store.hpp"
#include "support/temporary_folder.hpp"
#include "support/test_clock.hpp"
#include "support/test_random.hpp"

/// A database file that somebody else wrote, or a disk wrote badly. The first byte: 0, the rest
/// is the file; else the rest are patches of a sound one, each three bytes of offset, one of
/// length and so many bytes.
namespace {

using namespace agentsight;
using test::need;

class Bench {
  public:
    Bench() {
        test::prefer_memory();
        folder_.emplace();
        outbox::Store store{options("sound.db"), clock_, random_};
        for (int i = 0; i < 20; ++i) {
            outbox::Submission given;
            given.feedback.conversation = {"=conversation-" + std::to_string(i % 5)};
            given.feedback.sentiment = Sentiment::neutral;
            given.feedback.comment = std::string(static_cast<std::size_t>(i) * 40, 'c');
            need(!store.submit(given).error, "a sound store takes feedback");
        }
        store.tidy();  // so that all is in the file, nothing in the log
        store.close();
        std::ifstream file{folder_->path() / "sound.db", std::ios::binary};
        sound_.assign(std::istreambuf_iterator<char>{file}, {});
    }

    const std::string& sound() const { return sound_; }

    void open(const std::string& bytes) {
        const test::TemporaryFolder folder;
        const auto path = folder.path() / "feedback.db";
        {
            std::ofstream file{path, std::ios::binary};
            file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        }
        std::filesystem::permissions(
            path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
        outbox::StoreOptions wish;
        wish.path = path;
        wish.max_bytes = 4 << 20;
        try {
            use(wish);
        } catch (const Error&) {
            // Refused in words: that is right for what is not ours, or newer.
        }
    }

  private:
    outbox::StoreOptions options(const char* name) {
        outbox::StoreOptions wish;
        wish.path = folder_->path() / name;
        return wish;
    }

    void use(const outbox::StoreOptions& wish) {
        outbox::Store store{wish, clock_, random_};
        for (const Record& record : store.list({}, 50)) {
            try {
                static_cast<void>(store.get(record.id));
            } catch (const Error&) {
            }
        }
        static_cast<void>(store.status());
        static_cast<void>(store.verify());
        if (store.try_become_drainer()) {
            static_cast<void>(store.begin_draining());
            outbox::DrainRequest request;
            request.claim = 4;
            static_cast<void>(store.drain(request));
        }
        outbox::Submission given;
        given.feedback.conversation = {"=after"};
        given.feedback.sentiment = Sentiment::positive;
        const outbox::SubmitResult result = store.submit(given);
        need(result.error || result.has_id, "a submit is stored, or says why not");
    }

    test::TestClock clock_;
    test::TestRandom random_{1};
    std::optional<test::TemporaryFolder> folder_;
    std::string sound_;
};

std::string patched(std::string bytes, std::string_view patches) {
    while (patches.size() >= 5) {
        const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(patches[at]); };
        const std::size_t offset = (byte(0) << 16U | byte(1) << 8U | byte(2)) % bytes.size();
        const std::size_t length = std::min<std::size_t>(
            {static_cast<std::size_t>(byte(3)) + 1, patches.size() - 4, bytes.size() - offset});
        bytes.replace(offset, length, patches.substr(4, length));
        patches.remove_prefix(4 + length);
    }
    return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Bench bench;
    if (size == 0) {
        return 0;
    }
    const std::string_view rest{reinterpret_cast<const char*>(data) + 1, size - 1};
    bench.open(data[0] == 0 ? std::string{rest} : patched(bench.sound(), rest));
    return 0;
}
