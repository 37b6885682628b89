/* What the host counts, for all workers together.
 *
 * The table lies in memory that the workers share. Each has a page of its own there and is the only
 * one that writes to it, with plain additions; whoever answers a scrape adds the pages up. A page
 * stays when its worker dies, and the next one counts on in it: nothing vanishes. The names of
 * functions are kept once, for all pages, and never forgotten, so that a function counts on over
 * reloads. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "shared/lock.h"
#include "base/str.h"

enum {
    METRIC_BOUNDS = 11,
    METRIC_NAME_BYTES = 64,
    METRIC_TOKENS = 16,                    /* outcomes of a token check; metrics_token_codes */
    METRIC_OTHERS = LIMIT_METRIC_FUNCTIONS /* the place of functions beyond the limit */
};

/* Upper bounds of the buckets, in seconds; the last bucket has none. */
extern const double metric_bounds[METRIC_BOUNDS];

/* Everything below is uint64_t, so that pages can be added field by field. */
struct metric_durations {
    uint64_t buckets[METRIC_BOUNDS + 1], sum_us;
};

struct function_metrics {
    uint64_t requests, errors, timeouts, cpu_limits, memory_limits, no_slot, cancelled, loads,
        load_failures, rollbacks;
    uint64_t cpu_ns; /* processor time of its slices */
    struct metric_durations durations;
    uint64_t memory_bytes, in_flight, generation; /* as they are now */
};

/* Counted elsewhere in the worker, and written here once a turn of its loop. */
struct metric_copies {
    uint64_t accepted, refused, connection_timeouts, malformed, given_up, unannounced;
    uint64_t cache_hits, cache_misses, log_dropped, store_failures;
    uint64_t outbound_requests, outbound_failures;
    uint64_t otlp_sent, otlp_dropped, otlp_failures;
    uint64_t channel_published, channel_delivered, channel_dropped;
};

/* As it is now; cleared when the worker ends. */
struct metric_gauges {
    uint64_t connections, cache_bytes, held_bytes, channel_subscribers;
    uint64_t serving;  /* it has loaded everything and listens */
    uint64_t keyless;  /* it lacks an issuer's keys */
    uint64_t draining; /* it takes nothing new */
};

struct worker_metrics {
    uint64_t requests, responses[6]; /* by first digit of the status; [0]: none sent */
    uint64_t auth_refused, rate_refused, keys_unavailable, reloads;
    uint64_t repeats; /* deliveries of webhooks that came again, and were not run */
    uint64_t sessions_begun, sessions_refused, sessions_renewed, sessions_ended;
    uint64_t jobs_done, jobs_failed, jobs_dead, jobs_lost;
    uint64_t schedule_runs, schedule_skipped, schedule_missed, schedule_unasked;
    uint64_t tokens[METRIC_TOKENS];
    struct metric_durations durations;
    struct metric_copies copies;
    struct metric_gauges gauges;
    struct function_metrics functions[LIMIT_METRIC_FUNCTIONS + 1];
};

struct metrics {
    struct shared_lock lock; /* of the names */
    uint64_t name_count;
    char names[LIMIT_METRIC_FUNCTIONS][METRIC_NAME_BYTES];
    uint64_t restarts, hangs, upgrades; /* the supervisor's */
    uint64_t jobs_waiting, jobs_dead;   /* in the store, as a worker has seen it last */
    uint64_t workers;                   /* how many there should be */
    uint64_t page_count;
    uint64_t since_ns;    /* 1970: it counts since then */
    uint8_t instance[16]; /* random: whose figures these are */
    struct worker_metrics pages[];
};

size_t metrics_bytes(unsigned pages);
/* `metrics` is zeroed memory of that size, which workers will share. 0 or a negative errno. */
int metrics_init(struct metrics *metrics, unsigned pages) __attribute__((warn_unused_result));

/* The function's place in every page; METRIC_OTHERS when all are taken. */
unsigned metrics_place(struct metrics *metrics, struct str name);
/* Its name there. */
const char *metrics_name(const struct metrics *metrics, unsigned place);

/* All pages added up, in memory that the caller frees; NULL when there is none. Of generations the
 * newest. */
struct worker_metrics *metrics_sum(const struct metrics *metrics);

/* The page's worker is gone: what it said of its state is not true any more. */
void metrics_clear_gauges(struct worker_metrics *page);

void metrics_add_duration(struct metric_durations *durations, uint64_t ns);

/* Names of the outcomes that are counted; those that are not listed count as the last, "other". */
extern const char *const metrics_token_codes[METRIC_TOKENS];
void metrics_count_token(struct worker_metrics *page, const char *code);
