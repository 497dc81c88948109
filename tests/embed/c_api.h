#ifndef TESTS_EMBED_C_API_H
#define TESTS_EMBED_C_API_H

/* The C interface, used from C. Each function is one behaviour; it returns 0, or the number of
 * the line whose check failed. `outbox` is a file's path, `url` a server's. */

#ifdef __cplusplus
extern "C" {
#endif

int c_submits_and_delivers(const char* outbox, const char* url);
int c_says_what_is_wrong(const char* outbox, const char* url);
int c_takes_structures_of_other_sizes(const char* outbox, const char* url);
int c_repeats_an_id(const char* outbox, const char* url);
int c_submits_asynchronously(const char* outbox, const char* url);
int c_pauses_and_changes_credentials(const char* outbox, const char* url);
int c_observes_through_its_own_loop(const char* outbox, const char* url);
int c_fetches_a_conversation(const char* outbox, const char* url);
int c_stops_what_other_threads_wait_for(const char* outbox, const char* url);
int c_closes_in_time(const char* outbox, const char* url);

#ifdef __cplusplus
}
#endif

#endif
