/* A C program: one feedback from the command line.
 *
 *   feedback CONVERSATION SENTIMENT [COMMENT] */

#include <agentsight/agentsight.h>
#include <stdio.h>
#include <string.h>

/* One JSON object a call, on the library's thread. */
static void observe(void* context, const char* event, size_t length) {
    (void)context;
    printf("%.*s\n", (int)length, event);
}

int main(int argc, char** argv) {
    static const char options[] = "{\"application\": \"feedback-example\"}";
    char message[256];
    agentsight_manager* manager = NULL;
    agentsight_callbacks callbacks = {.struct_size = sizeof callbacks, .observe = observe};
    agentsight_feedback feedback = {.struct_size = sizeof feedback};
    agentsight_receipt receipt;
    int state = AGENTSIGHT_STATE_WAITING;

    if (argc < 3) {
        fprintf(stderr, "usage: feedback CONVERSATION SENTIMENT [COMMENT]\n");
        return 2;
    }
    feedback.conversation_id = argv[1];
    feedback.conversation_id_length = strlen(argv[1]);
    feedback.sentiment = argv[2];
    feedback.sentiment_length = strlen(argv[2]);
    if (argc > 3) {
        feedback.comment = argv[3];
        feedback.comment_length = strlen(argv[3]);
    }
    if (agentsight_open(options, sizeof options - 1, &callbacks, &manager, message,
                        sizeof message) != AGENTSIGHT_OK ||
        agentsight_submit(manager, &feedback, &receipt, message, sizeof message) != AGENTSIGHT_OK) {
        fprintf(stderr, "feedback: %s\n", message);
        agentsight_close(manager, 0);
        return 1;
    }
    agentsight_wait(manager, receipt.id, strlen(receipt.id), 5000, &state, NULL, 0);
    agentsight_close(manager, 2000);
    return state == AGENTSIGHT_STATE_DELIVERED ? 0 : 3;
}
