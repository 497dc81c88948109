// A kiosk's main loop, which must draw 60 frames a second and never waits for a disk or a
// network: feedback is submitted asynchronously; what becomes of it comes back through a queue
// that the loop empties between two frames.
//
//   kiosk [VISITORS]    ends once so many have given feedback and all of it is accounted for

#include <agentsight/agentsight.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::microseconds frame_time{16'667};

/// What other threads want the main loop to know.
class Mailbox {
  public:
    void put(std::function<void()> letter) {
        const std::lock_guard lock(mutex_);
        letters_.push_back(std::move(letter));
    }
    /// Runs what has come, on the caller's thread.
    void empty() {
        std::vector<std::function<void()>> letters;
        {
            const std::lock_guard lock(mutex_);
            letters.swap(letters_);
        }
        for (const auto& letter : letters) {
            letter();
        }
    }

  private:
    std::mutex mutex_;
    std::vector<std::function<void()>> letters_;
};

/// The screen: here, counters.
struct Screen {
    int thanked = 0;  ///< feedback that is on stable storage
    int sorry = 0;    ///< feedback that could not be kept
    int delivered = 0;
    int refused = 0;  ///< by the server: dead letters
    void draw() const {}
};

void show(Screen& screen, const agentsight::Event& event) {
    if (std::holds_alternative<agentsight::event::Delivered>(event)) {
        ++screen.delivered;
    } else if (std::holds_alternative<agentsight::event::DeadLetter>(event)) {
        ++screen.refused;
    } else if (const auto* held = std::get_if<agentsight::event::Held>(&event)) {
        const std::string reason{agentsight::to_string(held->reason)};
        std::fprintf(stderr, "kiosk: nothing is sent: %s\n", reason.c_str());
    }
}

/// A visitor presses the button. Returns at once, whatever the disk does.
void press_button(agentsight::ConversationManager& manager, Screen& screen, int visitor) {
    manager.async_submit_feedback("visitor-" + std::to_string(visitor),
                                  agentsight::Sentiment::positive, "from the kiosk",
                                  [&screen](std::error_code problem, const agentsight::Receipt&) {
                                      problem ? ++screen.sorry : ++screen.thanked;
                                  });
}

}  // namespace

int main(int argc, char** argv) {
    const int visitors = argc > 1 ? std::atoi(argv[1]) : 10;
    Mailbox mailbox;
    Screen screen;
    agentsight::Options options;
    options.application = "kiosk-example";
    options.observer = [&screen](const agentsight::Event& event) { show(screen, event); };
    options.dispatch = [&mailbox](std::function<void()> call) { mailbox.put(std::move(call)); };
    agentsight::ConversationManager manager{options};

    Clock::time_point next_frame = Clock::now();
    for (int frame = 0; screen.delivered + screen.refused + screen.sorry < visitors; ++frame) {
        if (frame < visitors) {
            press_button(manager, screen, frame);
        }
        mailbox.empty();
        screen.draw();
        next_frame += frame_time;
        std::this_thread::sleep_until(next_frame);
    }
    std::printf("thanked %d, delivered %d\n", screen.thanked, screen.delivered);
    manager.close(std::chrono::seconds{2});
    mailbox.empty();  // callbacks handed over by close()
    return screen.sorry == 0 ? 0 : 1;
}
