/* What the host counts, for all workers together. */
#include "shared/metrics.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

_Static_assert(sizeof(struct worker_metrics) % sizeof(uint64_t) == 0, "pages are added by field");

const double metric_bounds[METRIC_BOUNDS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                             0.1,   0.25,   0.5,   1,    2.5};

const char *const metrics_token_codes[METRIC_TOKENS] = {"ok",
                                                        "invalid_header",
                                                        "jwt_missing",
                                                        "jwt_invalid",
                                                        "jwt_expired",
                                                        "access_denied",
                                                        "keys_unavailable",
                                                        "server_error",
                                                        "insufficient_user_authentication",
                                                        "invalid_signature",
                                                        "stale_signature",
                                                        "use_dpop_nonce",
                                                        "invalid_dpop_proof",
                                                        "too_many_proofs",
                                                        "revocations_unavailable",
                                                        "other"};

size_t metrics_bytes(unsigned pages)
{
    return sizeof(struct metrics) + pages * sizeof(struct worker_metrics);
}

int metrics_init(struct metrics *metrics, unsigned pages)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    metrics->page_count = pages;
    metrics->since_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    if (getrandom(metrics->instance, sizeof(metrics->instance), 0) !=
        (ssize_t)sizeof(metrics->instance))
        return -EIO;
    return shared_lock_init(&metrics->lock);
}

/* A name is whole before the count says that it is there: who dies in between leaves nothing. */
static unsigned find_or_add(struct metrics *metrics, struct str name)
{
    uint64_t count = metrics->name_count;
    for (unsigned i = 0; i < count; i++) {
        if (str_eq(str_from(metrics->names[i]), name))
            return i;
    }
    if (count == LIMIT_METRIC_FUNCTIONS || name.len >= METRIC_NAME_BYTES)
        return METRIC_OTHERS;
    snprintf(metrics->names[count], METRIC_NAME_BYTES, "%.*s", STR_ARG(name));
    __atomic_store_n(&metrics->name_count, count + 1, __ATOMIC_RELEASE);
    return (unsigned)count;
}

unsigned metrics_place(struct metrics *metrics, struct str name)
{
    shared_lock_take(&metrics->lock);
    unsigned place = find_or_add(metrics, name);
    shared_lock_give(&metrics->lock);
    return place;
}

const char *metrics_name(const struct metrics *metrics, unsigned place)
{
    return place < LIMIT_METRIC_FUNCTIONS ? metrics->names[place] : "(others)";
}

/* Field by field; the writer may be at work, so each is read whole. */
static void add(uint64_t *sum, const uint64_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof(*sum); i++)
        sum[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

static void add_function(struct function_metrics *sum, const struct function_metrics *from)
{
    uint64_t before = sum->generation;
    add((uint64_t *)(void *)sum, (const uint64_t *)(const void *)from, sizeof(*sum));
    uint64_t other = sum->generation - before;
    sum->generation = before > other ? before : other;
}

struct worker_metrics *metrics_sum(const struct metrics *metrics)
{
    struct worker_metrics *sum = calloc(1, sizeof(*sum));
    uint64_t count = __atomic_load_n(&metrics->name_count, __ATOMIC_ACQUIRE);
    for (uint64_t i = 0; sum != NULL && i < metrics->page_count; i++) {
        const struct worker_metrics *page = &metrics->pages[i];
        add((uint64_t *)(void *)sum, (const uint64_t *)(const void *)page,
            offsetof(struct worker_metrics, functions));
        for (uint64_t f = 0; f < count; f++)
            add_function(&sum->functions[f], &page->functions[f]);
        add_function(&sum->functions[METRIC_OTHERS], &page->functions[METRIC_OTHERS]);
    }
    return sum;
}

void metrics_clear_gauges(struct worker_metrics *page)
{
    memset(&page->gauges, 0, sizeof(page->gauges));
    for (unsigned i = 0; i <= LIMIT_METRIC_FUNCTIONS; i++)
        page->functions[i].memory_bytes = page->functions[i].in_flight = 0;
}

void metrics_add_duration(struct metric_durations *durations, uint64_t ns)
{
    unsigned bucket = 0;
    while (bucket < METRIC_BOUNDS && (double)ns / 1e9 > metric_bounds[bucket])
        bucket++;
    durations->buckets[bucket]++;
    durations->sum_us += ns / 1000;
}

void metrics_count_token(struct worker_metrics *page, const char *code)
{
    unsigned i = 0;
    while (i < METRIC_TOKENS - 1 && (code == NULL || strcmp(metrics_token_codes[i], code) != 0))
        i++;
    page->tokens[i]++;
}
