/* The same in C. */

#include <agentsight/agentsight.h>
#include <stdio.h>

int main(void) {
    agentsight_manager* manager = NULL;
    agentsight_feedback feedback = {.struct_size = sizeof feedback};
    feedback.conversation = 42;
    feedback.sentiment = "positive";
    feedback.sentiment_length = 8;
    if (agentsight_open(NULL, 0, NULL, &manager, NULL, 0) != AGENTSIGHT_OK ||
        agentsight_submit(manager, &feedback, NULL, NULL, 0) != AGENTSIGHT_OK ||
        agentsight_flush(manager, 50000, NULL, 0) != AGENTSIGHT_OK) {
        return 1;
    }
    agentsight_close(manager, 2000);
    puts(agentsight_version());
    return 0;
}
