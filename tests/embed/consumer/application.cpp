// Somebody else's application: submits one feedback and waits until it has arrived.

#include <agentsight/agentsight.hpp>
#include <cstdio>

int main() {
    agentsight::ConversationManager manager;
    const agentsight::Receipt receipt = manager.submit_feedback(
        "conv-consumer", agentsight::Sentiment::positive, "from outside", {{"rating", 5}});
    if (manager.wait(receipt.id, std::chrono::seconds{50}) != agentsight::RecordState::delivered) {
        return 1;
    }
    std::puts(agentsight::version());
    return 0;
}
