#ifndef AGENTSIGHT_AGENTSIGHT_H
#define AGENTSIGHT_AGENTSIGHT_H

/* agentsight-outbox for C, and for every language that calls C.
 *
 * Text is UTF-8 with its length in bytes; no terminator is needed, and none is written
 * but to messages and ids. A NULL pointer is "none", whatever its length. What is passed in
 * is copied before the call returns.
 *
 * Functions return AGENTSIGHT_OK or one of the codes below. `message`, where not NULL, is
 * the caller's buffer of `message_size` bytes: on failure it gets one sentence (what was
 * being done, to what, what to do next), cut to fit at a character's end and always
 * terminated; on success an empty one. No message holds feedback text or a credential.
 *
 * Any thread may call any function on one manager, but agentsight_close() is the last: a host
 * whose threads may be in a call ends them by agentsight_stop() first.
 * No C++ exception leaves a function; one that leaves a callback of C++ ends there.
 *
 * The binary interface, within one soversion (libagentsight-outbox.so.0):
 *   - functions, enumerators and members are never removed, renamed or given another meaning;
 *   - structures that the caller fills grow at their end only, and begin with struct_size,
 *     which the caller sets to sizeof: members beyond it are taken as zero, and a library
 *     older than the caller's header refuses members set beyond those it knows
 *     (AGENTSIGHT_INVALID_OPTION) rather than ignore them;
 *   - structures that the library fills are of fixed size;
 *   - new codes may come: take one that is unknown by its hundred (below);
 *   - JSON objects that come out may gain members, and events new names: ignore those that
 *     are unknown; names of options are only added;
 *   - every symbol carries the version AGENTSIGHT_0. */

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define AGENTSIGHT_C_API
#else
#define AGENTSIGHT_C_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
#define AGENTSIGHT_C_NOEXCEPT noexcept
extern "C" {
#else
#define AGENTSIGHT_C_NOEXCEPT
#endif

/** One open outbox and the worker that delivers from it. */
typedef struct agentsight_manager agentsight_manager;

/** What went wrong, each about what the caller can do; the numbers of agentsight::errc. */
enum agentsight_code {
    AGENTSIGHT_OK = 0,
    AGENTSIGHT_NOT_SETTLED = 1, /**< no failure: agentsight_flush() reached its deadline */

    /* 1xx: the feedback breaks a rule. Nothing was written. */
    AGENTSIGHT_ID_EMPTY = 100,
    AGENTSIGHT_ID_NOT_POSITIVE = 101,
    AGENTSIGHT_ID_BLANK = 102,
    AGENTSIGHT_ID_TOO_LONG = 103,
    AGENTSIGHT_ID_NOT_UTF8 = 104,
    AGENTSIGHT_ID_HAS_NUL = 105,
    AGENTSIGHT_SENTIMENT_INVALID = 106,
    AGENTSIGHT_COMMENT_TOO_LONG = 107,
    AGENTSIGHT_COMMENT_NOT_UTF8 = 108,
    AGENTSIGHT_COMMENT_HAS_NUL = 109,
    AGENTSIGHT_METADATA_NOT_OBJECT = 110,
    AGENTSIGHT_METADATA_NOT_UTF8 = 111,
    AGENTSIGHT_METADATA_NOT_FINITE = 112,
    AGENTSIGHT_METADATA_TOO_DEEP = 113,
    AGENTSIGHT_METADATA_TOO_LARGE = 114,
    AGENTSIGHT_METADATA_NOT_JSON = 115,
    AGENTSIGHT_METADATA_DUPLICATE_NAME = 116,
    AGENTSIGHT_METADATA_INTEGER_OUT_OF_RANGE = 117,
    AGENTSIGHT_RECORD_ID_INVALID = 118,

    /* 2xx: the call is wrong. */
    AGENTSIGHT_INVALID_OPTION = 200, /**< an option or an argument; the message names it */
    AGENTSIGHT_ID_CONFLICT = 201,    /**< this id names a record with other content */
    AGENTSIGHT_NOT_FOUND = 202,      /**< no record, or no conversation, of this id */
    AGENTSIGHT_REFUSED_STATE = 203,
    AGENTSIGHT_CLOSED = 204,
    AGENTSIGHT_FORKED = 205, /**< a manager opened before fork(2) was used in the child */
    AGENTSIGHT_ALREADY_OPEN = 206,

    /* 3xx: the outbox cannot take it now. Nothing already accepted is lost. */
    AGENTSIGHT_OUTBOX_FULL = 300,
    AGENTSIGHT_DISK_FULL = 301,
    AGENTSIGHT_BUSY = 302,
    AGENTSIGHT_IO_ERROR = 303, /**< the storage failed: submit again with the receipt's id */
    AGENTSIGHT_OUT_OF_MEMORY = 304,

    /* 4xx: the file cannot be used as an outbox, and was left untouched. */
    AGENTSIGHT_READ_ONLY = 400,
    AGENTSIGHT_UNSAFE_PATH = 401,
    AGENTSIGHT_NETWORK_FILE_SYSTEM = 402,
    AGENTSIGHT_FOREIGN_FILE = 403,
    AGENTSIGHT_NEWER_SCHEMA = 404,
    AGENTSIGHT_DAMAGED = 405,
    AGENTSIGHT_NO_SUCH_FILE = 406,

    /* 5xx: online calls. */
    AGENTSIGHT_NO_CREDENTIAL = 500,
    AGENTSIGHT_NETWORK = 501, /**< no answer: link, name, TLS, time */
    AGENTSIGHT_UNAUTHORIZED = 502,
    AGENTSIGHT_FORBIDDEN = 503,
    AGENTSIGHT_API_ERROR = 504, /**< any other refusal; see the response's status */

    AGENTSIGHT_INTERNAL = 600 /**< a failure that should not be: please report it */
};

/** Where a record stands. */
enum agentsight_state {
    AGENTSIGHT_STATE_WAITING = 0,
    AGENTSIGHT_STATE_CLAIMED = 1,
    AGENTSIGHT_STATE_DELIVERED = 2,
    AGENTSIGHT_STATE_UNKNOWN = 3,
    AGENTSIGHT_STATE_DEAD = 4,
    AGENTSIGHT_STATE_DISCARDED = 5
};

enum agentsight_credential_kind {
    AGENTSIGHT_CREDENTIAL_NONE = 0,
    AGENTSIGHT_CREDENTIAL_API_KEY = 1,
    AGENTSIGHT_CREDENTIAL_JWT = 2
};

/** One feedback. Members not set are zero: `agentsight_feedback f = {.struct_size = sizeof f};` */
typedef struct agentsight_feedback {
    size_t struct_size;
    const char* conversation_id; /**< the business id; NULL: `conversation` names it */
    size_t conversation_id_length;
    int64_t conversation; /**< the database id; looked at where conversation_id is NULL */
    const char* sentiment; /**< "positive", "neutral" or "negative" */
    size_t sentiment_length;
    const char* comment; /**< at most 5000 code points; NULL or empty: none */
    size_t comment_length;
    const char* metadata; /**< a JSON object as text; NULL or empty: none */
    size_t metadata_length;
    const char* id; /**< the caller's own name for the record, a UUID; NULL: the library's */
    size_t id_length;
} agentsight_feedback;

/** The record is on stable storage, named `id`. After a failure `id` is the record's where
 *  one was made (submit again with it: never stored twice), else empty. */
typedef struct agentsight_receipt {
    char id[37];    /**< terminated */
    uint8_t stored; /**< 0: a record of this id and content was there already */
    uint8_t reserved[26];
} agentsight_receipt;

/** What a manager calls, on its worker's thread unless `dispatch` is set, one at a time and
 *  in order (log lines: any thread, one at a time). Members that are NULL are not called.
 *  Text is valid during the call. A callback must not end by longjmp. */
typedef struct agentsight_callbacks {
    size_t struct_size;
    void* context; /**< the first argument of each */
    /** One JSON object with "event": submitted {id}, delivered {id, server_id},
     *  attempt_failed {id, status, detail}, held {reason, status, detail}, released {reason},
     *  dead_letter {id, status, detail}, salvaged {rescued, moved_to}, dropped {count},
     *  alarm {detail}. No event holds feedback text. */
    void (*observe)(void* context, const char* event, size_t length);
    /** `level`: 0 debug, 1 info, 2 warning, 3 error. */
    void (*log)(void* context, int level, const char* line, size_t length);
    /** Runs callbacks elsewhere: make `run(task)` happen once, in order, on a thread of the
     *  application's. Every task must be run, also after agentsight_close(): it owns memory. */
    void (*dispatch)(void* context, void (*run)(void* task), void* task);
} agentsight_callbacks;

/** Opens or creates the outbox and starts the worker; does not touch the network.
 *  `options`: a JSON object, each member an option of agentsight/options.hpp under its C++
 *  name, durations as integers with _ms appended (`"request_timeout_ms": 30000`),
 *  enumerations as their names, `api_key` or `jwt` for the credential; none: every default,
 *  as the environment says. `callbacks` may be NULL. On failure `*manager` is NULL. */
AGENTSIGHT_C_API int agentsight_open(const char* options, size_t options_length,
                                     const agentsight_callbacks* callbacks,
                                     agentsight_manager** manager, char* message,
                                     size_t message_size) AGENTSIGHT_C_NOEXCEPT;

/** The first half of agentsight_close(), for a manager that other threads still use: ends the
 *  worker in the same way, within the same deadline, and frees nothing. Calls in progress
 *  return (AGENTSIGHT_CLOSED, or AGENTSIGHT_NOT_SETTLED), and later ones AGENTSIGHT_CLOSED,
 *  until agentsight_close(). NULL is ignored. */
AGENTSIGHT_C_API void agentsight_stop(agentsight_manager* manager,
                                      int64_t deadline_ms) AGENTSIGHT_C_NOEXCEPT;

/** Stops sending, gives unsent claims back, runs what is queued, ends the worker within the
 *  deadline (plus 200 ms; a disk sync in progress excepted) and frees the manager. NULL is
 *  ignored. Inside a callback the end comes after the callback. */
AGENTSIGHT_C_API void agentsight_close(agentsight_manager* manager,
                                       int64_t deadline_ms) AGENTSIGHT_C_NOEXCEPT;

/** Validates, commits, returns: the record is then on stable storage and will be delivered
 *  once, however long that takes. Never waits for the network. `receipt` may be NULL. */
AGENTSIGHT_C_API int agentsight_submit(agentsight_manager* manager,
                                       const agentsight_feedback* feedback,
                                       agentsight_receipt* receipt, char* message,
                                       size_t message_size) AGENTSIGHT_C_NOEXCEPT;

/** The same for threads that must not wait for a disk: validates and copies here, commits on
 *  the worker's thread. Until the callback the record is in memory only. `done` runs exactly
 *  once with the code and the receipt (valid during the call); what is refused at once calls
 *  it before this returns. NULL is allowed. AGENTSIGHT_OK even then: another code (a wrong
 *  argument, no memory) means that nothing was taken and `done` will not run. */
AGENTSIGHT_C_API int agentsight_submit_async(agentsight_manager* manager,
                                             const agentsight_feedback* feedback,
                                             void (*done)(void* context, int code,
                                                          const agentsight_receipt* receipt),
                                             void* context, char* message,
                                             size_t message_size) AGENTSIGHT_C_NOEXCEPT;

/** Sends what is due, at full speed: AGENTSIGHT_OK once everything due is settled, else
 *  AGENTSIGHT_NOT_SETTLED at the deadline, or at once where only a person or a new
 *  credential can go on. */
AGENTSIGHT_C_API int agentsight_flush(agentsight_manager* manager, int64_t deadline_ms,
                                      char* message, size_t message_size) AGENTSIGHT_C_NOEXCEPT;

/** Waits until the record is settled (delivered, dead, discarded), or the deadline; `*state`
 *  (enum agentsight_state) is what it then is. */
AGENTSIGHT_C_API int agentsight_wait(agentsight_manager* manager, const char* id,
                                     size_t id_length, int64_t deadline_ms, int* state,
                                     char* message, size_t message_size) AGENTSIGHT_C_NOEXCEPT;

/** The outbox now, as `agentsight-outbox status --json` prints it. `*json` is terminated; free
 *  it with agentsight_free(). `length` may be NULL. */
AGENTSIGHT_C_API int agentsight_stats(agentsight_manager* manager, char** json, size_t* length,
                                      char* message, size_t message_size) AGENTSIGHT_C_NOEXCEPT;

/** Stops (`paused` not 0) and restarts this manager's sending; not durable. Submits go on. */
AGENTSIGHT_C_API int agentsight_pause(agentsight_manager* manager, int paused, char* message,
                                      size_t message_size) AGENTSIGHT_C_NOEXCEPT;

/** Replaces the credential (`kind`: enum agentsight_credential_kind) and, where holds were
 *  about it, sends again at once. */
AGENTSIGHT_C_API int agentsight_set_credential(agentsight_manager* manager, int kind,
                                               const char* secret, size_t secret_length,
                                               char* message,
                                               size_t message_size) AGENTSIGHT_C_NOEXCEPT;

/** The network may have come back: probes at once. */
AGENTSIGHT_C_API int agentsight_network_changed(agentsight_manager* manager, char* message,
                                                size_t message_size) AGENTSIGHT_C_NOEXCEPT;

/** An online call, which needs no manager and no outbox: the conversation as the server
 *  describes it, a JSON object with "id". `conversation_id` NULL: `conversation`, the
 *  database id. `*response` gets the answer's body, also of a refusal (NULL where there was
 *  none): free it with agentsight_free(). `http_status` (0 without an answer) and `length`
 *  may be NULL. Of the options, those about the connection matter. */
AGENTSIGHT_C_API int agentsight_fetch_conversation(const char* options, size_t options_length,
                                                   const char* conversation_id,
                                                   size_t conversation_id_length,
                                                   int64_t conversation, char** response,
                                                   size_t* length, int* http_status, char* message,
                                                   size_t message_size) AGENTSIGHT_C_NOEXCEPT;

/** Frees what stats and fetch_conversation gave; NULL is ignored. */
AGENTSIGHT_C_API void agentsight_free(void* text) AGENTSIGHT_C_NOEXCEPT;

/** "0.1.0", as built. */
AGENTSIGHT_C_API const char* agentsight_version(void) AGENTSIGHT_C_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
