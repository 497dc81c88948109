#include "c_api.h"

#include <agentsight/agentsight.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define CHECK(condition)     \
    do {                     \
        if (!(condition)) {  \
            return __LINE__; \
        }                    \
    } while (0)

#define PATIENCE_MS 30000

/* Members in the order of the structure. */
static agentsight_feedback feedback(const char* conversation, const char* comment) {
    agentsight_feedback f = {.struct_size = sizeof f};
    f.conversation_id = conversation;
    f.conversation_id_length = strlen(conversation);
    f.sentiment = "positive";
    f.sentiment_length = 8;
    f.comment = comment;
    f.comment_length = comment ? strlen(comment) : 0;
    return f;
}

static agentsight_manager* open_manager(const char* outbox, const char* url,
                                        const agentsight_callbacks* callbacks) {
    char options[1024];
    agentsight_manager* manager = NULL;
    const int length = snprintf(options, sizeof options,
                                "{\"outbox_path\": \"%s\", \"endpoint\": \"%s\", "
                                "\"api_key\": \"ags_test\", \"connections\": 2}",
                                outbox, url);
    agentsight_open(options, (size_t)length, callbacks, &manager, NULL, 0);
    return manager;
}

int c_submits_and_delivers(const char* outbox, const char* url) {
    char message[200] = "untouched";
    agentsight_receipt receipt;
    agentsight_manager* manager = open_manager(outbox, url, NULL);
    CHECK(manager != NULL);

    agentsight_feedback f = feedback("conv-c", "from C, not terminated: here");
    f.comment_length -= strlen(": here");
    f.metadata = "{\"rating\": 5, \"nested\": {\"big\": 18446744073709551615}}";
    f.metadata_length = strlen(f.metadata);
    CHECK(agentsight_submit(manager, &f, &receipt, message, sizeof message) == AGENTSIGHT_OK);
    CHECK(message[0] == '\0');
    CHECK(strlen(receipt.id) == 36 && receipt.stored == 1);

    agentsight_feedback g = {.struct_size = sizeof g}; /* by database id, nothing optional */
    g.conversation = 42;
    g.sentiment = "negative";
    g.sentiment_length = 8;
    CHECK(agentsight_submit(manager, &g, NULL, NULL, 0) == AGENTSIGHT_OK);

    int state = -1;
    CHECK(agentsight_wait(manager, receipt.id, 36, PATIENCE_MS, &state, NULL, 0) == AGENTSIGHT_OK);
    CHECK(state == AGENTSIGHT_STATE_DELIVERED);
    CHECK(agentsight_flush(manager, PATIENCE_MS, NULL, 0) == AGENTSIGHT_OK);

    char* json = NULL;
    size_t length = 0;
    CHECK(agentsight_stats(manager, &json, &length, NULL, 0) == AGENTSIGHT_OK);
    CHECK(json && strlen(json) == length);
    CHECK(strstr(json, "\"accepted\":2") && strstr(json, "\"delivered\":2"));
    CHECK(strstr(json, "\"hold\":null") && strstr(json, "\"bell_is_polled\":false"));
    agentsight_free(json);
    agentsight_free(NULL);
    agentsight_close(manager, 2000);
    agentsight_close(NULL, 2000);
    CHECK(strchr(agentsight_version(), '.') != NULL);
    return 0;
}

int c_says_what_is_wrong(const char* outbox, const char* url) {
    char message[200];
    agentsight_receipt receipt;
    agentsight_manager* manager = open_manager(outbox, url, NULL);
    CHECK(manager != NULL);

    agentsight_feedback f = feedback("conv", "a secret comment");
    f.sentiment = "meh";
    f.sentiment_length = 3;
    CHECK(agentsight_submit(manager, &f, &receipt, message, sizeof message) ==
          AGENTSIGHT_SENTIMENT_INVALID);
    CHECK(strstr(message, "sentiment") && !strstr(message, "secret"));
    CHECK(receipt.id[0] == '\0' && receipt.stored == 0);

    /* Cut to the buffer, always terminated; no buffer is fine too. */
    char small[8];
    memset(small, 'x', sizeof small);
    CHECK(agentsight_submit(manager, &f, NULL, small, 6) == AGENTSIGHT_SENTIMENT_INVALID);
    CHECK(strlen(small) == 5 && small[6] == 'x');
    CHECK(agentsight_submit(manager, &f, NULL, small, 0) == AGENTSIGHT_SENTIMENT_INVALID);

    f = feedback("", NULL);
    CHECK(agentsight_submit(manager, &f, NULL, NULL, 0) == AGENTSIGHT_ID_EMPTY);
    f = feedback("a\0b", NULL);
    f.conversation_id_length = 3;
    CHECK(agentsight_submit(manager, &f, NULL, NULL, 0) == AGENTSIGHT_ID_HAS_NUL);
    f = feedback("conv", "\xff");
    CHECK(agentsight_submit(manager, &f, NULL, NULL, 0) == AGENTSIGHT_COMMENT_NOT_UTF8);
    f = feedback("conv", NULL);
    f.metadata = "[1]";
    f.metadata_length = 3;
    CHECK(agentsight_submit(manager, &f, NULL, NULL, 0) == AGENTSIGHT_METADATA_NOT_OBJECT);
    f.metadata = "{\"a\":1,\"a\":2}";
    f.metadata_length = strlen(f.metadata);
    CHECK(agentsight_submit(manager, &f, NULL, NULL, 0) == AGENTSIGHT_METADATA_DUPLICATE_NAME);
    f.conversation_id = NULL;
    f.conversation = -1;
    f.metadata = NULL; /* none, whatever its length */
    CHECK(agentsight_submit(manager, &f, NULL, NULL, 0) == AGENTSIGHT_ID_NOT_POSITIVE);

    int state = 0;
    CHECK(agentsight_wait(manager, "5eedf00d-0000-4000-8000-00000000dead", 36, 0, &state, NULL,
                          0) == AGENTSIGHT_NOT_FOUND);
    CHECK(agentsight_set_credential(manager, 7, "x", 1, message, sizeof message) ==
          AGENTSIGHT_INVALID_OPTION);
    CHECK(strstr(message, "kind"));
    CHECK(agentsight_set_credential(manager, AGENTSIGHT_CREDENTIAL_JWT, "a\r\nb", 4, message,
                                    sizeof message) == AGENTSIGHT_INVALID_OPTION);
    CHECK(agentsight_submit(NULL, &f, NULL, NULL, 0) == AGENTSIGHT_INVALID_OPTION);
    CHECK(agentsight_submit(manager, NULL, NULL, NULL, 0) == AGENTSIGHT_INVALID_OPTION);
    CHECK(agentsight_flush(NULL, 0, NULL, 0) == AGENTSIGHT_INVALID_OPTION);
    CHECK(agentsight_wait(manager, "", 0, 0, NULL, NULL, 0) == AGENTSIGHT_INVALID_OPTION);
    CHECK(agentsight_stats(manager, NULL, NULL, NULL, 0) == AGENTSIGHT_INVALID_OPTION);
    agentsight_close(manager, 2000);
    return 0;
}

int c_takes_structures_of_other_sizes(const char* outbox, const char* url) {
    agentsight_manager* manager = open_manager(outbox, url, NULL);
    CHECK(manager != NULL);

    agentsight_feedback f = feedback("conv", "c");
    f.id = "beyond what an older caller knew, and no UUID";
    f.id_length = strlen(f.id);
    CHECK(agentsight_submit(manager, &f, NULL, NULL, 0) == AGENTSIGHT_RECORD_ID_INVALID);
    f.struct_size = offsetof(agentsight_feedback, id);
    CHECK(agentsight_submit(manager, &f, NULL, NULL, 0) == AGENTSIGHT_OK);

    struct {
        agentsight_feedback known;
        size_t newer;
    } grown = {feedback("conv", "c"), 0};
    grown.known.struct_size = sizeof grown;
    CHECK(agentsight_submit(manager, &grown.known, NULL, NULL, 0) == AGENTSIGHT_OK);
    grown.newer = 1;
    char message[200];
    CHECK(agentsight_submit(manager, &grown.known, NULL, message, sizeof message) ==
          AGENTSIGHT_INVALID_OPTION);
    CHECK(strstr(message, "agentsight_feedback"));
    grown.known.struct_size = 0;
    CHECK(agentsight_submit(manager, &grown.known, NULL, NULL, 0) == AGENTSIGHT_INVALID_OPTION);
    grown.known.struct_size = (size_t)-1;
    CHECK(agentsight_submit(manager, &grown.known, NULL, NULL, 0) == AGENTSIGHT_INVALID_OPTION);
    agentsight_close(manager, 2000);
    return 0;
}

int c_repeats_an_id(const char* outbox, const char* url) {
    agentsight_receipt receipt;
    agentsight_manager* manager = open_manager(outbox, url, NULL);
    CHECK(manager != NULL);
    agentsight_feedback f = feedback("conv", "once");
    f.id = "5eedf00d-0000-4000-8000-000000000001";
    f.id_length = 36;
    CHECK(agentsight_submit(manager, &f, &receipt, NULL, 0) == AGENTSIGHT_OK);
    CHECK(receipt.stored == 1 && strcmp(receipt.id, f.id) == 0);
    CHECK(agentsight_submit(manager, &f, &receipt, NULL, 0) == AGENTSIGHT_OK);
    CHECK(receipt.stored == 0 && strcmp(receipt.id, f.id) == 0);
    f.comment = "else";
    f.comment_length = 4;
    CHECK(agentsight_submit(manager, &f, &receipt, NULL, 0) == AGENTSIGHT_ID_CONFLICT);
    CHECK(strcmp(receipt.id, f.id) == 0);
    f.id_length = 0;
    CHECK(agentsight_submit(manager, &f, &receipt, NULL, 0) == AGENTSIGHT_RECORD_ID_INVALID);
    agentsight_close(manager, 2000);
    return 0;
}

/* What the callbacks below share. */
typedef struct Box {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int calls, failures, last_code;
    char id[37];
    char events[8192];
    /* A loop of the application's: tasks run by the thread that owns the box. */
    void (*run[256])(void*);
    void* task[256];
    int queued, taken;
    pthread_t owner;
    int elsewhere; /* callbacks that ran on another thread than the owner's */
} Box;

static void init_box(Box* box) {
    memset(box, 0, sizeof *box);
    pthread_mutex_init(&box->mutex, NULL);
    pthread_cond_init(&box->changed, NULL);
    box->owner = pthread_self();
}

static void on_done(void* context, int code, const agentsight_receipt* receipt) {
    Box* box = context;
    pthread_mutex_lock(&box->mutex);
    ++box->calls;
    box->failures += code != AGENTSIGHT_OK;
    box->last_code = code;
    memcpy(box->id, receipt->id, sizeof box->id);
    pthread_cond_broadcast(&box->changed);
    pthread_mutex_unlock(&box->mutex);
}

int c_submits_asynchronously(const char* outbox, const char* url) {
    static Box box;
    init_box(&box);
    agentsight_manager* manager = open_manager(outbox, url, NULL);
    CHECK(manager != NULL);
    char comment[] = "copied before the call returns";
    agentsight_feedback f = feedback("conv", comment);
    CHECK(agentsight_submit_async(manager, &f, on_done, &box, NULL, 0) == AGENTSIGHT_OK);
    memset(comment, 'x', sizeof comment - 1);
    CHECK(agentsight_submit_async(manager, &f, NULL, NULL, NULL, 0) == AGENTSIGHT_OK);
    pthread_mutex_lock(&box.mutex);
    while (box.calls < 1) {
        pthread_cond_wait(&box.changed, &box.mutex);
    }
    pthread_mutex_unlock(&box.mutex);
    CHECK(box.failures == 0 && strlen(box.id) == 36);

    f.sentiment_length = 1; /* refused at once, and only by the callback */
    CHECK(agentsight_submit_async(manager, &f, on_done, &box, NULL, 0) == AGENTSIGHT_OK);
    CHECK(box.calls == 2 && box.last_code == AGENTSIGHT_SENTIMENT_INVALID);
    f.struct_size = 1;
    CHECK(agentsight_submit_async(manager, &f, on_done, &box, NULL, 0) ==
          AGENTSIGHT_INVALID_OPTION);
    f = feedback("conv", "at the end");
    CHECK(agentsight_submit_async(manager, &f, on_done, &box, NULL, 0) == AGENTSIGHT_OK);
    agentsight_close(manager, PATIENCE_MS);
    CHECK(box.calls == 3 && box.failures == 1);
    return 0;
}

int c_pauses_and_changes_credentials(const char* outbox, const char* url) {
    char options[1024];
    char* json = NULL;
    int state = -1;
    agentsight_receipt receipt;
    agentsight_manager* manager = NULL;
    const int length = snprintf(options, sizeof options,
                                "{\"outbox_path\": \"%s\", \"endpoint\": \"%s\"}", outbox, url);
    CHECK(agentsight_open(options, (size_t)length, NULL, &manager, NULL, 0) == AGENTSIGHT_OK);
    agentsight_feedback f = feedback("conv", "waits for a key");
    CHECK(agentsight_submit(manager, &f, &receipt, NULL, 0) == AGENTSIGHT_OK);
    CHECK(agentsight_flush(manager, PATIENCE_MS, NULL, 0) == AGENTSIGHT_NOT_SETTLED);
    CHECK(agentsight_stats(manager, &json, NULL, NULL, 0) == AGENTSIGHT_OK);
    CHECK(strstr(json, "\"reason\":\"no_credential\"") && strstr(json, "\"waiting\":1"));
    agentsight_free(json);

    CHECK(agentsight_pause(manager, 1, NULL, 0) == AGENTSIGHT_OK);
    CHECK(agentsight_set_credential(manager, AGENTSIGHT_CREDENTIAL_API_KEY, "ags_test", 8, NULL,
                                    0) == AGENTSIGHT_OK);
    CHECK(agentsight_wait(manager, receipt.id, 36, 0, &state, NULL, 0) == AGENTSIGHT_OK);
    CHECK(state == AGENTSIGHT_STATE_WAITING);
    CHECK(agentsight_pause(manager, 0, NULL, 0) == AGENTSIGHT_OK);
    CHECK(agentsight_network_changed(manager, NULL, 0) == AGENTSIGHT_OK);
    CHECK(agentsight_wait(manager, receipt.id, 36, PATIENCE_MS, &state, NULL, 0) == AGENTSIGHT_OK);
    CHECK(state == AGENTSIGHT_STATE_DELIVERED);
    agentsight_close(manager, 2000);
    return 0;
}

static void observe(void* context, const char* event, size_t length) {
    Box* box = context;
    box->elsewhere += !pthread_equal(box->owner, pthread_self());
    const size_t at = strlen(box->events);
    if (at + length + 2 < sizeof box->events) {
        memcpy(box->events + at, event, length);
        memcpy(box->events + at + length, "\n", 2);
    }
}

static void dispatch(void* context, void (*run)(void*), void* task) {
    Box* box = context;
    pthread_mutex_lock(&box->mutex);
    const int slot = box->queued++ % 256; /* far fewer than that are ever queued here */
    box->run[slot] = run;
    box->task[slot] = task;
    pthread_cond_broadcast(&box->changed);
    pthread_mutex_unlock(&box->mutex);
}

/* One turn of the loop; 0 where nothing is queued and `wait` is 0. */
static int run_one(Box* box, int wait) {
    pthread_mutex_lock(&box->mutex);
    while (wait && box->taken == box->queued) {
        pthread_cond_wait(&box->changed, &box->mutex);
    }
    const int some = box->taken != box->queued;
    const int slot = some ? box->taken++ % 256 : 0;
    pthread_mutex_unlock(&box->mutex);
    if (some) {
        box->run[slot](box->task[slot]);
    }
    return some;
}

int c_observes_through_its_own_loop(const char* outbox, const char* url) {
    static Box box;
    init_box(&box);
    agentsight_callbacks callbacks = {.struct_size = sizeof callbacks};
    callbacks.context = &box;
    callbacks.observe = observe;
    callbacks.dispatch = dispatch;
    agentsight_manager* manager = open_manager(outbox, url, &callbacks);
    CHECK(manager != NULL);
    agentsight_feedback f = feedback("conv", "a comment that no event repeats");
    agentsight_receipt receipt;
    CHECK(agentsight_submit(manager, &f, &receipt, NULL, 0) == AGENTSIGHT_OK);
    while (!strstr(box.events, "\"event\":\"delivered\"")) {
        run_one(&box, 1);
    }
    agentsight_close(manager, 2000);
    while (run_one(&box, 0)) {
    }
    CHECK(box.elsewhere == 0);
    CHECK(strstr(box.events, "{\"event\":\"submitted\",\"id\":\"") != NULL);
    CHECK(strstr(box.events, receipt.id) != NULL);
    CHECK(strstr(box.events, "\"server_id\":\"") != NULL);
    CHECK(strstr(box.events, "no event repeats") == NULL);
    return 0;
}

int c_fetches_a_conversation(const char* outbox, const char* url) {
    char options[1024], message[200];
    char* response = NULL;
    size_t length = 0;
    int status = -1;
    (void)outbox;
    const int size =
        snprintf(options, sizeof options, "{\"endpoint\": \"%s\", \"api_key\": \"ags_test\"}", url);
    CHECK(agentsight_fetch_conversation(options, (size_t)size, "conv-123", 8, 0, &response, &length,
                                        &status, NULL, 0) == AGENTSIGHT_OK);
    CHECK(status == 200 && strlen(response) == length && strstr(response, "\"id\""));
    agentsight_free(response);
    CHECK(agentsight_fetch_conversation(options, (size_t)size, NULL, 0, 999999, &response, &length,
                                        &status, message, sizeof message) == AGENTSIGHT_NOT_FOUND);
    CHECK(status == 404 && response && strstr(response, "detail") && strstr(message, "404"));
    agentsight_free(response);
    CHECK(agentsight_fetch_conversation("{\"endpoint\": \"http://127.0.0.1:1\"}", 34, "c", 1, 0,
                                        &response, NULL, &status, NULL,
                                        0) == AGENTSIGHT_NO_CREDENTIAL);
    CHECK(response == NULL && status == 0);
    const char* nowhere = "{\"endpoint\": \"http://127.0.0.1:1\", \"api_key\": \"ags_test\"}";
    CHECK(agentsight_fetch_conversation(nowhere, strlen(nowhere), "c", 1, 0, &response, NULL, NULL,
                                        NULL, 0) == AGENTSIGHT_NETWORK);
    CHECK(response == NULL);
    return 0;
}

static void* flush_for_long(void* manager) {
    static int code;
    code = agentsight_flush(manager, 10 * PATIENCE_MS, NULL, 0);
    return &code;
}

static void* wait_for_long(void* manager) {
    static int code;
    int state;
    code = agentsight_wait(manager, "5eedf00d-0000-4000-8000-000000000002", 36, 10 * PATIENCE_MS,
                           &state, NULL, 0);
    return &code;
}

int c_stops_what_other_threads_wait_for(const char* outbox, const char* url) {
    pthread_t flusher, waiter;
    void *flushed, *waited;
    agentsight_manager* manager = open_manager(outbox, url, NULL);
    CHECK(manager != NULL);
    agentsight_feedback f = feedback("conv", "hangs on the way");
    f.id = "5eedf00d-0000-4000-8000-000000000002";
    f.id_length = 36;
    CHECK(agentsight_submit(manager, &f, NULL, NULL, 0) == AGENTSIGHT_OK);
    CHECK(pthread_create(&flusher, NULL, flush_for_long, manager) == 0);
    CHECK(pthread_create(&waiter, NULL, wait_for_long, manager) == 0);
    agentsight_stop(manager, 0);
    agentsight_stop(manager, 0); /* has been stopped: nothing to do */
    agentsight_stop(NULL, 0);
    CHECK(pthread_join(flusher, &flushed) == 0 && pthread_join(waiter, &waited) == 0);
    CHECK(*(int*)flushed == AGENTSIGHT_CLOSED || *(int*)flushed == AGENTSIGHT_NOT_SETTLED);
    CHECK(*(int*)waited == AGENTSIGHT_CLOSED);
    CHECK(agentsight_submit(manager, &f, NULL, NULL, 0) == AGENTSIGHT_CLOSED);
    CHECK(agentsight_pause(manager, 1, NULL, 0) == AGENTSIGHT_CLOSED);
    agentsight_close(manager, 0);
    return 0;
}

int c_closes_in_time(const char* outbox, const char* url) {
    agentsight_manager* manager = open_manager(outbox, url, NULL);
    CHECK(manager != NULL);
    agentsight_feedback f = feedback("conv", "hangs on the way");
    CHECK(agentsight_submit(manager, &f, NULL, NULL, 0) == AGENTSIGHT_OK);
    CHECK(agentsight_flush(manager, 0, NULL, 0) == AGENTSIGHT_NOT_SETTLED);
    agentsight_close(manager, -5);
    return 0;
}
