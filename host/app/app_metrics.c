/* /_luafn/metrics, in Prometheus' text format: the figures of the whole host. */
#include "app/app.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/token_cache.h"
#include "base/log.h"
#include "channel/channel.h"
#include "issuer/outbound.h"
#include "otlp/otlp.h"

/* ---- what is counted elsewhere ---- */

void app_publish(struct app *app)
{
    if (app->page == NULL)
        return;
    struct metric_copies *to = &app->page->copies;
    const struct metric_copies *from = &app->copied;
    struct token_cache_stats cache = token_cache_stats();
    to->cache_hits = from->cache_hits + cache.hits;
    to->cache_misses = from->cache_misses + cache.misses;
    to->log_dropped = from->log_dropped + log_dropped();
    to->store_failures = from->store_failures + (app->store != NULL ? app->store->failures : 0);
    to->outbound_requests = from->outbound_requests;
    to->outbound_failures = from->outbound_failures;
    if (app->issuers != NULL) {
        uint64_t requests, failures;
        outbound_count(app->issuers, &requests, &failures);
        to->outbound_requests += requests;
        to->outbound_failures += failures;
    }
    if (app->otlp != NULL) {
        const struct otlp_stats otlp = otlp_stats(app->otlp);
        to->otlp_sent = from->otlp_sent + otlp.sent;
        to->otlp_dropped = from->otlp_dropped + otlp.dropped;
        to->otlp_failures = from->otlp_failures + otlp.failures;
    }
    if (app->channels != NULL) {
        const struct channel_stats channels = channel_hub_stats(app->channels);
        to->channel_published = from->channel_published + channels.published;
        to->channel_delivered = from->channel_delivered + channels.delivered;
        to->channel_dropped = from->channel_dropped + channels.dropped;
        app->page->gauges.channel_subscribers = channels.subscribers;
    }
    app->page->gauges.cache_bytes = cache.bytes;
    if (app->server == NULL)
        return;
    struct server_stats server = server_stats(app->server);
    to->accepted = from->accepted + server.accepted;
    to->refused = from->refused + server.refused;
    to->connection_timeouts = from->connection_timeouts + server.timeouts;
    to->malformed = from->malformed + server.parse_errors;
    to->unannounced = from->unannounced + server.unannounced;
    to->given_up = from->given_up + server.given_up;
    app->page->gauges.held_bytes = server.held;
    app->page->gauges.connections = server.open;
}

/* Those that run and those that wait for a slot, of a version that is on its way out, too. */
static void count_in_flight(const struct deployment *d, bool add)
{
    for (unsigned i = 0; d != NULL && i < d->function_count; i++) {
        const struct function *f = d->functions[i];
        f->metrics->in_flight = (add ? f->metrics->in_flight : 0) + f->running + f->queued;
    }
}

void app_publish_gauges(struct app *app)
{
    struct metric_gauges *gauges = &app->page->gauges;
    gauges->serving = app->ready && app->server != NULL;
    gauges->keyless = app->issuers != NULL && !issuers_ready(app->issuers);
    gauges->draining = gauges->serving && app->draining;
    for (unsigned i = 0; app->current != NULL && i < app->current->function_count; i++) {
        const struct function *f = app->current->functions[i];
        f->metrics->memory_bytes = f->current != NULL ? f->current->vm->used : 0;
        f->metrics->generation = f->generation;
    }
    count_in_flight(app->current, false);
    for (const struct deployment *d = app->retired; d != NULL; d = d->retired_next)
        count_in_flight(d, true);
}

/* ---- writing it down ---- */

static void begin(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP luafn_%s %s\n# TYPE luafn_%s %s\n", name, help, name, type);
}

static void add_one(struct buf *out, const char *name, const char *type, const char *help,
                    uint64_t value)
{
    begin(out, name, type, help);
    buf_printf(out, "luafn_%s %llu\n", name, (unsigned long long)value);
}

/* `label`: as `function="me"`, or empty. */
static void add_durations(struct buf *out, const char *name, const char *label,
                          const struct metric_durations *d)
{
    const bool labelled = label[0] != '\0';
    const char *open = labelled ? "{" : "", *comma = labelled ? "," : "";
    const char *close = labelled ? "}" : "";
    uint64_t sum = 0;
    for (unsigned i = 0; i < METRIC_BOUNDS; i++) {
        sum += d->buckets[i];
        buf_printf(out, "luafn_%s_bucket{%s%sle=\"%g\"} %llu\n", name, label, comma,
                   metric_bounds[i], (unsigned long long)sum);
    }
    sum += d->buckets[METRIC_BOUNDS];
    buf_printf(out, "luafn_%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, label, comma,
               (unsigned long long)sum);
    buf_printf(out, "luafn_%s_sum%s%s%s %.6f\nluafn_%s_count%s%s%s %llu\n", name, open, label,
               close, (double)d->sum_us / 1e6, name, open, label, close, (unsigned long long)sum);
}

struct field {
    const char *name, *type, *help;
    size_t offset;
};

static uint64_t read_field(const void *from, const struct field *field)
{
    return *(const uint64_t *)(const void *)((const char *)from + field->offset);
}

static void add_host(struct buf *out, const struct worker_metrics *sum)
{
#define AT(member) offsetof(struct worker_metrics, member)
    static const struct field fields[] = {
        {"requests_total", "counter", "Requests answered or given up.", AT(requests)},
        {"connections", "gauge", "Open connections.", AT(gauges.connections)},
        {"connections_accepted_total", "counter", "Connections accepted.", AT(copies.accepted)},
        {"connections_refused_total", "counter", "Connections over the limit.", AT(copies.refused)},
        {"connection_timeouts_total", "counter", "Connections past a timeout.",
         AT(copies.connection_timeouts)},
        {"connections_unannounced_total", "counter",
         "Connections closed for want of a good PROXY header.", AT(copies.unannounced)},
        {"malformed_requests_total", "counter", "Requests refused by the parser.",
         AT(copies.malformed)},
        {"client_bytes", "gauge", "Bytes that clients have not sent or taken.",
         AT(gauges.held_bytes)},
        {"clients_given_up_total", "counter",
         "Requests and answers given up for want of room for such bytes.", AT(copies.given_up)},
        {"auth_refused_total", "counter", "401 and 403 of policies.", AT(auth_refused)},
        {"rate_limited_total", "counter", "429 of rate_limit.", AT(rate_refused)},
        {"keys_unavailable_total", "counter", "503 for want of keys.", AT(keys_unavailable)},
        {"webhook_repeats_total", "counter", "Deliveries that came again, and were not run.",
         AT(repeats)},
        {"sessions_begun_total", "counter", "Browsers that have signed in.", AT(sessions_begun)},
        {"sessions_refused_total", "counter", "Requests to sign in or out that failed.",
         AT(sessions_refused)},
        {"sessions_renewed_total", "counter", "Sessions that got another access token.",
         AT(sessions_renewed)},
        {"sessions_ended_total", "counter", "Browsers that have signed out.", AT(sessions_ended)},
        {"token_cache_hits_total", "counter", "Tokens whose signature was known to be good.",
         AT(copies.cache_hits)},
        {"token_cache_misses_total", "counter", "Tokens that were not in the cache.",
         AT(copies.cache_misses)},
        {"token_cache_bytes", "gauge", "Memory of the token caches.", AT(gauges.cache_bytes)},
        {"config_reloads_total", "counter", "Configurations swapped in, counted in each worker.",
         AT(reloads)},
        {"log_dropped_total", "counter", "Log lines that could not be written.",
         AT(copies.log_dropped)},
        {"channel_published_total", "counter",
         "Messages that functions have published on channels.", AT(copies.channel_published)},
        {"channel_delivered_total", "counter",
         "Messages that were put into the queues of subscribers.", AT(copies.channel_delivered)},
        {"channel_dropped_total", "counter",
         "Subscribers that were dropped because they took too long.", AT(copies.channel_dropped)},
        {"channel_subscribers", "gauge", "Subscribers of channels.",
         AT(gauges.channel_subscribers)},
        {"store_failures_total", "counter", "Requests to KV_URL's server that it did not serve.",
         AT(copies.store_failures)},
        {"outbound_token_requests_total", "counter", "Tokens asked for, for calls of `fetch`.",
         AT(copies.outbound_requests)},
        {"outbound_token_failures_total", "counter", "Those that were not given.",
         AT(copies.outbound_failures)},
        {"otlp_sent_total", "counter", "Spans and log records that the collector has taken.",
         AT(copies.otlp_sent)},
        {"otlp_dropped_total", "counter", "Those that did not get there.", AT(copies.otlp_dropped)},
        {"otlp_failures_total", "counter", "Batches that the collector did not take, each time.",
         AT(copies.otlp_failures)},
        {"workers_serving", "gauge", "Workers that have loaded everything.", AT(gauges.serving)},
    };
#undef AT
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        add_one(out, fields[i].name, fields[i].type, fields[i].help, read_field(sum, &fields[i]));
}

static void add_answers(struct buf *out, const struct worker_metrics *sum)
{
    begin(out, "responses_total", "counter", "Answers by first digit of the status.");
    for (int digit = 1; digit <= 5; digit++)
        buf_printf(out, "luafn_responses_total{class=\"%dxx\"} %llu\n", digit,
                   (unsigned long long)sum->responses[digit]);
    begin(out, "token_checks_total", "counter", "How checks by policies ended.");
    for (unsigned i = 0; i < METRIC_TOKENS; i++)
        buf_printf(out, "luafn_token_checks_total{code=\"%s\"} %llu\n", metrics_token_codes[i],
                   (unsigned long long)sum->tokens[i]);
    begin(out, "request_duration_seconds", "histogram", "From the complete head to the answer.");
    add_durations(out, "request_duration_seconds", "", &sum->durations);
}

static void add_jobs(struct buf *out, const struct metrics *metrics,
                     const struct worker_metrics *sum)
{
    add_one(out, "jobs_waiting", "gauge", "Jobs that wait in the store.", metrics->jobs_waiting);
    add_one(out, "jobs_dead", "gauge", "Dead letters in the store.", metrics->jobs_dead);
    add_one(out, "jobs_done_total", "counter", "Jobs of the queue that ended well.",
            sum->jobs_done);
    add_one(out, "jobs_failed_total", "counter", "Tries that failed.", sum->jobs_failed);
    add_one(out, "jobs_dead_total", "counter", "Jobs that became dead letters.", sum->jobs_dead);
    add_one(out, "jobs_lost_total", "counter",
            "Jobs that another worker had taken over when they ended.", sum->jobs_lost);
}

static void add_schedules(struct buf *out, const struct worker_metrics *sum)
{
    add_one(out, "schedule_runs_total", "counter", "Runs of scheduled functions that were begun.",
            sum->schedule_runs);
    add_one(out, "schedule_skipped_total", "counter",
            "Due times at which the run before had not ended.", sum->schedule_skipped);
    add_one(out, "schedule_missed_total", "counter",
            "Times that due times were passed over, as nobody could run them.",
            sum->schedule_missed);
    add_one(out, "schedule_unasked_total", "counter",
            "Times that KV_URL's server could not be asked what is due.", sum->schedule_unasked);
}

static void add_functions(struct buf *out, const struct metrics *metrics,
                          const struct worker_metrics *sum)
{
#define AT(member) offsetof(struct function_metrics, member)
    static const struct field fields[] = {
        {"requests_total", "counter", "Requests that reached the function.", AT(requests)},
        {"errors_total", "counter", "Runs that ended in an error or at a limit.", AT(errors)},
        {"timeouts_total", "counter", "Runs past their wall clock.", AT(timeouts)},
        {"cpu_limits_total", "counter", "Runs past their processor time.", AT(cpu_limits)},
        {"memory_limits_total", "counter", "Runs out of memory.", AT(memory_limits)},
        {"no_slot_total", "counter", "Requests refused for want of a slot.", AT(no_slot)},
        {"cancelled_total", "counter", "Runs whose client left.", AT(cancelled)},
        {"loads_total", "counter", "Successful loads, counted in each worker.", AT(loads)},
        {"load_failures_total", "counter", "Failed loads, counted in each worker.",
         AT(load_failures)},
        {"rollbacks_total", "counter", "Generations taken back.", AT(rollbacks)},
        {"cpu_nanoseconds_total", "counter", "Processor time of runs that were measured.",
         AT(cpu_ns)},
        {"generation", "gauge", "Which version serves, the newest of all workers.", AT(generation)},
        {"requests_in_flight", "gauge", "Requests that run, or wait for a slot.", AT(in_flight)},
        {"memory_bytes", "gauge", "Lua memory of the instances.", AT(memory_bytes)},
    };
#undef AT
    uint64_t count = metrics->name_count;
    char name[64], label[METRIC_NAME_BYTES + 16];
    for (size_t m = 0; m < sizeof(fields) / sizeof(fields[0]); m++) {
        snprintf(name, sizeof(name), "function_%s", fields[m].name);
        begin(out, name, fields[m].type, fields[m].help);
        for (unsigned i = 0; i < count; i++)
            buf_printf(out, "luafn_%s{function=\"%s\"} %llu\n", name, metrics_name(metrics, i),
                       (unsigned long long)read_field(&sum->functions[i], &fields[m]));
    }
    begin(out, "function_duration_seconds", "histogram", "From the complete head to the answer.");
    for (unsigned i = 0; i < count; i++) {
        snprintf(label, sizeof(label), "function=\"%s\"", metrics_name(metrics, i));
        add_durations(out, "function_duration_seconds", label, &sum->functions[i].durations);
    }
}

static void add_issuer(struct issuer *issuer, void *arg)
{
    struct buf *out = arg;
    struct issuer_stats stats;
    issuer_stats(issuer, &stats);
    buf_add_str(out, STR("luafn_keys_age_seconds{issuer="));
    buf_add_json(out, stats.url); /* quoted as Prometheus wants it, too */
    buf_printf(out, "} %.0f\n", stats.keys_age);
}

bool app_write_metrics(struct app *app, struct buf *out)
{
    const struct metrics *metrics = app->options.metrics;
    app_publish(app);
    app_publish_gauges(app);
    struct worker_metrics *sum = metrics != NULL ? metrics_sum(metrics) : NULL;
    if (sum == NULL)
        return false;
    add_host(out, sum);
    add_answers(out, sum);
    add_one(out, "workers", "gauge", "Worker processes that there should be.", metrics->workers);
    add_one(out, "worker_restarts_total", "counter", "Workers that ended and were replaced.",
            metrics->restarts);
    add_one(out, "worker_hangs_total", "counter", "Workers killed because their loop stood still.",
            metrics->hangs);
    add_jobs(out, metrics, sum);
    add_schedules(out, sum);
    struct revocation_stats revoked = revocations_stats();
    add_one(out, "revocations", "gauge", "What was revoked and is kept.", revoked.live);
    add_one(out, "revocations_total", "counter", "Revocations that came to be known.",
            revoked.added);
    add_one(out, "revoked_tokens_total", "counter",
            "Tokens refused because they were revoked, or too old to tell.", revoked.refused);
    add_one(out, "upgrades_total", "counter", "Times that another program took over.",
            metrics->upgrades);
    add_functions(out, metrics, sum);
    begin(out, "keys_age_seconds", "gauge", "Age of the key set in the worker asked; -1: none.");
    issuers_each(app->issuers, add_issuer, out);
    free(sum);
    return true;
}
