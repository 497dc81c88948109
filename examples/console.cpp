// A console application in ten lines: one feedback, given and delivered.
#include <agentsight/agentsight.hpp>

int main() {
    agentsight::ConversationManager manager;  // key, endpoint and outbox from the environment
    const agentsight::Receipt receipt =
        manager.submit_feedback("support-session-456", agentsight::Sentiment::positive,
                                "Excellent service!", {{"rating", 5}});
    const bool delivered =
        manager.wait(receipt.id, std::chrono::seconds{5}) == agentsight::RecordState::delivered;
    return delivered ? 0 : 3;  // 3: on stable storage, and on its way at the next start
}
