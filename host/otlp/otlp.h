/* Sends what requests, counters and logs tell to a collector: OTLP over HTTP.
 *
 * Spans, metrics and log records wait in a queue each, encoded, until a batch is due; one batch of
 * each is under way at a time. Whatever the collector does, no request waits for it: a queue that
 * is full drops what is new, a batch that cannot be delivered is dropped, and both are counted. */
#pragma once

#include <uv.h>

#include "client/client.h"
#include "journal/redact.h"
#include "otlp/otlp_settings.h"
#include "otlp/otlp_write.h"

struct otlp;

struct otlp_stats {
    uint64_t sent, dropped, failures; /* spans and log records; batches that did not arrive */
};

struct otlp_options {
    uv_loop_t *loop;
    struct client *client;   /* borrowed: lives until otlp_free */
    const uint8_t *instance; /* 16 bytes: service.instance.id; NULL: a random one */
    /* What is counted, as text for Prometheus (otlp_metrics.h); false: not now. NULL: another
     * process tells it. */
    bool (*count)(void *arg, struct buf *out);
    void *arg;
    uint64_t since_ns; /* when the counters began, since 1970 */
};

/* Takes the settings over, also where it fails. NULL when out of memory. */
struct otlp *otlp_new(struct otlp_settings *settings, const struct otlp_options *options);
/* Sends what is left, for LIMIT_OTLP_FLUSH seconds at most; then calls `done`, from within or
 * later. */
void otlp_flush(struct otlp *otlp, void (*done)(void *arg), void *arg);
/* Ends its calls and timers. Nothing is taken any more; the memory goes with the loop's next turn.
 * NULL is fine. */
void otlp_free(struct otlp *otlp);

const struct otlp_settings *otlp_settings(const struct otlp *otlp);
bool otlp_wants(const struct otlp *otlp, enum otlp_signal signal);
struct otlp_stats otlp_stats(const struct otlp *otlp);

/* A writer for elements of that signal. */
struct otlp_writer otlp_writer(const struct otlp *otlp, enum otlp_signal signal);
/* So many elements, spans or log records, as such a writer has written them (copied). */
void otlp_add(struct otlp *otlp, enum otlp_signal signal, struct str elements, unsigned count);

/* Names whose values are redacted, from now on; copied. 0 or -ENOMEM: then nothing is taken. */
int otlp_set_names(struct otlp *otlp, const struct str *names, unsigned count)
    __attribute__((warn_unused_result));
/* A new reference, or NULL: there are none. */
struct redact_names *otlp_names(struct otlp *otlp);

/* Nanoseconds since 1970 of a moment of CLOCK_MONOTONIC. */
uint64_t otlp_time(uint64_t monotonic_ns);
/* Random bytes, not all zero. */
void otlp_random(uint8_t *out, size_t len);
